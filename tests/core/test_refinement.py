"""From patch labels to pixel masks."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bavos_core.refinement import (
    Guide,
    box_mean,
    guided_coefficients,
    nearest_pixels,
    refined_maps,
    weighted_by_colour,
)


def plain_box_mean(image: np.ndarray, radius: int) -> np.ndarray:
    """Mean over the part of each pixel's square that lies inside the picture."""
    found = np.empty_like(image, dtype=np.float64)
    for y, x in np.ndindex(*image.shape):
        top, left = max(0, y - radius), max(0, x - radius)
        found[y, x] = image[top : y + radius + 1, left : x + radius + 1].mean()
    return found


def guided_filter(guide: Tensor, maps: Tensor, **options: float) -> Tensor:
    slope, offset = guided_coefficients(guide, maps, **options)
    return slope * guide + offset


def plain_guided_filter(
    guide: np.ndarray, image: np.ndarray, radius: int, epsilon: float
) -> np.ndarray:
    """He, Sun and Tang's algorithm: a line fitted in every window, then the mean of all lines."""
    slope, offset = np.empty((2, *guide.shape))
    for y, x in np.ndindex(*guide.shape):
        window = np.s_[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
        g, p = guide[window].ravel(), image[window].ravel()
        slope[y, x] = np.cov(g, p, ddof=0)[0, 1] / (g.var() + epsilon)
        offset[y, x] = p.mean() - slope[y, x] * g.mean()
    return plain_box_mean(slope, radius) * guide + plain_box_mean(offset, radius)


# ---- filters ------------------------------------------------------------------------------------


@pytest.mark.parametrize("radius", [1, 2, 5])
@pytest.mark.parametrize("size", [(9, 14), (3, 4), (1, 7)])
def test_the_box_mean_is_that_of_the_pixels_inside_the_picture(radius, size) -> None:
    maps = np.random.default_rng(0).random((2, *size))
    found = box_mean(torch.tensor(maps).float(), radius).numpy()
    np.testing.assert_allclose(found, [plain_box_mean(m, radius) for m in maps], atol=1e-5)


@pytest.mark.parametrize("radius", [1, 3])
def test_the_guided_filter_is_the_papers_line_fit_in_every_window(radius: int) -> None:
    rng = np.random.default_rng(1)
    guide, maps = rng.random((12, 17)), rng.random((3, 12, 17))
    tensors = torch.tensor(guide).float(), torch.tensor(maps).float()
    found = guided_filter(*tensors, radius=radius, epsilon=1e-2).numpy()
    expected = [plain_guided_filter(guide, m, radius, 1e-2) for m in maps]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_constant_map_stays_constant_under_the_guided_filter() -> None:
    guide = torch.tensor(np.random.default_rng(2).random((20, 30))).float()
    found = guided_filter(guide, torch.full((1, 20, 30), 0.37), radius=4, epsilon=1e-3)
    torch.testing.assert_close(found, torch.full((1, 20, 30), 0.37), rtol=0, atol=1e-4)


def test_maps_that_sum_to_one_still_do_after_the_guided_filter() -> None:
    rng = np.random.default_rng(3)
    guide = torch.tensor(rng.random((20, 30))).float()
    maps = torch.tensor(rng.dirichlet(np.ones(4), (20, 30))).float().permute(2, 0, 1)
    found = guided_filter(guide, maps, radius=4, epsilon=2e-3)
    torch.testing.assert_close(found.sum(0), torch.ones(20, 30), rtol=0, atol=1e-4)


def test_the_guided_filter_moves_a_border_to_the_edge_of_the_picture() -> None:
    guide = torch.zeros(20, 40)
    guide[:, 20:] = 1
    rough = torch.zeros(1, 20, 40)
    rough[..., 23:] = 1  # three pixels beside the edge
    sharp = guided_filter(guide, rough, radius=5, epsilon=2e-3)[0]
    assert (sharp[:, 20:] > sharp[:, 19:20] + 0.3).all()


# ---- pixels -------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 5), st.integers(1, 5))
def test_nearest_pixels_repeat_each_patch_when_sizes_divide(h, w, down, across) -> None:
    labels = np.arange(h * w).reshape(h, w)
    expected = np.kron(labels, np.ones((down, across), int))
    assert (nearest_pixels(labels, (h * down, w * across)) == expected).all()


@pytest.mark.parametrize("size", [(7, 11), (2, 3), (5, 1), (100, 3)])
def test_nearest_pixels_take_the_patch_under_their_own_corner_when_sizes_do_not_divide(size):
    labels = np.arange(20).reshape(4, 5)
    found = nearest_pixels(labels, size)
    for y, x in np.ndindex(*size):
        assert found[y, x] == labels[int(y * 4 / size[0] + 1e-9), int(x * 5 / size[1] + 1e-9)]


def halves() -> tuple[torch.Tensor, np.ndarray]:
    """Two clusters meeting at patch 4 of 8; the picture's edge is two pixels further right."""
    soft = torch.zeros(3, 6, 8)
    soft[0, :, :4] = soft[2, :, 4:] = 1
    frame = np.zeros((48, 64, 3), np.uint8)
    frame[:, 34:] = 255
    return soft, frame


def refine(soft: torch.Tensor, frame: np.ndarray) -> np.ndarray:
    """Refined masks (H, W) of the size of the frame; each leaf is merged with all before it."""
    leaves = np.arange(len(soft))
    children = np.array([[i, len(soft) + i - 2 if i > 1 else 0] for i in leaves[1:].tolist()])
    maps = refined_maps(soft, Guide.of(frame), leaves, children.reshape(-1, 2))
    return maps.pixels(frame.shape[:2])


def test_colour_decides_where_place_does_not_worked_out_by_hand() -> None:
    # Two dark pixels and two bright ones. Of cluster 0, dark holds 1.8 of 2.4 and bright 0.6; of
    # cluster 1, dark holds 0.2 of 1.6 and bright 1.4. Steps 0 and 15 have no common neighbour.
    maps = torch.tensor([[[0.9, 0.9, 0.5, 0.1]], [[0.1, 0.1, 0.5, 0.9]]])
    picture = np.repeat(np.array([[0, 0, 255, 255]], np.uint8)[..., None], 3, axis=2)
    dark = 0.9 * 1.8 / 2.4 / (0.9 * 1.8 / 2.4 + 0.1 * 0.2 / 1.6)
    undecided = 0.5 * 0.6 / 2.4 / (0.5 * 0.6 / 2.4 + 0.5 * 1.4 / 1.6)
    bright = 0.1 * 0.6 / 2.4 / (0.1 * 0.6 / 2.4 + 0.9 * 1.4 / 1.6)
    found = weighted_by_colour(maps, picture)
    assert found[0, 0].tolist() == pytest.approx([dark, dark, undecided, bright], rel=1e-5)
    assert found.sum(0).numpy() == pytest.approx(1)


@given(st.integers(0, 255), st.integers(1, 4), st.integers(0, 99))
def test_a_picture_of_one_colour_changes_nothing(value: int, clusters: int, seed: int) -> None:
    maps = torch.rand(clusters, 5, 6, generator=torch.Generator().manual_seed(seed)) + 0.01
    maps /= maps.sum(0)
    found = weighted_by_colour(maps, np.full((5, 6, 3), value, np.uint8))
    assert found.numpy() == pytest.approx(maps.numpy(), rel=1e-4)


def test_refined_masks_follow_the_edge_of_the_picture() -> None:
    found = refine(*halves())
    assert found.shape == (48, 64)
    expected = np.where(np.arange(64) < 34, 0, 2)
    assert (found == expected).mean() > 0.99


def test_leaves_that_are_nowhere_in_a_frame_are_left_out_of_it() -> None:
    soft, frame = halves()
    found = refined_maps(soft, Guide.of(frame), np.arange(3), np.array([[0, 1], [2, 3]]))
    assert found.nodes.tolist() == [0, 2]
    assert found.maps.shape == (2, 48, 64)


@pytest.mark.parametrize("size", [(48, 64), (47, 63), (720, 1280), (5, 5)])
def test_refined_masks_have_the_size_asked_for_and_only_known_leaves(size) -> None:
    rng = np.random.default_rng(0)
    soft = torch.tensor(rng.dirichlet(np.ones(4), (6, 8))).float().permute(2, 0, 1)
    frame = rng.integers(0, 256, (*size, 3), np.uint8)
    found = refine(soft, frame)
    assert found.shape == size
    assert set(np.unique(found)) <= {0, 1, 2, 3}


def test_the_guide_is_never_larger_than_384_pixels() -> None:
    guide = Guide.of(np.zeros((300, 900, 3), np.uint8))
    assert guide.grey.shape == (128, 384)
    assert guide.colours.shape == (64, 192, 3)


def test_one_leaf_over_a_black_frame_is_that_leaf_everywhere() -> None:
    assert (refine(torch.ones(1, 6, 8), np.zeros((48, 64, 3), np.uint8)) == 0).all()
