"""Large clips: frames are kept at preview size, and everything else is as for the clip."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from bavos_core import Analysis, Settings, analyse, backbones, export
from bavos_core.export.masks import numbered_frames
from bavos_core.settings import Compute
from bavos_io.clip import ArrayClip
from bavos_io.opening import open_clip

from .helpers import TINY, noise_clip

SIZE = (150, 1500)


@pytest.fixture(scope="module")
def large() -> Analysis:
    return analyse(noise_clip(3, SIZE), Settings(**TINY))


def test_frames_are_shrunk_and_the_size_is_that_of_the_clip(large) -> None:
    assert large.size == SIZE
    assert large.frames.shape == (3, 102, 1024, 3)


def test_the_backbone_sees_what_full_frames_show_not_the_smaller_ones_that_are_kept() -> None:
    frames = noise_clip(2, (80, 1600))
    settings = Settings(backbone="descriptors", size=(32, 640), device="cpu")
    analysis = analyse(frames, settings)
    assert max(analysis.frames.shape[1:3]) == 1024
    backbone = backbones.load("descriptors")
    images = backbones.to_images(frames, analysis.grid, backbone.patch)
    expected = backbone.encode(images, Compute.choose(settings))
    torch.testing.assert_close(analysis.keys, expected.keys.half())


def test_frames_of_up_to_1024_pixels_stay_as_they_are() -> None:
    frames = noise_clip(2, (40, 1024))
    np.testing.assert_array_equal(analyse(frames, Settings(**TINY, exact=True)).frames, frames)


def test_a_backbone_that_needs_more_gets_it() -> None:
    given = replace(Settings(**TINY), size=(16, 1200))
    assert analyse(noise_clip(1, SIZE), given).frames.shape == (1, 120, 1200, 3)


def test_queries_are_pixels_of_the_clip(large) -> None:
    corner = large.attend(0, 150, 1500)
    last_patch = large.attend(0, 149.9, 1499.9)
    np.testing.assert_allclose(corner, last_patch, rtol=1e-3)
    assert not np.allclose(corner, large.attend(0, 102, 1024), rtol=1e-2)


def test_the_size_is_kept_in_the_file(large, tmp_path) -> None:
    replace(large, part=(1.5, None)).save(tmp_path / "a.npz")
    again = Analysis.load(tmp_path / "a.npz")
    assert (again.size, again.part) == (SIZE, (1.5, None))


def test_without_the_clip_files_have_its_size(large, tmp_path) -> None:
    export.write_all(tmp_path / "out", large, large.segment(), None)
    with Image.open(tmp_path / "out" / "masks" / "00000.png") as mask:
        assert mask.size == SIZE[::-1]
    assert open_clip(tmp_path / "out" / "overlay.mp4").size == SIZE


def test_a_query_is_marked_at_its_place_whatever_the_size_of_the_frames(large, tmp_path) -> None:
    grey = np.full((3, *SIZE, 3), 128, np.uint8)
    row = np.zeros((3, *large.grid), np.float32)
    row[0, 0, 0] = 1
    for side in (1500, 750):
        clip = ArrayClip.of(grey).resized(side)
        export.write_heatmap(tmp_path / "h.mp4", large, row, clip, query=(0, 75, 1000))
        frame = next(iter(open_clip(tmp_path / "h.mp4").read()))
        rows, columns = np.nonzero(abs(frame.astype(int) - 128).max(2)[:, side // 2 :] > 60)
        assert abs(columns.mean() + side // 2 - side * 2 / 3) < 0.01 * side
        assert abs(rows.mean() - side / 20) < 0.01 * side


def test_frames_come_at_the_size_of_the_clip(large) -> None:
    assert {frame.shape for _, frame in numbered_frames(large, None)} == {(*SIZE, 3)}
