"""Inputs from real life that went wrong once, with their right values (tests/cases/README.md).

In most of them a frame carries its number in eight bars at its top: bit k is bar k, bright means 1.
"""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from bavos_core import Edit, InputError, Settings, analyse, export, open_clip

from .helpers import check_message

CASES = Path(__file__).parents[1] / "cases"
TENTHS = np.arange(200) / 10


def number_of(frame: np.ndarray) -> int:
    """Read a frame's number from its bars."""
    height, width = frame.shape[:2]
    bars = [frame[height // 16, int((k + 0.5) * width / 8)].mean() for k in range(8)]
    return sum(2**k for k, bar in enumerate(bars) if bar > 127)


@pytest.mark.parametrize(
    ("name", "numbers", "times"),
    [
        ("vp8_altref.webm", range(40), TENTHS),
        ("hevc_opengop_cut.mkv", range(10, 40), TENTHS),
        ("intra_refresh_cut.mkv", range(20, 40), TENTHS),
        ("two_edits.mp4", [*range(20, 25), *range(5, 15)], TENTHS),
        ("resize.webm", range(40), TENTHS),
        ("cover_first.mp4", range(30), TENTHS),
        ("thumb_track_first.mov", range(30), TENTHS),
        ("slides.gif", range(4), [0, 10, 13, 30]),
        ("hold.gif", range(12), TENTHS),
        ("anim.png", range(12), TENTHS),
        ("phone.3gp", range(40), TENTHS),
    ],
)
def test_every_frame_is_there_once_at_its_time(name, numbers, times) -> None:
    clip = open_clip(CASES / name)
    assert [number_of(frame) for frame in clip.read()] == list(numbers)
    np.testing.assert_allclose(clip.times, times[: len(numbers)], atol=1e-3)
    assert not clip.damaged


@pytest.mark.parametrize("chosen", [[3, 9, 17, 22, 28, 34], [0], [39], list(range(40))])
@pytest.mark.parametrize("name", ["resize.webm", "vp8_altref.webm", "phone.3gp"])
def test_chosen_frames_are_those(name, chosen) -> None:
    frames = open_clip(CASES / name).read(chosen)
    assert [number_of(frame) for frame in frames] == chosen


@pytest.mark.parametrize(
    ("name", "expected"),
    [("vp8_altref.webm", [0, 13, 26, 39]), ("two_edits.mp4", [20, 5, 9, 14]),
     ("intra_refresh_cut.mkv", [20, 26, 33, 39])],
)  # fmt: skip
def test_a_sample_is_of_what_is_decoded_though_the_container_counts_otherwise(name, expected):
    indices, frames = open_clip(CASES / name).sample(4)
    assert [number_of(frame) for frame in frames] == expected
    assert indices[-1] == len(open_clip(CASES / name).times) - 1


@pytest.mark.parametrize(
    ("name", "end"), [("hold.gif", 3.1), ("slides.gif", 33), ("two_edits.mp4", 1.5)]
)
def test_the_last_picture_is_held(name, end) -> None:
    assert open_clip(CASES / name).end == pytest.approx(end, abs=1e-3)


def test_a_rate_that_changes_is_followed() -> None:
    assert open_clip(CASES / "lowlight.mp4").times[99] == pytest.approx(3.3, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "colour", "most"),
    [
        ("hd709.mp4", (199, 31, 32), 4),
        ("hd_untagged.mp4", (199, 31, 32), 4),
        ("pq.mov", (188, 31, 30), 4),
        ("adobe.jpg", (200, 30, 30), 2),
        ("clear.webm", (0, 0, 0), 0),
        ("cutout.png", (0, 0, 0), 0),
    ],
)
def test_colours_are_those_that_a_browser_shows(name, colour, most) -> None:
    frame = next(open_clip(CASES / name).read())
    first_bar = frame[frame.shape[0] * 3 // 4, frame.shape[1] // 16]
    assert np.abs(first_bar.astype(int) - colour).max() <= most


def test_floats_from_0_to_1_are_not_black() -> None:
    (frame,) = open_clip(CASES / "float.tif").read()
    assert frame.max() > 250


def test_interlaced_frames_are_deinterlaced() -> None:
    """Combing: neighbouring rows differ more than rows of one field."""
    for frame in open_clip(CASES / "interlaced.mp4").read():
        rows = frame.astype(float).mean(2)[8:-8]
        combing = np.abs(rows[1:-1] - (rows[:-2] + rows[2:]) / 2).mean()
        assert combing < 1


def test_names_in_a_zip_without_an_encoding_are_read() -> None:
    assert open_clip(CASES / "gbk.zip").frame_names == tuple(f"第{i}帧" for i in range(1, 7))


def test_a_codec_that_is_not_supported_is_named() -> None:
    with pytest.raises(InputError) as caught:
        open_clip(CASES / "jp2.mov")
    check_message(caught.value, "'jp2.mov'", "the codec jpeg2000, which is not supported")


def test_masks_are_opened_by_pycocotools(tmp_path) -> None:
    settings = Settings(backbone="descriptors", frames=4, patches=192, device="cpu")
    clip = open_clip(CASES / "cover_first.mp4")
    analysis = analyse(clip, settings).edited(Edit.name(1, "left bar"))
    cut = analysis.segment(n_clusters=4)
    export.write_all(tmp_path / "out", analysis, cut, clip)
    found = COCO(str(tmp_path / "out" / "masks.json"))
    assert found.loadCats(2)[0]["name"] == "left bar"
    assert [found.cats[i]["supercategory"] for i in range(1, 5)] == [cut.role(i) for i in range(4)]
    assert list(found.imgs) == list(range(1, 31))
    assert list(found.anns) == list(range(1, len(found.anns) + 1))
    for i, image in found.imgs.items():
        assert (image["frame"], image["seconds"]) == (i - 1, pytest.approx(TENTHS[i - 1]))
        picture = np.asarray(Image.open(tmp_path / "out" / "masks" / image["file_name"]))
        assert (image["height"], image["width"]) == picture.shape == clip.size
        np.testing.assert_array_equal(painted_by(found, i), picture)
    info = found.dataset["info"]
    assert info["settings"] == analysis.settings.to_dict()
    assert info["backbone"] == "descriptors"


def painted_by(found: COCO, image: int) -> np.ndarray:
    """All masks of an image: the id of its category for an object, 0 for background, -1 nothing."""
    painted = np.full((found.imgs[image]["height"], found.imgs[image]["width"]), -1)
    for annotation in found.imgToAnns[image]:
        inside = found.annToMask(annotation).astype(bool)
        assert (painted[inside] == -1).all()
        assert (annotation["iscrowd"], annotation["area"]) == (0, inside.sum())
        assert annotation["track_id"] == annotation["category_id"]
        category = found.cats[annotation["category_id"]]
        painted[inside] = category["id"] * (category["supercategory"] == "object")
    return painted
