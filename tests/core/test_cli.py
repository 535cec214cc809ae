"""The command line is a contract: scripts outside the project call it (design, command line)."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from bavos_core import cli

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "assets" / "examples" / "orbit.mp4"
FRAMES = 40  # of the example, each 432×240
FILES = {
    "overlay.mp4", "masks", "masks.json", "labels.npz",
    "hierarchy.json", "hierarchy.svg", "summary.json",
}  # fmt: skip
QUICK = ("--backbone", "descriptors", "--frames", "3", "--size", "64x96")


def bavos(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python -m bavos_core …` in a process of its own, without network."""
    return subprocess.run(
        [sys.executable, "-m", "bavos_core", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


def run(*arguments: object) -> int:
    """The same in this process; the exit status."""
    try:
        return cli.main([str(argument) for argument in arguments])
    except SystemExit as stopped:
        return stopped.code


def shape_of(video: Path) -> tuple[int, int, int]:
    """Frames, height and width of a video, decoded with nothing of ours."""
    stream = imageio_ffmpeg.read_frames(str(video), output_params=["-fps_mode", "passthrough"])
    width, height = next(stream)["size"]
    return sum(1 for _ in stream), height, width


def masks_of(folder: Path) -> dict[str, np.ndarray]:
    """All PNG masks by name, after a look at their format."""
    found = {}
    for path in (folder / "masks").iterdir():
        with Image.open(path) as picture:
            assert (picture.format, picture.mode) == ("PNG", "P")
            found[path.name] = np.asarray(picture)
    return found


def everything_below(folder: Path) -> dict[str, int]:
    """Names and sizes of all files and folders, to see whether anything has changed."""
    return {str(path): path.is_file() and path.stat().st_size for path in folder.rglob("*")}


def check_complaint(text: str) -> str:
    """One line for a person, and no traceback."""
    lines = text.splitlines()
    assert len(lines) == 1, text
    assert lines[0].startswith("bavos: ") or lines[0].startswith("bavos ")
    assert "Traceback" not in text
    return lines[0]


@pytest.fixture
def pictures(tmp_path: Path) -> dict[str, bytes]:
    """Three small frames as JPEG and PNG files, whose names need natural order."""
    found = {}
    for number, suffix in ((2, "png"), (10, "jpg"), (1, "png")):
        pixels = np.full((48, 64, 3), 40, np.uint8)
        pixels[10:30, 3 * number : 3 * number + 20] = (200, 60, 50)
        path = tmp_path / f"picture.{suffix}"
        Image.fromarray(pixels).save(path)
        found[f"frame{number}.{suffix}"] = path.read_bytes()
        path.unlink()
    return found


@pytest.fixture
def folder_of_frames(pictures: dict[str, bytes], tmp_path: Path) -> Path:
    folder = tmp_path / "my clip"
    folder.mkdir()
    for name, data in pictures.items():
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture
def bad_clip(tmp_path: Path) -> Path:
    """Text that says it is a video."""
    path = tmp_path / "notes.mp4"
    path.write_text("Shopping list: bread, milk, a tripod.\n" * 50)
    return path


# ---- segment -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def segmented(tmp_path_factory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """A run on an example, in a folder that does not exist yet."""
    out = tmp_path_factory.mktemp("cli") / "new" / "result"
    return bavos("segment", EXAMPLE, "--out", out, "--backbone", "descriptors", "--frames", 6), out


@pytest.fixture(scope="module")
def summary(segmented) -> dict:
    return json.loads((segmented[1] / "summary.json").read_text())


def test_segment_succeeds_and_says_only_notes_on_stderr(segmented) -> None:
    done, _ = segmented
    assert done.returncode == 0, done.stderr
    assert all(line.startswith("Note: ") for line in done.stderr.splitlines())


def test_segment_prints_one_line_of_json(segmented, summary) -> None:
    (line,) = segmented[0].stdout.splitlines()
    printed = json.loads(line)
    assert printed["clusters"] == summary["clusters"]
    assert printed["seconds"] == summary["seconds"]


def test_segment_writes_the_files_of_the_contract_and_no_others(segmented) -> None:
    _, out = segmented
    assert {path.name for path in out.iterdir()} == FILES
    assert list(out.parent.iterdir()) == [out]


def test_segment_writes_one_png_per_frame_of_the_clip_at_its_size(segmented) -> None:
    masks = masks_of(segmented[1])
    assert sorted(masks) == [f"{i:05d}.png" for i in range(FRAMES)]
    assert {mask.shape for mask in masks.values()} == {(240, 432)}
    assert max(mask.max() for mask in masks.values()) > 0  # some object was found


def test_the_overlay_has_every_frame_at_the_clips_size(segmented) -> None:
    assert shape_of(segmented[1] / "overlay.mp4") == (FRAMES, 240, 432)


def test_the_summary_reports_seconds_memory_versions_and_settings(summary) -> None:
    stages = {"decode", "features", "attention and clustering", "instances", "masks", "encode"}
    assert set(summary["seconds"]) == stages
    assert all(seconds >= 0 for seconds in summary["seconds"].values())
    assert sum(summary["seconds"].values()) > 0.1
    assert summary["frames_per_second"] > 0
    assert summary["peak_memory_mib"] > 50
    assert {"python", "torch", "timm", "numpy"} <= set(summary["versions"])
    assert summary["settings"]["backbone"] == "descriptors"
    assert summary["settings"]["frames"] == summary["frames_analysed"] == 6
    assert summary["frames"] == FRAMES
    assert summary["clip"] == "orbit.mp4"


def test_a_folder_of_frames_gives_masks_under_the_frames_names(folder_of_frames, tmp_path) -> None:
    done = bavos("segment", folder_of_frames, "--out", tmp_path / "out", *QUICK)
    assert done.returncode == 0
    assert all(line.startswith("Note: ") for line in done.stderr.splitlines()), done.stderr
    assert set(masks_of(tmp_path / "out")) == {"frame1.png", "frame2.png", "frame10.png"}
    document = json.loads((tmp_path / "out" / "masks.json").read_text())
    assert document["frames"] == ["frame1", "frame2", "frame10"]
    assert shape_of(tmp_path / "out" / "overlay.mp4") == (3, 48, 64)


def test_a_zip_of_frames_gives_what_the_folder_gives(
    pictures, folder_of_frames, tmp_path, capsys
) -> None:
    packed = tmp_path / "clip.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in pictures.items():
            archive.writestr(f"clip/{name}", data)
        archive.writestr("__MACOSX/clip/._frame1.png", b"not a picture")
    assert run("segment", packed, "--out", tmp_path / "a", *QUICK) == 0
    assert run("segment", folder_of_frames, "--out", tmp_path / "b", *QUICK) == 0
    from_zip, from_folder = masks_of(tmp_path / "a"), masks_of(tmp_path / "b")
    assert set(from_zip) == set(from_folder)
    for name, mask in from_zip.items():
        np.testing.assert_array_equal(mask, from_folder[name])


def test_an_exact_run_copies_patch_labels_to_pixels(folder_of_frames, tmp_path, capsys) -> None:
    options = ("--exact", "--backbone", "descriptors", "--size", "48x64")
    assert run("segment", folder_of_frames, "--out", tmp_path / "out", *options) == 0
    with np.load(tmp_path / "out" / "labels.npz") as file:
        values = np.where(file["background"], 0, np.arange(len(file["background"])) + 1)
        labels = file["labels"]
    masks = masks_of(tmp_path / "out")
    for position, name in enumerate(("frame1", "frame2", "frame10")):
        expected = np.kron(values[labels[position]], np.ones((8, 8)))
        np.testing.assert_array_equal(masks[f"{name}.png"], expected)
    settings = json.loads((tmp_path / "out" / "summary.json").read_text())["settings"]
    assert settings["exact"] is True


def test_tau_decides_how_many_clusters_there_are(folder_of_frames, tmp_path, capsys) -> None:
    counts = []
    for tau in ("0.3", "50"):
        options = (*QUICK, "--tau", tau)
        assert run("segment", folder_of_frames, "--out", tmp_path / tau, *options) == 0
        counts.append(json.loads((tmp_path / tau / "summary.json").read_text())["clusters"])
    assert counts[0] > counts[1] == 1


def test_a_second_run_leaves_nothing_of_the_first(folder_of_frames, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    assert run("segment", folder_of_frames, "--out", out, *QUICK) == 0
    (folder_of_frames / "frame10.jpg").unlink()
    assert run("segment", folder_of_frames, "--out", out, *QUICK) == 0
    assert set(masks_of(out)) == {"frame1.png", "frame2.png"}
    assert {path.name for path in out.iterdir()} == FILES


# ---- attend ------------------------------------------------------------------------------------


def test_attend_writes_a_video_of_all_frames_and_prints_shares(tmp_path) -> None:
    out = tmp_path / "heat.mp4"
    done = bavos("attend", EXAMPLE, "--clip-frame", 17, "--point", "216,120", "--out", out, *QUICK)
    assert done.returncode == 0, done.stderr
    assert shape_of(out) == (FRAMES, 240, 432)
    assert list(tmp_path.iterdir()) == [out]
    printed = json.loads(done.stdout)
    assert printed["frame"] == 17
    shares = printed["share_of_attention_per_frame"]
    assert "17" in shares
    assert sum(shares.values()) == pytest.approx(1, abs=0.01)
    assert "nothing is learned" in done.stderr.splitlines()[0]  # what `segment` says, too


@pytest.mark.parametrize("source", ["framewise", "cross-frame", "untrained", "key-similarity"])
def test_attend_can_show_one_head_of_any_source(source, folder_of_frames, tmp_path, capsys) -> None:
    query = ("--clip-frame", 1, "--point", "20,20", "--head", 0, "--source", source)
    assert run("attend", folder_of_frames, *query, "--out", tmp_path / "heat.mp4", *QUICK) == 0
    assert shape_of(tmp_path / "heat.mp4") == (3, 48, 64)


# ---- bad usage and bad input -------------------------------------------------------------------


def test_an_absent_clip_stops_the_process_with_status_2_and_one_line(tmp_path) -> None:
    out = tmp_path / "out"
    done = bavos("segment", tmp_path / "absent.mp4", "--out", out, *QUICK)
    assert done.returncode == 2
    assert "absent.mp4" in check_complaint(done.stderr)
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_dino_without_network_stops_with_a_line_that_names_the_ways_out(tmp_path) -> None:
    cache = tmp_path / "cache"
    options = ("--backbone", "dino-vits8", "--frames", 2)
    done = bavos("segment", EXAMPLE, "--out", tmp_path / "out", *options, HF_HOME=str(cache))
    assert done.returncode == 2
    line = check_complaint(done.stderr)
    assert "--weights" in line
    assert "--backbone bundled-vits14 (tuned on saliency labels)" in line
    assert not (tmp_path / "out").exists()


def test_without_network_and_options_the_bundled_backbone_is_used_and_says_so(tmp_path) -> None:
    cache, out = tmp_path / "cache", tmp_path / "out"
    options = ("--frames", 2, "--size", "56x84")
    done = bavos("segment", EXAMPLE, "--out", out, *options, HF_HOME=str(cache))
    assert done.returncode == 0, done.stderr
    why, caution = done.stderr.splitlines()[:2]
    assert "dino-vits8" in why
    assert "bundled-vits14" in why
    assert "not label-free" in caution
    summary = json.loads((out / "summary.json").read_text())
    assert summary["settings"]["backbone"] == "bundled-vits14"
    assert [why, caution] == [f"Note: {text}" for text in summary["warnings"][:2]]


SEGMENT = ("segment", EXAMPLE, "--out", "OUT", *QUICK)
ATTEND = ("attend", EXAMPLE, "--clip-frame", 0, "--point", "5,5", "--out", "HEAT", *QUICK)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((), "COMMAND"),
        (("frobnicate",), "frobnicate"),
        (("segment", EXAMPLE), "--out"),
        ((*SEGMENT, "--frobnicate"), "--frobnicate"),
        ((*SEGMENT, "--tau", "0"), "Tau"),
        ((*SEGMENT, "--tau", "-1"), "Tau"),
        ((*SEGMENT, "--tau", "nan"), "Tau"),
        ((*SEGMENT, "--tau", "inf"), "Tau"),
        ((*SEGMENT, "--tau", "much"), "--tau"),
        ((*SEGMENT, "--frames", "0"), "Frames"),
        ((*SEGMENT, "--frames", "some"), "--frames"),
        ((*SEGMENT, "--size", "large"), "--size"),
        ((*SEGMENT, "--size", "0x0"), "size"),
        ((*SEGMENT, "--key-ratio", "0"), "key ratio"),
        ((*SEGMENT, "--backbone", "no-such-net"), "no-such-net"),
        ((*SEGMENT, "--backbone", "resnet50"), "resnet50"),
        ((*SEGMENT, "--backbone", "dino-vits16", "--weights", "ABSENT"), "absent.pth"),
        ((*SEGMENT, "--backbone", "dino-vits16", "--weights", "TEXT"), "notes.mp4"),
        ((*SEGMENT, "--weights", "TEXT"), "descriptors"),
        ((*SEGMENT, "--correlator", "ABSENT"), "absent.pth"),
        ((*SEGMENT, "--correlator", "TEXT"), "notes.mp4"),
        ((*SEGMENT, "--device", "abacus"), "abacus"),
        ((*SEGMENT, "--precision", "fp7"), "fp7"),
        ((*SEGMENT, "--out", "TEXT"), "notes.mp4"),
        ((*SEGMENT, "--out", "BELOW"), "out"),
        (("segment", "TEXT", "--out", "OUT", *QUICK), "notes.mp4"),
        (("segment", "EMPTY", "--out", "OUT", *QUICK), "empty"),
        ((*ATTEND, "--clip-frame", "40"), "40"),
        ((*ATTEND, "--clip-frame", "-1"), "-1"),
        ((*ATTEND, "--clip-frame", "first"), "--clip-frame"),
        ((*ATTEND, "--point", "433,5"), "outside"),
        ((*ATTEND, "--point", "5,241"), "outside"),
        ((*ATTEND, "--point=-1,5"), "outside"),
        ((*ATTEND, "--point", "nan,5"), "outside"),
        ((*ATTEND, "--point", "middle"), "--point"),
        ((*ATTEND, "--head", "99"), "99"),
        ((*ATTEND, "--head", "-1"), "-1"),
        ((*ATTEND, "--source", "nowhere"), "nowhere"),
        ((*ATTEND, "--source", "correlator", "--correlator", "key-similarity"), "--correlator"),
        ((*ATTEND, "--out", "TEXT.gif"), ".mp4"),
        ((*ATTEND, "--out", "FAR"), "no folder"),
        ((*ATTEND, "--out", "FOLDER"), "folder.mp4"),
    ],
    ids=lambda value: " ".join(map(str, value[-2:])) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_used_ends_with_status_2_one_line_and_no_trace(
    arguments, named, bad_clip, tmp_path, capsys, monkeypatch
) -> None:
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "empty").mkdir()
    places = {
        "OUT": tmp_path / "out", "HEAT": tmp_path / "heat.mp4", "TEXT": bad_clip,
        "BELOW": bad_clip / "out", "FAR": tmp_path / "far" / "heat.mp4",
        "FOLDER": tmp_path / "folder.mp4", "EMPTY": tmp_path / "empty",
        "ABSENT": tmp_path / "absent.pth", "TEXT.gif": tmp_path / "heat.gif",
    }  # fmt: skip
    monkeypatch.chdir(tmp_path)
    before = everything_below(tmp_path)
    assert run(*(places.get(argument, argument) for argument in arguments)) == 2
    said = capsys.readouterr()
    assert named in check_complaint(said.err)
    assert said.out == ""
    assert everything_below(tmp_path) == before


def test_a_frame_of_another_size_is_bad_input_even_when_it_was_not_analysed(
    folder_of_frames, tmp_path, capsys
) -> None:
    Image.new("RGB", (30, 20)).save(folder_of_frames / "frame11.png")
    before = everything_below(tmp_path)
    options = ("--backbone", "descriptors", "--frames", 1, "--size", "64x96")
    assert run("segment", folder_of_frames, "--out", tmp_path / "out", *options) == 2
    assert "frame11" in check_complaint(capsys.readouterr().err)
    assert everything_below(tmp_path) == before


def test_bad_input_leaves_an_earlier_result_as_it_was(folder_of_frames, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    assert run("segment", folder_of_frames, "--out", out, *QUICK) == 0
    Image.new("RGB", (30, 20)).save(folder_of_frames / "frame11.png")
    before = everything_below(out)
    assert run("segment", folder_of_frames, "--out", out, *QUICK) == 2
    assert everything_below(out) == before


def test_help_and_version_end_with_status_0(capsys) -> None:
    for arguments in (["--help"], ["segment", "--help"], ["attend", "--help"], ["--version"]):
        assert run(*arguments) == 0
    assert "--backbone" in capsys.readouterr().out


def test_the_clip_itself_is_never_touched(folder_of_frames, tmp_path, capsys) -> None:
    before = everything_below(folder_of_frames)
    copy = shutil.copy(EXAMPLE, tmp_path / "clip.mp4")
    assert run("segment", folder_of_frames, "--out", tmp_path / "out", *QUICK) == 0
    query = ("--clip-frame", 3, "--point", "5,5", "--out", tmp_path / "heat.mp4")
    assert run("attend", copy, *query, *QUICK) == 0
    assert everything_below(folder_of_frames) == before
    assert Path(copy).read_bytes() == EXAMPLE.read_bytes()
