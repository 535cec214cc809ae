"""Names of version 0.1 go on working, each with a warning that gives today's name."""

import warnings
from pathlib import Path

import numpy as np
import pytest

from bavos_core import Settings, cli

EXAMPLE = Path(__file__).resolve().parents[2] / "assets" / "examples" / "reef.mp4"


def test_old_keyword_arguments_do_what_the_new_ones_do(square_analysis) -> None:
    with pytest.warns(FutureWarning, match="clusters is now called n_clusters"):
        old = square_analysis.segment(clusters=4)
    assert (old.labels == square_analysis.segment(n_clusters=4).labels).all()
    with pytest.warns(FutureWarning, match="frame is now called sample_index"):
        row = square_analysis.attend(frame=2, y=9, x=9)
    assert np.array_equal(row, square_analysis.attend(2, 9, 9))


def test_old_names_of_sources_do_what_the_new_ones_do(square_analysis) -> None:
    with pytest.warns(FutureWarning, match="keys is now called key-similarity"):
        assert Settings(correlator="keys") == Settings(correlator="key-similarity")
    with pytest.warns(FutureWarning, match="key-similarity"):
        row = square_analysis.attend(1, 9, 9, source="keys")
    assert np.array_equal(row, square_analysis.attend(1, 9, 9, source="key-similarity"))


@pytest.mark.parametrize("frame", [("--frame", "900"), ("--frame=900",)])
def test_old_options_of_the_command_line_are_understood_and_noted(frame, capsys):
    point, out = ("--point", "1,1"), ("--out", "heat.mp4")
    assert cli.main(["attend", str(EXAMPLE), *frame, *point, *out]) == 2
    note, complaint = capsys.readouterr().err.splitlines()
    assert note.startswith("Note: --frame is now called --clip-frame")
    assert "There is no frame 900" in complaint


def test_warnings_of_other_libraries_are_no_notes(capsys) -> None:
    with pytest.warns(FutureWarning, match="another library's own"), cli._old_names_noted():
        warnings.warn("another library's own", FutureWarning, stacklevel=1)
    assert capsys.readouterr().err == ""
