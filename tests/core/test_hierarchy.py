"""From attention rows to the hierarchy."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from bavos_core import Settings, hierarchy
from bavos_core.clustering import assign, find_clusters
from bavos_core.distances import Windows
from bavos_core.hierarchy import LEAF_TAU, build_hierarchy
from bavos_core.tree import ClusterTree

from .helpers import SEEDS, node_row, plain_kl, random_case, random_rows, refines, rows_of


def exact_growth(seed: int) -> tuple[hierarchy.Hierarchy, torch.Tensor, torch.Tensor, float]:
    """A random case grown in exact mode, with the paper's centroids and labels, and τ."""
    attention, tau = random_case(seed)
    growth = build_hierarchy(attention, Settings(exact=True, tau=tau), dtype=torch.float32)
    centroids = find_clusters(Windows(attention), tau).centroids
    return growth, centroids, assign(Windows(attention), centroids).labels, tau


@pytest.mark.parametrize("seed", range(40))
def test_exact_leaves_are_the_papers_clusters_at_the_settings_tau(seed: int) -> None:
    growth, centroids, labels, _ = exact_growth(seed)
    assert growth.tree.leaves == len(centroids)
    assert torch.equal(growth.assignment.labels, labels)
    assert (growth.tree.sizes == np.bincount(labels.flatten(), minlength=len(centroids))).all()


def test_an_exact_tree_that_is_cut_at_the_settings_tau_gives_the_papers_clusters() -> None:
    merged = []
    for seed in range(100):
        growth, centroids, *_, tau = exact_growth(seed)
        if growth.tree.clusters_at(tau) != len(centroids):
            merged.append(seed)
    assert merged == []


def test_leaves_are_the_papers_clusters_at_the_fine_tau_otherwise() -> None:
    attention = random_rows(np.random.default_rng(0), frames=5, patches=9, scale=0.5)
    growth = build_hierarchy(attention, Settings(tau=3.0), dtype=torch.float32)
    tree, labels = growth.tree, growth.assignment.labels
    assert tree.leaves == len(find_clusters(Windows(attention), LEAF_TAU).centroids)
    for frame in range(5):
        assert (tree.counts[:, frame] == np.bincount(labels[frame], minlength=tree.leaves)).all()
    assert tree.sizes.sum() == 45


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("exact", [False, True])
def test_levels_are_those_of_the_clustering_and_end_in_the_leaves(seed: int, exact: bool) -> None:
    attention, tau = random_case(seed)
    growth = build_hierarchy(attention, Settings(exact=exact, tau=tau), dtype=torch.float32)
    expected = find_clusters(Windows(attention), tau if exact else LEAF_TAU).levels()
    assert growth.levels.dtype == np.int32
    assert growth.levels.shape == (len(expected), attention.frames, attention.patches)
    assert (growth.levels.reshape(len(expected), -1) == np.stack(expected)).all()
    assert growth.levels[-1].max() + 1 == growth.tree.leaves


def test_rows_of_the_tree_are_the_mean_rows_of_the_patches_of_each_leaf() -> None:
    attention = random_rows(np.random.default_rng(1), frames=5, keys=2, patches=9, scale=0.5)
    growth = build_hierarchy(attention, Settings(), dtype=torch.float32)
    rows, labels = attention.rows(0, 5).numpy(), growth.assignment.labels.flatten().numpy()
    for leaf in range(growth.tree.leaves):
        if (labels == leaf).any():
            expected = rows[labels == leaf].mean(0)
            np.testing.assert_allclose(node_row(growth.tree, leaf), expected, rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize("most", [10, 20])
def test_too_many_leaves_are_merged_further_but_not_in_exact_mode(most: int, monkeypatch) -> None:
    attention = random_rows(np.random.default_rng(0), frames=5, patches=12)
    fine = find_clusters(Windows(attention), LEAF_TAU)
    assert len(fine.centroids) > 20
    monkeypatch.setattr(hierarchy, "MAX_LEAVES", most)
    growth = build_hierarchy(attention, Settings(), dtype=torch.float32)
    leaves = growth.tree.leaves
    assert 1 < leaves <= most
    assert int(growth.assignment.index.max()) < leaves
    levels = growth.levels.reshape(len(growth.levels), -1)
    assert (levels[: len(fine.members)] == np.stack(fine.levels())).all()
    assert levels[-1].max() + 1 == leaves
    assert all(refines(finer, coarser) for finer, coarser in pairwise(levels))
    exact = build_hierarchy(attention, Settings(exact=True, tau=LEAF_TAU), dtype=torch.float32)
    assert exact.tree.leaves == len(fine.centroids)


def test_windows_that_are_all_noise_are_merged_before_they_fill_the_memory() -> None:
    attention = random_rows(np.random.default_rng(0), frames=15, patches=12)
    assert find_clusters(Windows(attention), LEAF_TAU).members[0].max() >= 170  # nearly all rows
    found = find_clusters(Windows(attention), LEAF_TAU, most=3)
    assert found.members[0].max() < 8 * 3 + 3 * 12  # of so many at most the first level is made
    assert 1 < len(found.centroids) <= 3
    levels = found.levels()
    assert [len(level) for level in levels] == [15 * 12] * len(levels)
    assert levels[-1].max() + 1 == len(found.centroids)
    assert all(refines(finer, coarser) for finer, coarser in pairwise(levels))


def test_one_frame_of_one_patch_grows_a_tree_of_one_leaf() -> None:
    growth = build_hierarchy(rows_of([[1.0]], frames=1, keys=1), Settings(), dtype=torch.float32)
    assert (growth.tree.leaves, growth.tree.counts.tolist()) == (1, [[1]])
    assert growth.tree.rows.tolist() == [[1.0]]
    assert growth.levels.tolist() == [[[0]]]
    assert growth.assignment.labels.tolist() == [[0]]


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_one_patch_a_frame_and_one_key_frame_grow_a_tree_of_one_leaf(frames: int) -> None:
    attention = random_rows(np.random.default_rng(0), frames=frames, patches=1)
    tree = build_hierarchy(attention, Settings(), dtype=torch.float32).tree
    assert (tree.leaves, tree.counts.tolist()) == (1, [[1] * frames])


def test_one_frame_of_two_kinds_of_patch_grows_a_tree_of_two_leaves() -> None:
    rows = np.array([[0.9, 0.05, 0.05], [0.05, 0.9, 0.05], [0.9, 0.05, 0.05]])
    tree = build_hierarchy(rows_of(rows, frames=1, keys=1), Settings(), dtype=torch.float32).tree
    assert tree.counts.tolist() == [[2], [1]]
    np.testing.assert_allclose(tree.merges, [[0, 1, plain_kl(rows[0], rows[1]), 3]], rtol=1e-5)
    np.testing.assert_allclose(node_row(tree, 2), (2 * rows[0] + rows[1]) / 3, rtol=2e-3)


def test_progress_of_growing_rises_from_clustering_to_assignment_up_to_one() -> None:
    shares: list[float] = []
    attention = random_rows(np.random.default_rng(0), frames=7)
    build_hierarchy(
        attention, Settings(), dtype=torch.float32, progress=lambda _, share: shares.append(share)
    )
    assert shares == sorted(shares)
    assert len(shares) == 6
    assert shares[-1] == pytest.approx(1.0)


def test_flags_of_instances_that_do_not_fit_the_merges_are_refused() -> None:
    merges = np.array([[0, 1, 0.5, 2], [2, 3, 1.0, 3]])
    counts, rows = np.ones((3, 1), np.int32), np.eye(3, dtype=np.float16)
    assert not ClusterTree(merges, counts, rows).instances.any()
    with pytest.raises(ValueError, match="3 flags do not fit 2 merges"):
        ClusterTree(merges, counts, rows, np.ones(3, bool))
