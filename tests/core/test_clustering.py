"""The steps of the clustering, its levels and the assignment."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from bavos_core.clustering import Clusters, assign, find_clusters, merge_globally
from bavos_core.distances import Windows

from .helpers import plain_kl, random_case, random_rows, refines, rows_of

ENDLESS = 1e6  # a τ above every distance


# ---- inputs with one right answer ---------------------------------------------------------------


@pytest.mark.parametrize("frames", [1, 3, 4])
@pytest.mark.parametrize("heads", [1, 2])
def test_identical_rows_are_one_cluster(frames: int, heads: int) -> None:
    row = np.random.default_rng(0).dirichlet(np.ones(12))
    attention = rows_of(np.tile(row, (heads, frames * 6, 1)), frames=frames, keys=2)
    found = find_clusters(Windows(attention), 1e-3)
    np.testing.assert_allclose(found.centroids.numpy(), row[None], atol=1e-6)
    assert (found.levels()[-1] == 0).all()
    assert (assign(Windows(attention), found.centroids).labels == 0).all()


@pytest.mark.parametrize("frames", [1, 2, 3, 8])
@pytest.mark.parametrize("heads", [1, 3])
def test_one_patch_a_frame_and_one_key_frame_is_one_cluster(frames: int, heads: int) -> None:
    rng = np.random.default_rng(frames)
    attention = random_rows(rng, frames=frames, heads=heads, patches=1)  # all rows are [1]
    found = find_clusters(Windows(attention), 1e-3)
    assert found.centroids.tolist() == [[1.0]]
    assert [len(set(level)) for level in found.levels()] == ([1] if frames <= 3 else [3, 1])
    assigned = assign(Windows(attention), found.centroids, nearest=8)
    assert assigned.index.tolist() == [[[0]]] * frames
    assert assigned.distance.abs().max() < 1e-6
    assert assigned.mean_rows.tolist() == [[1.0]]


def test_one_patch_of_one_frame_is_one_cluster() -> None:
    attention = rows_of([[1.0]], frames=1, keys=1)
    found = find_clusters(Windows(attention), 1.0)
    assert found.centroids.tolist() == [[1.0]]
    assert [level.tolist() for level in found.levels()] == [[0]]
    assigned = assign(Windows(attention), found.centroids)
    assert (assigned.labels.tolist(), assigned.mean_rows.tolist()) == ([[0]], [[1.0]])


def test_one_frame_has_one_window_whose_two_kinds_of_patch_are_two_clusters() -> None:
    rows = np.array([[0.9, 0.05, 0.05], [0.05, 0.9, 0.05], [0.9, 0.05, 0.05]])
    found = find_clusters(Windows(rows_of(rows, frames=1, keys=1)), 1.0)
    np.testing.assert_allclose(found.centroids.numpy(), rows[:2], atol=1e-6)
    assert [level.tolist() for level in found.levels()] == [[0, 1, 0]]


def test_one_patch_a_frame_is_told_apart_by_the_key_frames_that_it_looks_at() -> None:
    rows = np.array([[0.9, 0.1], [0.1, 0.9], [0.9, 0.1], [0.1, 0.9], [0.9, 0.1]])
    found = find_clusters(Windows(rows_of(rows, frames=5, keys=2)), 1.0)
    np.testing.assert_allclose(found.centroids.numpy(), rows[:2], atol=1e-6)
    assert [level.tolist() for level in found.levels()] == [[0, 1, 0, 2, 3], [0, 1, 0, 1, 0]]


def test_an_endless_tau_gives_one_cluster_and_a_tiny_one_a_cluster_per_row() -> None:
    attention = random_rows(np.random.default_rng(0), frames=4, patches=5)
    assert len(find_clusters(Windows(attention), ENDLESS).centroids) == 1
    assert len(find_clusters(Windows(attention), 1e-6).centroids) == 20


# ---- levels -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_each_level_merges_the_one_before_and_the_first_never_spans_two_windows(dtype) -> None:
    rounds = 0
    for seed in range(150):
        attention, tau = random_case(seed)
        found = find_clusters(Windows(attention, dtype), tau)
        levels, patches = found.levels(), attention.frames * attention.patches
        for level in levels:
            assert (level.dtype, level.shape) == (np.int64, (patches,))
            assert set(level) == set(range(level.max() + 1))
        assert refines(levels[0], np.arange(patches) // (3 * attention.patches))
        for finer, coarser in pairwise(levels):
            assert refines(finer, coarser)
            assert coarser.max() < finer.max()
        assert levels[-1].max() + 1 == len(found.centroids)
        rounds += len(levels) > 1
    assert rounds > 50


def test_levels_by_hand() -> None:
    first, second = np.array([0, 1, 0, 2, 3]), np.array([0, 1, 1, 0])
    clusters = Clusters(torch.eye(1), (first, second, np.array([0, 0])))
    assert [level.tolist() for level in clusters.levels()] == [
        [0, 1, 0, 2, 3], [0, 1, 0, 1, 0], [0, 0, 0, 0, 0],
    ]  # fmt: skip


def test_merging_on_with_a_larger_tau_adds_levels_and_keeps_those_before() -> None:
    grew = 0
    for seed in range(60):
        attention, tau = random_case(seed)
        before = find_clusters(Windows(attention), tau)
        after = merge_globally(before, 4 * tau)
        for old, new in zip(before.levels(), after.levels(), strict=False):
            assert (old == new).all()
        assert (len(after.centroids) < len(before.centroids)) == (
            len(after.members) > len(before.members)
        )
        distances = plain_kl(after.centroids[:, None], after.centroids)
        assert (distances[~np.eye(len(distances), dtype=bool)] > 4 * tau - 1e-4).all()
        grew += len(after.members) > len(before.members)
    assert grew > 10
