"""The code in the README is run as it stands there, in a folder with a clip.mp4."""

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, flags=re.S)


@pytest.fixture(autouse=True)
def clip(example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(example, tmp_path / "clip.mp4")
    monkeypatch.chdir(tmp_path)


def run(code: str) -> dict[str, Any]:
    """The names that the code leaves."""
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)
    return names


def example_with(words: str) -> str:
    (code,) = (code for code in PYTHON if words in code)
    return code


def test_there_are_two_pieces_of_python() -> None:
    assert len(PYTHON) == 2


def test_the_library_does_what_the_readme_says() -> None:
    names = run(example_with("bavos_core.analyse"))
    frames, height, width = names["segmentation"].labels.shape
    assert names["heat"].shape == (frames, height, width)
    assert names["heat"].sum() == pytest.approx(1, abs=1e-3)
    assert names["several"].shape == (2, frames, height, width)
    assert names["levels"].shape[1:] == (frames, height, width)
    assert names["named"].name(2) == "dog"
    assert names["adapted"].source == "correlator"


def test_the_client_does_what_the_readme_says(server: str) -> None:
    names = run(example_with("gradio_client").replace("http://127.0.0.1:7860", server))
    assert len(names["numbers"]["background"]) == 6
    assert np.asarray(names["row"]["row"]).sum() == pytest.approx(1, abs=1e-3)
    for path in (names["overlay"], names["picture"], names["heat"], names["video"]):
        assert Path(path).stat().st_size > 0
    assert Path(names["files"][0]).name == "bavos.zip"
