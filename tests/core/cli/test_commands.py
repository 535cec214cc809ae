"""The command line is a contract: scripts outside the project call it (design, command line)."""

import json
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from .helpers import (
    EXAMPLE,
    FILES,
    FRAMES,
    QUICK,
    bavos,
    masks_of,
    run,
    shape_of,
)


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
    files = [image["file_name"] for image in document["images"]]
    assert files == ["frame1.png", "frame2.png", "frame10.png"]
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


# ---- attend --------------------------------------------------------------------------------------


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


def test_segment_cuts_out_objects_under_their_numbers(folder_of_frames, tmp_path, capsys) -> None:
    plain, out = tmp_path / "plain", tmp_path / "out"
    assert run("segment", folder_of_frames, "--out", plain, *QUICK) == 0
    document = json.loads((plain / "masks.json").read_text())
    in_second = [each for each in document["annotations"] if each["image_id"] == 2]
    *_, second, first = sorted(in_second, key=lambda each: each["area"])
    numbers = [each["category_id"] for each in (first, second)]
    options = ("--cut-out", "png", "--objects", "{},{}".format(*numbers), "--each", "--features")
    assert run("segment", folder_of_frames, "--out", out, *options, *QUICK) == 0
    folders = {f"object-{number}" for number in numbers}
    assert {path.name for path in out.iterdir()} == {*FILES, *folders, "features.npz"}
    alpha = np.asarray(Image.open(out / f"object-{numbers[0]}" / "frame2.png"))[..., 3]
    assert (alpha > 127).sum() == pytest.approx(first["area"], rel=0.05)


@pytest.mark.parametrize(
    ("kind", "file"), [("prores", "objects.mov"), ("vp9", "objects.webm"), ("matte", "objects.mp4")]
)
def test_segment_cuts_out_all_objects_as_a_video(kind, file, folder_of_frames, tmp_path, capsys):
    out = tmp_path / "out"
    assert run("segment", folder_of_frames, "--out", out, "--cut-out", kind, *QUICK) == 0
    assert {path.name for path in out.iterdir()} == {*FILES, file}
    assert shape_of(out / file) == (3, 48, 64)


def test_attend_writes_the_attention_as_an_array_too(folder_of_frames, tmp_path, capsys) -> None:
    files = ("--out", tmp_path / "heat.mp4", "--npz", tmp_path / "heat.npz")
    query = ("--clip-frame", 2, "--point", "20,30")
    assert run("attend", folder_of_frames, *query, *files, *QUICK) == 0
    shares = json.loads(capsys.readouterr().out)["share_of_attention_per_frame"]
    with np.load(tmp_path / "heat.npz", allow_pickle=False) as file:
        assert file["query"].tolist() == [[2, 30, 20]]
        assert file["clip_frame"].tolist() == [0, 1, 2]
        np.testing.assert_allclose(
            file["attention"].sum((0, 2, 3)), list(shares.values()), atol=1e-4
        )
