"""The tree is average linkage; its cuts are nested and keep their numbers."""

import numpy as np
import pytest
import torch
from scipy.cluster.hierarchy import cut_tree, linkage
from scipy.spatial.distance import squareform

from bavos_core import Settings
from bavos_core.clustering import assign, find_clusters
from bavos_core.hierarchy import LEAF_TAU, MAX_LEAVES, ClusterTree, build_tree, grow

from .helpers import plain_kl, random_rows, same_partition

SEEDS = range(12)


def random_leaves(seed: int, *, largest: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """Centroids (L, 10) float32 and sizes (L,) from 1 to `largest`."""
    rng = np.random.default_rng(seed)
    leaves = int(rng.integers(2, 25))
    centroids = rng.dirichlet(np.full(10, 0.7), leaves) + 1e-3
    centroids /= centroids.sum(1, keepdims=True)
    return centroids.astype(np.float32), rng.integers(1, largest + 1, leaves)


def tree_of(centroids: np.ndarray, sizes: np.ndarray) -> ClusterTree:
    return build_tree(torch.from_numpy(centroids), sizes)


def scipys_linkage(rows: np.ndarray) -> np.ndarray:
    distances = plain_kl(rows[:, None], rows)
    np.fill_diagonal(distances, 0)
    return linkage(squareform(distances, checks=False), "average")


# ---- average linkage ----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_leaves_of_one_patch_are_linked_as_by_scipy(seed: int) -> None:
    centroids, sizes = random_leaves(seed, largest=1)
    expected = scipys_linkage(centroids)
    found = tree_of(centroids, sizes).merges
    assert (found[:, [0, 1, 3]] == expected[:, [0, 1, 3]]).all()
    np.testing.assert_allclose(found[:, 2], expected[:, 2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("seed", SEEDS)
def test_larger_leaves_are_linked_as_scipy_links_repeated_points(seed: int) -> None:
    centroids, sizes = random_leaves(seed)
    tree = tree_of(centroids, sizes)
    expected = scipys_linkage(np.repeat(centroids, sizes, axis=0))
    above_zero = expected[:, 2] > 1e-9
    assert above_zero.sum() == len(sizes) - 1
    np.testing.assert_allclose(tree.heights, expected[above_zero, 2], rtol=1e-4, atol=1e-5)
    assert (tree.merges[:, 3] == expected[above_zero, 3]).all()
    for clusters in range(1, len(sizes) + 1):
        points = np.repeat(tree.cut_into(clusters), sizes)
        assert same_partition(points, cut_tree(expected, n_clusters=clusters))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_order_of_the_leaves_does_not_matter(seed: int) -> None:
    centroids, sizes = random_leaves(seed)
    order = np.random.default_rng(seed + 100).permutation(len(sizes))
    tree, shuffled = tree_of(centroids, sizes), tree_of(centroids[order], sizes[order])
    np.testing.assert_allclose(tree.heights, shuffled.heights, rtol=1e-4)
    for clusters in range(1, len(sizes) + 1):
        assert same_partition(tree.cut_into(clusters)[order], shuffled.cut_into(clusters))


def equal_distances(leaves: int) -> np.ndarray:
    """Centroids that all lie equally far from one another."""
    return np.full((leaves, leaves), 0.02) + (1 - 0.02 * leaves) * np.eye(leaves)


@pytest.mark.parametrize("seed", SEEDS)
def test_heights_rise_and_are_never_below_zero(seed: int) -> None:
    centroids, sizes = random_leaves(seed)
    tied = equal_distances(len(sizes)).astype(np.float32)
    doubled = np.concatenate([centroids, centroids])
    for rows, weight in ((centroids, sizes), (tied, sizes), (doubled, np.tile(sizes, 2))):
        heights = tree_of(rows, weight).heights
        assert (heights >= 0).all()
        assert (np.diff(heights) >= 0).all()


@pytest.mark.parametrize("empty", [1, 2, 5])
def test_leaves_without_patches_still_give_a_sound_tree(empty: int) -> None:
    centroids, sizes = (part[:6] for part in random_leaves(3))
    sizes[:empty] = 0
    merges = tree_of(centroids, sizes).merges
    assert np.isfinite(merges).all()
    assert (np.diff(merges[:, 2]) >= 0).all()
    assert sorted(merges[:, :2].ravel()) == list(range(10))  # every node but the root, once


# ---- cuts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_a_cut_into_k_is_numbered_from_zero_to_k_without_gaps(seed: int) -> None:
    tree = tree_of(*random_leaves(seed))
    for clusters in range(1, tree.leaves + 1):
        assert set(tree.cut_into(clusters)) == set(range(clusters))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_finer_cut_splits_one_cluster_whose_larger_part_keeps_its_number(seed: int) -> None:
    tree = tree_of(*random_leaves(seed))
    for clusters in range(1, tree.leaves):
        coarse, fine = tree.cut_into(clusters), tree.cut_into(clusters + 1)
        changed = coarse != fine
        assert (fine[changed] == clusters).all()  # the next free number
        split = coarse[changed]
        assert len(set(split)) == 1
        stays = (coarse == split[0]) & ~changed
        assert tree.sizes[stays].sum() >= tree.sizes[changed].sum()


@pytest.mark.parametrize("seed", SEEDS)
def test_cuts_at_rising_heights_are_nested_and_have_the_number_they_announce(seed: int) -> None:
    tree = tree_of(*random_leaves(seed))
    finer = np.arange(tree.leaves)
    for tau in np.linspace(1e-6, tree.heights[-1] * 1.1, 30):
        cut = tree.cut(tau)
        assert len(set(cut)) == tree.clusters_at(tau) == 1 + (tree.heights > tau).sum()
        assert all(len(set(cut[finer == c])) == 1 for c in set(finer))
        finer = cut
    assert (finer == 0).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_cut_leaves_apart_only_what_lies_above_its_height(seed: int) -> None:
    centroids, sizes = random_leaves(seed)
    tree = tree_of(centroids, sizes)
    distances = plain_kl(centroids[:, None].astype(np.float64), centroids)
    tau = float(np.median(tree.heights)) + 1e-3
    cut = tree.cut(tau)
    for a in range(cut.max() + 1):
        for b in range(a):
            weight = np.outer(sizes[cut == a], sizes[cut == b])
            assert np.average(distances[cut == a][:, cut == b], weights=weight) > tau - 1e-3


@pytest.mark.parametrize("seed", SEEDS)
def test_the_height_of_k_clusters_is_the_largest_tau_that_gives_k(seed: int) -> None:
    tree = tree_of(*random_leaves(seed))
    assert (np.diff(tree.heights) > 0).all()
    for clusters in range(1, tree.leaves + 1):
        height = tree.height_of(clusters)
        assert (tree.cut(height) == tree.cut_into(clusters)).all()
        if clusters > 1:
            assert tree.clusters_at(np.nextafter(height, np.inf)) < clusters


def test_a_number_of_clusters_out_of_range_is_brought_into_it() -> None:
    tree = tree_of(*random_leaves(0))
    assert (tree.cut_into(0) == 0).all()
    assert (tree.cut_into(999) == tree.cut_into(tree.leaves)).all()
    assert tree.height_of(999) == tree.height_of(tree.leaves)


def test_a_small_tree_by_hand() -> None:
    # Node 4 is leaves 1 and 2, node 5 adds leaf 0, node 6 adds leaf 3, the largest of all.
    merges = np.array([[1, 2, 0.5, 3], [0, 4, 1.0, 10], [3, 5, 2.0, 30]])
    tree = ClusterTree(merges, np.array([7, 1, 2, 20]))
    assert tree.cut(2.0).tolist() == [0, 0, 0, 0]
    assert tree.cut(1.5).tolist() == [1, 1, 1, 0]
    assert tree.cut(0.7).tolist() == [1, 2, 2, 0]
    assert tree.cut(0.1).tolist() == [1, 3, 2, 0]
    assert tree.node_clusters(tree.cut(0.7)).tolist() == [1, 2, 2, 0, 2, -1, -1]
    assert tree.node_clusters(tree.cut(1.5)).tolist() == [1, 1, 1, 0, 1, 1, -1]
    assert tree.slots().tolist() == [1, 3, 2, 0, 2, 1, 0]


def test_a_tree_of_one_leaf_can_be_cut_anywhere() -> None:
    tree = tree_of(np.array([[0.5, 0.5]], np.float32), np.array([4]))
    assert tree.leaves == 1
    assert tree.cut(0.1).tolist() == tree.cut(10.0).tolist() == tree.cut_into(1).tolist() == [0]
    assert tree.height_of(1) > 0
    assert tree.slots().tolist() == [0]
    assert tree.node_clusters(tree.cut(1.0)).tolist() == [0]


@pytest.mark.parametrize("seed", SEEDS)
def test_every_node_has_the_cluster_of_its_leaves_if_they_share_one(seed: int) -> None:
    tree = tree_of(*random_leaves(seed))
    below = [{leaf} for leaf in range(tree.leaves)]
    for first, second, *_ in tree.merges:
        below.append(below[int(first)] | below[int(second)])
    for clusters in range(1, tree.leaves + 1):
        cut = tree.cut_into(clusters)
        expected = [{int(cut[leaf]) for leaf in leaves} for leaves in below]
        found = tree.node_clusters(cut)
        assert found.tolist() == [min(e) if len(e) == 1 else -1 for e in expected]


# ---- growing ------------------------------------------------------------------------------------


def test_exact_leaves_are_the_papers_clusters_at_the_settings_tau() -> None:
    attention = random_rows(np.random.default_rng(0), frames=5, patches=9, scale=0.5)
    centroids = find_clusters(attention, 0.7)
    tree, found = grow(attention, Settings(exact=True, tau=0.7), dtype=torch.float32)
    assert tree.leaves == len(centroids) == tree.clusters_at(0.7)
    assert torch.equal(found.labels, assign(attention, centroids).labels)


def test_leaves_are_the_papers_clusters_at_the_fine_tau_otherwise() -> None:
    attention = random_rows(np.random.default_rng(0), frames=5, patches=9, scale=0.5)
    tree, found = grow(attention, Settings(tau=3.0), dtype=torch.float32)
    assert tree.leaves == len(find_clusters(attention, LEAF_TAU))
    assert (tree.sizes == np.bincount(found.labels.flatten(), minlength=tree.leaves)).all()
    assert tree.sizes.sum() == 45


def test_more_leaves_than_a_mask_can_number_are_merged_further_but_not_in_exact_mode() -> None:
    attention = random_rows(np.random.default_rng(0), frames=5, patches=80, scale=1.0)
    assert len(find_clusters(attention, LEAF_TAU)) > MAX_LEAVES
    tree, found = grow(attention, Settings(), dtype=torch.float32)
    assert 1 < tree.leaves <= MAX_LEAVES
    assert int(found.index.max()) < tree.leaves
    exact, _ = grow(attention, Settings(exact=True, tau=LEAF_TAU), dtype=torch.float32)
    assert exact.leaves > MAX_LEAVES


def test_progress_of_growing_rises_from_clustering_to_assignment_up_to_one() -> None:
    shares: list[float] = []
    attention = random_rows(np.random.default_rng(0), frames=7)
    grow(attention, Settings(), dtype=torch.float32, progress=shares.append)
    assert shares == sorted(shares)
    assert len(shares) == 6
    assert shares[-1] == pytest.approx(1.0)
