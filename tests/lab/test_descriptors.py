"""Hand-crafted descriptors: finite on every clip, and each step as its formula says."""

import numpy as np
import pytest
import torch
from core.helpers import random_images
from scipy.ndimage import gaussian_filter

from bavos_core import backbones
from bavos_core.attention import AttentionRows, centred_unit, perplexity_scale
from bavos_core.settings import Compute
from bavos_lab.descriptors import blur, border_contrast, rgb_to_lab

CPU = Compute(torch.device("cpu"), "fp32")


@pytest.mark.parametrize(("frames", "grid"), [(1, (1, 1)), (1, (6, 8)), (3, (1, 7)), (4, (5, 3))])
def test_descriptors_give_finite_features_of_the_right_shape_on_any_grid(frames, grid) -> None:
    features = backbones.load("descriptors").encode(
        random_images(frames, grid[0] * 8, grid[1] * 8), CPU
    )
    assert features.grid == grid
    assert features.keys.shape == features.queries.shape
    assert features.keys.shape[:3] == (frames, 1, grid[0] * grid[1])
    assert features.channels % 8 == 0  # the correlator has 8 heads
    assert features.tokens.isfinite().all()


def test_descriptors_give_as_many_channels_for_every_clip() -> None:
    widths = {
        backbones.load("descriptors").encode(batch, CPU).channels
        for batch in (random_images(1, 8, 8), random_images(3, 48, 64), torch.zeros(1, 3, 16, 16))
    }
    assert len(widths) == 1


@pytest.mark.parametrize("colour", [(0, 0, 0), (1, 1, 1), (0.2, 0.9, 0.4)])
@pytest.mark.parametrize("frames", [1, 3])
def test_descriptors_are_finite_on_frames_of_one_colour(colour, frames) -> None:
    batch = torch.tensor(colour, dtype=torch.float32).view(1, 3, 1, 1).repeat(frames, 1, 48, 64)
    tokens = backbones.load("descriptors").encode(batch, CPU).tokens
    assert tokens.isfinite().all()
    unit = centred_unit(tokens)
    rows = AttentionRows(unit, unit, perplexity_scale(unit, unit)).rows(0, frames)
    torch.testing.assert_close(rows.sum(1), torch.ones(frames * 48))


def test_descriptors_give_the_same_for_the_same_clip() -> None:
    first, again = (
        backbones.load("descriptors").encode(random_images(3, 48, 64), CPU).keys for _ in range(2)
    )
    assert torch.equal(first, again)


def test_descriptors_tell_a_square_from_what_surrounds_it() -> None:
    batch = 0.2 + 0.05 * random_images(3, 64, 96)
    batch[:, :, 16:48, 32:64] += torch.tensor([0.6, 0.1, 0.0]).view(3, 1, 1)
    unit = centred_unit(backbones.load("descriptors").encode(batch, CPU).tokens)[0, 0].unflatten(
        0, (8, 12)
    )
    inside, outside = unit[3:5, 5:7].flatten(0, 1), unit[0]
    assert (inside @ inside.T).min() > 0.5
    assert (inside @ outside.T).max() < 0


def test_lab_values_are_those_of_the_tables() -> None:
    colours = {
        (1, 1, 1): (100, 0, 0), (0, 0, 0): (0, 0, 0), (1, 0, 0): (53.24, 80.09, 67.20),
        (0, 1, 0): (87.73, -86.18, 83.18), (0, 0, 1): (32.30, 79.19, -107.86),
    }  # fmt: skip
    for rgb, lab in colours.items():
        found = rgb_to_lab(torch.tensor(rgb).float().view(1, 3, 1, 1)).flatten() * 100
        np.testing.assert_allclose(found.numpy(), lab, atol=0.15)


@pytest.mark.parametrize("sigma", [0.7, 1.4, 2.0, 5.6])
@pytest.mark.parametrize("size", [(40, 50), (3, 2), (1, 1)])
def test_the_blur_is_a_gaussian_with_edges_repeated(sigma, size) -> None:
    maps = np.random.default_rng(0).random((2, 3, *size))
    reach = max(1, round(3 * sigma))
    expected = gaussian_filter(maps, sigma, mode="nearest", axes=(2, 3), radius=reach)
    found = blur(torch.tensor(maps).float(), sigma).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_contrast_is_the_mean_distance_to_the_nearest_border_patches() -> None:
    maps = np.random.default_rng(0).random((2, 5, 7, 9))
    border = np.ones((7, 9), bool)
    border[2:-2, 2:-2] = False
    expected = np.empty((2, 1, 7, 9))
    for t, y, x in np.ndindex(2, 7, 9):
        apart = np.linalg.norm(maps[t][:, border].T - maps[t, :, y, x], axis=1)
        expected[t, 0, y, x] = np.sort(apart)[:20].mean()
    found = border_contrast(torch.tensor(maps)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)
