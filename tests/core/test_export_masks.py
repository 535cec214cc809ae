"""Masks and videos of every frame."""

import json
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image
from pycocotools import mask as coco

from bavos_core import Analysis, Segmentation, Settings, analyse, export
from bavos_core.export.masks import blend, png_values, surrounding
from bavos_core.render import object_colour
from bavos_io.clip import ArrayClip, Timeline
from bavos_io.coco import CocoFile
from bavos_io.palette_png import davis_palette, palette_png

from .helpers import TINY, decode

SHAPES = array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12)


LABELS = SHAPES.flatmap(lambda shape: arrays(np.int64, shape, elements=st.integers(0, 3)))


CHESS = np.indices((7, 8)).sum(0) % 2


@pytest.fixture(scope="module", params=["refined", "nearest", "exact"])
def sampled(request: pytest.FixtureRequest, clip: ArrayClip) -> Analysis:
    """Three of its frames analysed, 0, 3 and 6, in each of the ways to make masks."""
    ways = {"refined": {}, "nearest": {"refine": False}, "exact": {"exact": True}}
    return analyse(clip, Settings(**TINY, frames=3, **ways[request.param]))


def segmentation_of(background: list[bool]) -> Segmentation:
    """A cut of which only the clusters matter."""
    labels = np.arange(len(background))
    return Segmentation(1.0, labels, labels[None, :, None], np.array(background))


# ---- run-length codes --------------------------------------------------------------------------


def annotations_of(*maps: np.ndarray) -> list[dict]:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "masks.json"
        with CocoFile(path, [], {}) as masks:
            for labels in maps:
                masks.add(labels, "00000.png")
        return json.loads(path.read_text())["annotations"]


@given(LABELS)
@example(CHESS)
@example(np.zeros((3, 5), np.int64))
def test_annotations_decode_to_the_pixels_of_every_cluster(labels: np.ndarray) -> None:
    found = annotations_of(labels)
    categories = [annotation["category_id"] for annotation in found]
    assert categories == (np.unique(labels) + 1).tolist()
    for annotation in found:
        inside = labels + 1 == annotation["category_id"]
        np.testing.assert_array_equal(coco.decode(annotation["segmentation"]), inside)
        assert annotation["area"] == inside.sum()
        rows, columns = np.nonzero(inside)
        left, top, wide, high = annotation["bbox"]
        assert (left, left + wide - 1) == (columns.min(), columns.max())
        assert top <= rows.min()
        assert top + high - 1 >= rows.max()


def test_ids_of_annotations_go_on_from_image_to_image() -> None:
    found = annotations_of(CHESS, np.zeros((7, 8), int), CHESS)
    assert json.loads(json.dumps(found)) == found
    assert [each["id"] for each in found] == [1, 2, 3, 4, 5]
    assert [each["image_id"] for each in found] == [1, 1, 2, 3, 3]


# ---- palette PNGs ------------------------------------------------------------------------------


def test_png_values_are_0_for_background_and_else_the_number_plus_1() -> None:
    values = png_values(segmentation_of([True, False, True, False]))
    assert values.dtype == np.uint8
    assert values.tolist() == [0, 2, 0, 4]


def test_clusters_beyond_255_have_no_png_value_and_a_warning_says_so(square_analysis) -> None:
    many = segmentation_of([False] * 300)
    values = png_values(many)
    assert values[:255].tolist() == list(range(1, 256))
    assert not values[255:].any()
    warnings = export.summary(square_analysis, many, {})["warnings"]
    assert any("45 clusters" in warning for warning in warnings)


def test_a_mask_png_is_8_bit_with_davis_palette_and_the_values_of_its_clusters() -> None:
    values = np.array([0, 2, 7], np.uint8)
    labels = np.random.default_rng(0).integers(0, 3, (9, 11))
    with Image.open(BytesIO(palette_png(values[labels]))) as picture:
        assert (picture.format, picture.mode) == ("PNG", "P")
        assert picture.getpalette() == davis_palette().ravel().tolist()
        np.testing.assert_array_equal(np.asarray(picture), values[labels])


# ---- masks of all frames -----------------------------------------------------------------------


def test_every_frame_of_the_clip_has_a_mask_in_order(sampled, clip) -> None:
    masks = list(export.all_masks(sampled, sampled.segment(), clip))
    assert [mask.clip_frame for mask in masks] == list(range(7))
    for mask, frame in zip(masks, clip.frames, strict=True):
        np.testing.assert_array_equal(mask.frame, frame)
        assert mask.labels.shape == (48, 64)


def test_without_the_clip_the_analysed_frames_have_masks(sampled) -> None:
    masks = list(export.all_masks(sampled, sampled.segment(), None))
    assert [mask.clip_frame for mask in masks] == [0, 3, 6]


def test_masks_at_analysed_frames_are_those_of_the_analysed_frames(sampled, clip) -> None:
    cut = sampled.segment()
    masks = list(export.all_masks(sampled, cut, clip))
    for sample_index, clip_frame in enumerate(sampled.analysed):
        expected = export.analysed_mask(sampled, cut, sample_index)
        assert expected.clip_frame == clip_frame
        np.testing.assert_array_equal(masks[clip_frame].labels, expected.labels)


def test_frames_between_analysed_ones_are_blended_by_time(clip) -> None:
    analysis = analyse(clip, Settings(**TINY, frames=3))
    for index, (before, share) in {1: (0, 1 / 3), 3: (1, 0), 5: (1, 2 / 3)}.items():
        expected = [(before, 1 - share), (before + 1, share)][: 2 if share else 1]
        np.testing.assert_allclose(surrounding(analysis, index), expected)
        row = analysis.attend(0, 10, 10)
        mixed = blend(torch.from_numpy(row), analysis, index).numpy()
        np.testing.assert_allclose(mixed, sum(s * row[i] for i, s in expected), rtol=1e-5)


def test_uneven_times_decide_the_blend_and_not_the_frame_numbers(square_clip) -> None:
    times = np.array([0, 0.9, 1.0, 2.0, 3.0, 4.0, 5.0])
    clip = replace(ArrayClip.of(square_clip), timeline=Timeline(times, times[-1] + 0.1))
    analysis = analyse(clip, Settings(**TINY, frames=3))
    np.testing.assert_allclose(surrounding(analysis, 1), [(0, 0.55), (1, 0.45)])


def test_frames_before_the_first_and_after_the_last_analysed_one_follow_it(clip) -> None:
    analysis = analyse(clip, Settings(**TINY, frames=1))
    assert analysis.analysed.tolist() == [3]
    assert {tuple(surrounding(analysis, i)) for i in range(7)} == {((0, 1.0),)}


def test_exact_masks_are_the_patch_labels_blown_up(exact_analysis, clip) -> None:
    cut = exact_analysis.segment()
    for mask in export.all_masks(exact_analysis, cut, clip):
        np.testing.assert_array_equal(
            mask.labels, np.kron(cut.labels[mask.clip_frame], np.ones((8, 8)))
        )


def test_exact_masks_between_analysed_frames_are_those_of_the_nearest(clip) -> None:
    analysis = analyse(clip, Settings(**TINY, frames=3, exact=True))
    cut = analysis.segment()
    nearest = [0, 0, 1, 1, 1, 2, 2]
    for mask in export.all_masks(analysis, cut, clip):
        expected = np.kron(cut.labels[nearest[mask.clip_frame]], np.ones((8, 8)))
        np.testing.assert_array_equal(mask.labels, expected)


def test_exact_masks_and_colours_agree_on_every_pixel(exact_analysis) -> None:
    cut = exact_analysis.segment()
    colours = np.array([object_colour(i) for i in range(cut.clusters)], np.float32)
    mask = export.analysed_mask(exact_analysis, cut, 2)
    found = mask.painted(colours, np.ones(cut.clusters, np.float32))
    inner = np.zeros((8, 8), bool)
    inner[1:-1, 1:-1] = True  # outlines are drawn on the rim of a patch
    inside = np.kron(np.ones((6, 8), bool), inner)
    np.testing.assert_array_equal(found[inside], colours[mask.labels[inside]])


# ---- videos ------------------------------------------------------------------------------------


def test_the_overlay_has_as_many_frames_as_the_clip_and_its_size(sampled, clip, tmp_path) -> None:
    export.write_overlay(tmp_path / "overlay.mp4", sampled, sampled.segment(), clip)
    assert decode(tmp_path / "overlay.mp4").shape == (7, 48, 64, 3)
    export.write_overlay(tmp_path / "analysed.mp4", sampled, sampled.segment(), None)
    assert decode(tmp_path / "analysed.mp4").shape == (3, 48, 64, 3)


def test_an_overlay_without_opacity_shows_the_clip_itself(square_analysis, clip, tmp_path) -> None:
    cut = square_analysis.segment()
    for name, opacity in (("plain.mp4", 0.0), ("painted.mp4", 0.9)):
        export.write_overlay(tmp_path / name, square_analysis, cut, clip, opacity=opacity)
    plain, painted = decode(tmp_path / "plain.mp4"), decode(tmp_path / "painted.mp4")
    assert abs(plain.astype(int) - clip.frames).mean() < 16  # H.264 blurs noise
    assert abs(painted.astype(int) - plain).max() > 60


def test_the_overlay_is_painted_in_the_style_asked_for(square_analysis, clip, tmp_path) -> None:
    cut, changed = square_analysis.segment(n_clusters=4), {}
    for style in ("fills", "outlines"):
        path = tmp_path / f"{style}.mp4"
        export.write_overlay(path, square_analysis, cut, clip, opacity=0.9, style=style)
        changed[style] = (abs(decode(path).astype(int) - clip.frames).max(-1) > 60).mean()
    assert changed["fills"] > 0.02
    assert changed["outlines"] < changed["fills"] / 3


def test_the_overlay_of_uneven_times_lasts_as_long_as_the_clip(square_clip, tmp_path) -> None:
    times = np.array([0, 0.1, 0.2, 0.3, 0.4, 0.5, 1.5])
    clip = replace(ArrayClip.of(square_clip), timeline=Timeline(times, times[-1] + 0.1))
    analysis = analyse(clip, Settings(**TINY, frames=2))
    export.write_overlay(tmp_path / "overlay.mp4", analysis, analysis.segment(), clip)
    _, seconds = imageio_ffmpeg.count_frames_and_secs(str(tmp_path / "overlay.mp4"))
    assert seconds == pytest.approx(1.6, abs=0.05)


def test_the_heatmap_video_has_the_clips_frames_and_one_ring(sampled, clip, tmp_path) -> None:
    row = sampled.attend(1, 30.0, 20.0)
    for name, query in (("ring.mp4", (1, 30.0, 20.0)), ("plain.mp4", None)):
        export.write_heatmap(tmp_path / name, sampled, row, clip, query=query)
    ring, plain = decode(tmp_path / "ring.mp4"), decode(tmp_path / "plain.mp4")
    assert ring.shape == plain.shape == (7, 48, 64, 3)
    around = np.s_[:, 24:37, 14:27]
    change = abs(ring.astype(int) - plain)[around].max((1, 2, 3))
    assert change.argmax() == 3  # analysed frame 1 is frame 3 of the clip
    assert change[3] > 80
    assert change[0] < 40
