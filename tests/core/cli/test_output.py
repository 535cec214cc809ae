"""Nothing of the user's is lost, parts of clips, progress in lines, and readers that have gone."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from bavos_core.options import seconds
from bavos_core.progress import Stage
from bavos_core.terminal import lines

from .helpers import EXAMPLE, FILES, QUICK, ROOT, check_complaint, everything_below, run, shape_of

FPS = 20  # of the example, which has 40 frames


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line on stderr of a command that ends with status 2."""
    assert run(*arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    return check_complaint(said.err)


# ---- folders and files ---------------------------------------------------------------------------


def test_masks_that_are_the_input_are_not_deleted(folder_of_frames, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    out.mkdir()
    masks = folder_of_frames.rename(out / "masks")
    before = everything_below(tmp_path)
    assert "where results go" in refused(capsys, "segment", masks, "--out", out, *QUICK)
    assert everything_below(tmp_path) == before


def test_a_folder_of_the_user_is_refused_before_the_clip_is_read(tmp_path, capsys) -> None:
    (tmp_path / "thesis.txt").write_text("500 pages")
    line = refused(capsys, "segment", "no-such-clip.mp4", "--out", tmp_path, *QUICK)
    assert "is not empty" in line
    assert "no-such-clip" not in line


def test_files_of_the_user_beside_a_result_stay(folder_of_frames, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    assert run("segment", folder_of_frames, "--out", out, *QUICK) == 0
    (out / "masks" / "best.png").write_bytes(b"mine")
    (folder_of_frames / "frame10.jpg").unlink()
    assert run("segment", folder_of_frames, "--out", out, *QUICK) == 0
    assert {path.name for path in out.iterdir()} == FILES
    names = {"frame1.png", "frame2.png", "best.png"}
    assert {path.name for path in (out / "masks").iterdir()} == names


@pytest.mark.parametrize("option", ["--weights", "--correlator"])
def test_other_inputs_inside_the_folder_are_refused(option, tmp_path, capsys) -> None:
    (tmp_path / "file.pth").write_text("weights")
    given = (option, tmp_path / "file.pth")
    line = refused(capsys, "segment", EXAMPLE, "--out", tmp_path, *QUICK, *given)
    assert "'file.pth' is in" in line


def test_attend_does_not_replace_its_clip(tmp_path, capsys) -> None:
    clip, link = tmp_path / "clip.mp4", tmp_path / "link.mp4"
    shutil.copy(EXAMPLE, clip)
    link.symlink_to(clip)
    query = ("--clip-frame", 0, "--point", "5,5")
    for out in (clip, link):
        line = refused(capsys, "attend", clip, *query, "--out", out, *QUICK)
        assert "is an input" in line
    assert clip.read_bytes() == EXAMPLE.read_bytes()


@pytest.mark.parametrize(
    "command",
    [("segment", EXAMPLE), ("attend", EXAMPLE), ("benchmark",), ("train", "."),
     ("evaluate", "davis-2016")],
)  # fmt: skip
def test_an_empty_out_is_bad_usage(command, capsys) -> None:
    assert "no path is given" in refused(capsys, *command, "--out", "")


# ---- readers of the output -----------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [("--help",), ("segment", "CLIP", "--out", "OUT", *QUICK)])
def test_a_reader_that_has_gone_is_no_traceback(arguments, folder_of_frames, tmp_path) -> None:
    places = {"CLIP": folder_of_frames, "OUT": tmp_path / "out"}
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "bavos_core", *(str(places.get(a, a)) for a in arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": ""},
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
    )
    os.close(write)
    assert done.returncode == 141
    assert all(line.startswith("Note: ") for line in done.stderr.splitlines()), done.stderr
    assert arguments == ("--help",) or {path.name for path in places["OUT"].iterdir()} == FILES


# ---- sizes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        ("--patches", "1e9"), ("--patches", 10**9), ("--patches", "9" * 4000),
        ("--size", "100000x100000"), ("--size", "1x10000000"), ("--size", f"1x{'9' * 4000}"),
    ],
)  # fmt: skip
def test_impossible_sizes_are_refused_in_one_line(options, tmp_path, capsys) -> None:
    line = refused(capsys, "segment", EXAMPLE, "--out", tmp_path / "out", *QUICK[:-2], *options)
    assert options[0].strip("-") in line.lower()
    assert len(line) < 200
    assert list(tmp_path.iterdir()) == []


def test_more_frames_than_there_are_means_all(folder_of_frames, tmp_path, capsys) -> None:
    options = ("--backbone", "descriptors", "--size", "64x96", "--frames", 10**9)
    assert run("segment", folder_of_frames, "--out", tmp_path / "out", *options) == 0
    assert json.loads(capsys.readouterr().out)["frames_analysed"] == 3


# ---- a part of a clip ----------------------------------------------------------------------------


def test_a_part_of_a_clip_is_segmented(tmp_path, capsys) -> None:
    out = tmp_path / "out"
    part = ("--start", "0:00.5", "--end", "1", "--no-sound")
    assert run("segment", EXAMPLE, "--out", out, *QUICK, *part) == 0
    summary = json.loads((out / "summary.json").read_text())
    (start, frames) = (summary["start"], summary["frames"])
    assert 0.5 <= start < 0.5 + 0.05
    assert shape_of(out / "overlay.mp4")[0] == frames
    assert len(list((out / "masks").iterdir())) == frames


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--start", "3600"), "start earlier"),
        (("--start", "1", "--end", "0.5"), "0 ≤ start < end"),
        (("--start", "soon"), "mm:ss"),
        (("--start", "nan"), "mm:ss"),
        (("--end", "1:75"), "mm:ss"),
        (("--end=-1",), "mm:ss"),
    ],
)
def test_parts_that_do_not_exist_are_refused(options, named, tmp_path, capsys) -> None:
    line = refused(capsys, "segment", EXAMPLE, "--out", tmp_path / "out", *QUICK, *options)
    assert named in line


def test_only_videos_have_parts(folder_of_frames, tmp_path, capsys) -> None:
    given = (folder_of_frames, "--out", tmp_path / "out", *QUICK, "--start", "1")
    assert "no video" in refused(capsys, "segment", *given)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("7", 7), ("90.25", 90.25), ("1:30.5", 90.5), ("90:00", 5400), ("1:02:03", 3723)],
)
def test_times_are_read_as_people_write_them(text, expected) -> None:
    assert seconds(text) == expected


# ---- progress ------------------------------------------------------------------------------------


def test_progress_without_a_terminal_is_a_line_a_minute(capsys) -> None:
    clock = iter([100.0, 100.0, 159.9, 160.0, 161.0, 219.0, 221.0])
    show = lines(clock.__next__)
    for share in (0.0, 0.3, 0.4, 0.5, 0.6, 0.999):
        show(Stage.DECODE, share)
    assert capsys.readouterr().err == "decode: 40 %\ndecode: 99 %\n"
