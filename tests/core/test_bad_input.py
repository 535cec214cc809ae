"""Whatever is uploaded gives a sound result or one clear sentence, and nothing is left behind."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from bavos_core import InputError, Limits, cli, open_clip

from .bad_files import CASES, NAMES, Case
from .helpers import check_message, make_video
from .odd_files import text

LIMITS = Limits(
    file_mib=1, seconds=600, frames=500, pixels=4_000_000, zip_members=50, zip_ratio=200,
    decode_seconds=30,
)  # fmt: skip
QUICK = ("--backbone", "descriptors", "--frames", "2", "--size", "48x64", "--device", "cpu")

# The tests make errors of warnings, which Pillow gives of some of these files; see the last test.
quietly = pytest.mark.filterwarnings(
    "ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning"
)


@pytest.fixture(autouse=True)
def temporary(tmp_path_factory, monkeypatch) -> Path:
    """An empty folder for temporary files, which is empty again in the end."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


def everything_below(folder: Path) -> dict[str, int]:
    return {str(path): path.lstat().st_size for path in folder.rglob("*")}


def expected_counts(case: Case) -> tuple[int, ...]:
    return (case.frames,) if isinstance(case.frames, int) else tuple(case.frames)


def check_frames(path: Path, case: Case) -> int:
    """Read a clip to its end: as many frames as times say, or a few less; how many."""
    clip = open_clip(path, limits=LIMITS)
    frames = list(clip.read())
    assert clip.size == case.size
    assert {(f.shape, f.dtype) for f in frames} == {((*case.size, 3), np.dtype(np.uint8))}
    assert len(frames) <= len(clip.times) == len(clip.frame_names)
    assert (np.diff(clip.times) >= 0).all()
    return len(frames)


def outcome_of(path: Path, case: Case) -> int | InputError:
    """How many frames can be read, or why none can."""
    try:
        return check_frames(path, case)
    except InputError as error:
        return error


@quietly
@pytest.mark.parametrize("name", CASES)
def test_a_file_is_read_or_refused_in_a_sentence(name, tmp_path) -> None:
    case = CASES[name]
    case.make(tmp_path / name)
    before = everything_below(tmp_path)
    outcome = outcome_of(tmp_path / name, case)
    if isinstance(outcome, InputError):
        check_message(outcome, case.words)
        assert str(tmp_path) not in str(outcome)  # a page must not show where files lie
        outcome = 0
    assert outcome in expected_counts(case)
    assert everything_below(tmp_path) == before


@quietly
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.limited])
def test_the_command_line_ends_with_a_result_or_a_line(name, tmp_path, capfd) -> None:
    case = CASES[name]
    case.make(tmp_path / name)
    before = everything_below(tmp_path)
    status = cli.main(["segment", str(tmp_path / name), "--out", str(tmp_path / "out"), *QUICK])
    printed, complaint = capfd.readouterr()
    assert "Traceback" not in complaint
    if status == 0:
        assert max(expected_counts(case)) > 0
        assert json.loads(printed)["frames"] >= 1
        assert all(line.startswith("Note: ") for line in complaint.splitlines())
        assert not list(tmp_path.rglob(".*"))
    else:
        assert min(expected_counts(case)) == 0
        assert status == 2
        assert len(complaint.splitlines()) == 1
        assert case.words in complaint
        assert everything_below(tmp_path) == before


@pytest.mark.parametrize("name", NAMES)
def test_names_are_only_names(name, tmp_path, monkeypatch) -> None:
    make_video(tmp_path / "plain.mp4", frames=2).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    before = everything_below(tmp_path)
    clip = open_clip(name)
    assert clip.name == name
    assert len(list(clip.read())) == 2
    text(tmp_path / name)
    with pytest.raises(InputError) as caught:
        open_clip(name)
    assert len(str(caught.value).splitlines()) == 1
    assert set(everything_below(tmp_path)) == set(before)


@pytest.mark.parametrize("name", ["n" * 5000 + ".mp4", "a\0b.mp4", "x/" * 3000 + "y.mp4"])
def test_names_that_no_file_can_have_are_refused(name) -> None:
    with pytest.raises(InputError) as caught:
        open_clip(name)
    check_message(caught.value)


def test_a_name_like_an_option_is_bad_usage_with_one_line(tmp_path, monkeypatch, capfd) -> None:
    monkeypatch.chdir(tmp_path)
    make_video(Path("plain.mp4")).rename("-i.mp4")
    with pytest.raises(SystemExit) as stopped:
        cli.main(["segment", "-i.mp4", "--out", "out", *QUICK])
    assert stopped.value.code == 2
    assert len(capfd.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("name", ["10000x10000.png", "many-samples.tif"])
def test_what_pillow_warns_of_is_not_printed(name, tmp_path) -> None:
    CASES[name].make(tmp_path / name)
    command = [sys.executable, "-m", "bavos_core", "segment", tmp_path / name, *QUICK, "--out"]
    done = subprocess.run([*command, tmp_path / "out"], capture_output=True, text=True)
    lines = done.stderr.splitlines()
    assert "Warning" not in done.stderr
    assert len([line for line in lines if not line.startswith("Note: ")]) == (done.returncode == 2)


def test_there_are_as_many_cases_as_were_asked_for() -> None:
    assert len(CASES) >= 60
