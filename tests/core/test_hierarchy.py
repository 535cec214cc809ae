"""The tree is average linkage; its cuts are nested and keep their numbers."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import cut_tree, linkage
from scipy.spatial.distance import pdist, squareform

from bavos_core import Settings, hierarchy
from bavos_core.clustering import assign, find_clusters
from bavos_core.distances import Windows
from bavos_core.hierarchy import (
    LEAF_TAU,
    average_linkage,
    build_hierarchy,
    build_tree,
    with_instances,
)
from bavos_core.tree import ClusterTree

from .helpers import (
    assignment_of,
    node_row,
    plain_kl,
    random_case,
    random_rows,
    refines,
    rows_of,
    same_partition,
    tree_of,
)

SEEDS = range(12)

seeds = st.integers(0, 2**32 - 1)


def random_leaves(seed: int, *, largest: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """Mean rows (L, 10) float32 and sizes (L,) from 1 to `largest`."""
    rng = np.random.default_rng(seed)
    leaves = int(rng.integers(2, 25))
    rows = rng.dirichlet(np.full(10, 0.7), leaves) + 1e-3
    rows /= rows.sum(1, keepdims=True)
    return rows.astype(np.float32), rng.integers(1, largest + 1, leaves)


def random_tree(seed: int) -> tuple[ClusterTree, np.ndarray, np.ndarray]:
    """A tree with a leaf that has no patch, the leaf of every patch (T, N), and the mean rows."""
    rng = np.random.default_rng(seed)
    rows, _ = random_leaves(seed)
    labels = rng.integers(0, len(rows), (int(rng.integers(1, 6)), 2 * len(rows)))
    labels[labels == rng.integers(1, len(rows))] = 0
    return build_tree(assignment_of(labels, rows)), labels, rows


def leaves_below(merges: np.ndarray) -> list[set[int]]:
    """The leaves below every node."""
    below = [{leaf} for leaf in range(len(merges) + 1)]
    for first, second, *_ in merges:
        below.append(below[int(first)] | below[int(second)])
    return below


def joined_at(merges: np.ndarray) -> np.ndarray:
    """Height at which every two leaves come together (L, L)."""
    below = leaves_below(merges)
    heights = np.zeros((len(merges) + 1, len(merges) + 1))
    for first, second, height, _ in merges:
        sides = np.ix_(list(below[int(first)]), list(below[int(second)]))
        heights[sides] = heights.T[sides] = height
    return heights


def scipys_linkage(rows: np.ndarray) -> np.ndarray:
    distances = plain_kl(rows[:, None], rows)
    np.fill_diagonal(distances, 0)
    return linkage(squareform(distances, checks=False), "average")


# ---- linkage of distances -----------------------------------------------------------------------


def check_average_linkage(merges: np.ndarray, distances: np.ndarray, sizes: np.ndarray) -> None:
    """Every merge joins two clusters than which none are nearer, in the mean over their patches."""
    weight = np.diag(np.where(sizes > 0, sizes, 1e-9))
    nodes = dict(enumerate(weight))  # weight of every leaf in each cluster that is left
    for i, (first, second, height, patches) in enumerate(merges):
        names = list(nodes)
        share = np.stack([nodes[name] / nodes[name].sum() for name in names])
        means = share @ distances @ share.T
        a, b = names.index(first), names.index(second)
        np.fill_diagonal(means, np.inf)
        assert first < second
        assert means[a, b] == pytest.approx(means.min(), rel=1e-9, abs=1e-12)
        assert height == pytest.approx(means[a, b], rel=1e-9, abs=1e-12)
        nodes[len(sizes) + i] = nodes.pop(first) + nodes.pop(second)
        assert patches == round(nodes[len(sizes) + i].sum())
    assert len(nodes) == 1


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("most", [20, 200])
def test_points_are_linked_as_by_scipy(seed: int, most: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(most // 2, most + 1))
    distances = pdist(rng.normal(size=(count, 3)) * rng.choice([0.1, 1, 5], count)[:, None])
    expected = linkage(distances, "average")
    found = average_linkage(squareform(distances), np.ones(count, int))
    assert (found[:, [0, 1, 3]] == expected[:, [0, 1, 3]]).all()
    np.testing.assert_allclose(found[:, 2], expected[:, 2], rtol=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_points_that_lie_on_one_another_are_linked_first_and_then_as_by_scipy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(60, 3))[rng.integers(0, 60, 200)]
    expected = linkage(pdist(points), "average")
    found = average_linkage(squareform(pdist(points)), np.ones(200, int))
    np.testing.assert_allclose(joined_at(found), joined_at(expected), rtol=1e-9, atol=1e-12)
    apart = expected[:, 2] > 1e-9
    assert 0 < apart.sum() < 60
    np.testing.assert_allclose(found[apart, 2:], expected[apart, 2:], rtol=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_a_point_of_some_size_counts_as_that_many_points(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points, sizes = rng.normal(size=(40, 3)), rng.integers(1, 6, 40)
    found = average_linkage(squareform(pdist(points)), sizes)
    expected = linkage(pdist(np.repeat(points, sizes, axis=0)), "average")
    apart = expected[:, 2] > 1e-9
    assert apart.sum() == 39
    np.testing.assert_allclose(found[:, 2:], expected[apart, 2:], rtol=1e-9)
    first = np.cumsum(sizes) - sizes  # of each point's copies
    heights = joined_at(expected)[np.ix_(first, first)]
    np.testing.assert_allclose(joined_at(found), heights, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_points_of_size_zero_change_nothing_among_the_others(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points, sizes = rng.normal(size=(50, 3)), rng.integers(0, 3, 50)
    distances, some = squareform(pdist(points)), sizes > 0
    assert 0 < some.sum() < 50
    found = average_linkage(distances, sizes)
    without = average_linkage(distances[np.ix_(some, some)], sizes[some])
    heights = joined_at(found)[np.ix_(some, some)]
    np.testing.assert_allclose(heights, joined_at(without), rtol=1e-6, atol=1e-6)
    assert found[-1, 3] == sizes.sum()


@settings(max_examples=150)
@given(seeds, st.integers(1, 25), st.sampled_from([2, 4, 1000]), st.integers(0, 5))
def test_ties_and_any_sizes_give_an_average_linkage(seed, count, steps, largest) -> None:
    rng = np.random.default_rng(seed)
    distances = rng.integers(0, steps, (count, count)) * rng.choice([0.1, 0.5])  # with equal ones
    distances = np.triu(distances, 1) + np.triu(distances, 1).T
    before, sizes = distances.copy(), rng.integers(0, largest + 1, count)
    merges = average_linkage(distances, sizes)
    check_average_linkage(merges, before, sizes)
    assert (distances == before).all()


def test_a_cluster_that_is_gone_is_no_neighbour_even_where_it_was_as_near_as_the_next() -> None:
    halves = """
    0323221331 3022312222 2201213221 3210313213 2323033213
    2111301213 1233310122 3222221032 3221112302 1213332220
    """
    distances = np.array([[int(digit) for digit in row] for row in halves.split()]) / 2
    sizes = np.array([1, 2, 2, 1, 1, 2, 2, 2, 1, 2])
    check_average_linkage(average_linkage(distances, sizes), distances, sizes)


@settings(max_examples=150)
@given(seeds, st.integers(2, 40), st.booleans())
def test_heights_rise_even_where_distances_are_equal(seed: int, count: int, all_of_them) -> None:
    rng = np.random.default_rng(seed)
    steps = np.ones((count, count), int) if all_of_them else rng.integers(1, 4, (count, count))
    distances = (np.triu(steps, 1) + np.triu(steps, 1).T) * rng.random()
    heights = average_linkage(distances, rng.integers(0, 9, count))[:, 2]
    assert (np.diff(heights) >= 0).all()


# ---- linkage of leaves --------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_leaves_of_one_patch_are_linked_as_by_scipy(seed: int) -> None:
    rows, sizes = random_leaves(seed, largest=1)
    expected = scipys_linkage(rows)
    found = tree_of(rows, sizes).merges
    assert (found[:, [0, 1, 3]] == expected[:, [0, 1, 3]]).all()
    np.testing.assert_allclose(found[:, 2], expected[:, 2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("seed", SEEDS)
def test_larger_leaves_are_linked_as_scipy_links_repeated_points(seed: int) -> None:
    rows, sizes = random_leaves(seed)
    tree = tree_of(rows, sizes)
    expected = scipys_linkage(np.repeat(rows, sizes, axis=0))
    above_zero = expected[:, 2] > 1e-9
    assert above_zero.sum() == len(sizes) - 1
    np.testing.assert_allclose(tree.heights, expected[above_zero, 2], rtol=1e-4, atol=1e-5)
    assert (tree.merges[:, 3] == expected[above_zero, 3]).all()
    for clusters in range(1, len(sizes) + 1):
        points = np.repeat(tree.cut_into(clusters), sizes)
        assert same_partition(points, cut_tree(expected, n_clusters=clusters))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_order_of_the_leaves_does_not_matter(seed: int) -> None:
    rows, sizes = random_leaves(seed)
    order = np.random.default_rng(seed + 100).permutation(len(sizes))
    tree, shuffled = tree_of(rows, sizes), tree_of(rows[order], sizes[order])
    np.testing.assert_allclose(tree.heights, shuffled.heights, rtol=1e-4)
    assert (tree.sizes[order] == shuffled.sizes).all()
    assert (tree.rows[order] == shuffled.rows).all()
    for clusters in range(1, len(sizes) + 1):
        assert same_partition(tree.cut_into(clusters)[order], shuffled.cut_into(clusters))


def equal_distances(leaves: int) -> np.ndarray:
    """Mean rows that all lie equally far from one another."""
    return np.full((leaves, leaves), 0.02) + (1 - 0.02 * leaves) * np.eye(leaves)


@pytest.mark.parametrize("seed", SEEDS)
def test_heights_rise_and_are_never_below_zero(seed: int) -> None:
    rows, sizes = random_leaves(seed)
    tied = equal_distances(len(sizes)).astype(np.float32)
    doubled = np.concatenate([rows, rows])
    for leaves, weight in ((rows, sizes), (tied, sizes), (doubled, np.tile(sizes, 2))):
        heights = tree_of(leaves, weight).heights
        assert (heights >= 0).all()
        assert (np.diff(heights) >= 0).all()


def test_heights_rise_even_where_many_leaves_lie_equally_far() -> None:
    for seed in range(60):
        rng = np.random.default_rng(seed)
        count = int(rng.integers(3, 40))
        row = rng.dirichlet(np.ones(count))
        turned = np.stack([np.roll(row, shift) for shift in range(count)])
        heights = tree_of(turned, rng.integers(0, 9, count)).heights
        assert (np.diff(heights) >= 0).all()


@pytest.mark.parametrize("empty", [1, 2, 5])
def test_leaves_without_patches_still_give_a_sound_tree(empty: int) -> None:
    rows, sizes = (part[:6] for part in random_leaves(3))
    sizes[:empty] = 0
    merges = tree_of(rows, sizes).merges
    assert np.isfinite(merges).all()
    assert (np.diff(merges[:, 2]) >= 0).all()
    assert sorted(merges[:, :2].ravel()) == list(range(10))  # every node but the root, once


# ---- what nodes hold ----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_counts_are_the_patches_of_every_leaf_in_every_frame(seed: int) -> None:
    tree, labels, rows = random_tree(seed)
    expected = [[(frame == leaf).sum() for frame in labels] for leaf in range(len(rows))]
    assert tree.counts.dtype == np.int32
    assert tree.counts.tolist() == expected
    assert tree.sizes.tolist() == [(labels == leaf).sum() for leaf in range(len(rows))]
    assert (tree.sizes == 0).any()
    assert ((tree.weights > 0) & (abs(tree.weights - tree.sizes) <= 1e-9)).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_rows_of_leaves_are_their_mean_rows_in_units_of_an_even_row(seed: int) -> None:
    tree, _, rows = random_tree(seed)
    assert tree.rows.dtype == np.float16
    np.testing.assert_allclose(tree.rows, rows * rows.shape[1], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_leaves_of_a_node_are_those_below_it(seed: int) -> None:
    tree, *_ = random_tree(seed)
    for node, below in enumerate(leaves_below(tree.merges)):
        assert tree.leaves_of(node).tolist() == sorted(below)


@pytest.mark.parametrize("seed", SEEDS)
def test_counts_of_nodes_are_those_of_the_patches_below_them(seed: int) -> None:
    tree, labels, _ = random_tree(seed)
    found = tree.node_counts()
    assert (found.dtype, len(found)) == (np.int64, 2 * tree.leaves - 1)
    for node, below in enumerate(leaves_below(tree.merges)):
        assert found[node].tolist() == [np.isin(frame, list(below)).sum() for frame in labels]
    assert (found[tree.leaves :].sum(1) == tree.merges[:, 3]).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_the_row_of_a_node_is_the_mean_over_all_its_patches(seed: int) -> None:
    tree, labels, rows = random_tree(seed)
    for node, below in enumerate(leaves_below(tree.merges)):
        patches = labels[np.isin(labels, list(below))]
        leaves = patches if len(patches) else list(below)  # without patches, leaves count alike
        found = node_row(tree, node)
        assert (found.dtype, found.shape) == (np.float32, (10,))
        assert found.sum() == pytest.approx(1, abs=1e-6)
        np.testing.assert_allclose(found, rows[leaves].mean(0), rtol=2e-3, atol=1e-6)
        stored = tree.rows[leaves].astype(np.float64)
        stored /= stored.sum(1, keepdims=True)
        np.testing.assert_allclose(found, stored.mean(0), rtol=1e-5)


@pytest.mark.parametrize("seed", SEEDS)
def test_any_quantity_of_leaves_can_be_summed_over_nodes(seed: int) -> None:
    tree, *_ = random_tree(seed)
    values = np.random.default_rng(seed).normal(size=(tree.leaves, 2, 3))
    found = tree.sum_over_nodes(values)
    for node, below in enumerate(leaves_below(tree.merges)):
        np.testing.assert_allclose(found[node], values[sorted(below)].sum(0), atol=1e-12)


@pytest.mark.parametrize("node", [-1, 7, 100])
def test_a_node_that_does_not_exist_raises_an_index_error_that_names_it(node: int) -> None:
    tree = tree_of(*(part[:4] for part in random_leaves(3)))
    with pytest.raises(IndexError, match=rf"no node {node}; the tree has 7"):
        tree.leaves_of(node)


@pytest.mark.parametrize(
    "width",
    [
        40_000,
        70_000,
    ],
)
def test_rows_of_any_width_are_kept_even_if_all_attention_lies_on_one_patch(width: int) -> None:
    rows = np.full((2, width), 1 / width)
    rows[0] = np.eye(1, width)[0]
    tree = tree_of(rows, [1, 3])
    assert np.isfinite(tree.rows).all()
    for node, expected in enumerate((rows[0], rows[1], (rows[0] + 3 * rows[1]) / 4)):
        np.testing.assert_allclose(node_row(tree, node), expected, rtol=2e-3, atol=1e-9)


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
        assert refines(finer, cut)
        finer = cut
    assert (finer == 0).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_cut_leaves_apart_only_what_lies_above_its_height(seed: int) -> None:
    rows, sizes = random_leaves(seed)
    tree = tree_of(rows, sizes)
    distances = plain_kl(rows[:, None], rows)
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


@pytest.mark.parametrize("seed", SEEDS)
def test_tops_are_the_clusters_of_the_cut_and_hold_their_leaves(seed: int) -> None:
    tree = random_tree(seed)[0]
    for tau in (0.1 * tree.heights[0], *tree.heights, *tree.heights * 1.01):
        tops = tree.tops(tau)
        assert same_partition(tops, tree.cut(tau))
        for top in np.unique(tops).tolist():
            assert np.flatnonzero(tops == top).tolist() == tree.leaves_of(top).tolist()


def test_a_number_of_clusters_out_of_range_is_brought_into_it() -> None:
    tree = tree_of(*random_leaves(0))
    assert (tree.cut_into(0) == 0).all()
    assert (tree.cut_into(999) == tree.cut_into(tree.leaves)).all()
    assert tree.height_of(999) == tree.height_of(tree.leaves)


def test_a_small_tree_by_hand() -> None:
    # Node 4 is leaves 1 and 2, node 5 adds leaf 0, node 6 adds leaf 3, the largest of all.
    merges = np.array([[1, 2, 0.5, 3], [0, 4, 1.0, 10], [3, 5, 2.0, 30]])
    counts = np.array([[7, 0], [1, 0], [0, 2], [15, 5]], np.int32)
    rows = np.array([[4, 0, 0, 0], [0, 4, 0, 0], [0, 0, 4, 0], [1, 1, 1, 1]], np.float16)
    tree = ClusterTree(merges, counts, rows)
    assert tree.cut(2.0).tolist() == [0, 0, 0, 0]
    assert tree.cut(1.5).tolist() == [1, 1, 1, 0]
    assert tree.cut(0.7).tolist() == [1, 2, 2, 0]
    assert tree.cut(0.1).tolist() == [1, 3, 2, 0]
    assert tree.node_clusters(tree.cut(0.7)).tolist() == [1, 2, 2, 0, 2, -1, -1]
    assert tree.node_clusters(tree.cut(1.5)).tolist() == [1, 1, 1, 0, 1, 1, -1]
    assert tree.slots().tolist() == [1, 3, 2, 0, 2, 1, 0]
    assert tree.sizes.tolist() == [7, 1, 2, 20]
    assert tree.node_counts()[4:].tolist() == [[1, 2], [8, 2], [23, 7]]
    assert tree.leaves_of(5).tolist() == [0, 1, 2]
    np.testing.assert_allclose(node_row(tree, 4), [0, 1 / 3, 2 / 3, 0], atol=1e-6)
    np.testing.assert_allclose(node_row(tree, 5), [0.7, 0.1, 0.2, 0], atol=1e-6)
    np.testing.assert_allclose(node_row(tree, 6), [0.4, 0.2, 0.7 / 3, 0.5 / 3], atol=1e-6)


def test_a_tree_of_one_leaf_can_be_cut_anywhere() -> None:
    tree = tree_of([[0.5, 0.5]], [4])
    assert tree.leaves == 1
    assert tree.tops(0.1).tolist() == tree.tops(10.0).tolist() == [0]
    assert tree.cut(0.1).tolist() == tree.cut(10.0).tolist() == tree.cut_into(1).tolist() == [0]
    assert tree.height_of(1) > 0
    assert tree.slots().tolist() == [0]
    assert tree.node_clusters(tree.cut(1.0)).tolist() == [0]
    assert tree.node_counts().tolist() == [[4]]
    assert node_row(tree, 0).tolist() == [0.5, 0.5]
    assert tree.leaves_of(0).tolist() == [0]
    assert tree.parents().tolist() == [-1]
    assert tree.first_parts(np.array([0])).tolist() == [0]
    assert tree.first_parts(np.array([], int)).tolist() == [-1]
    assert tree.instances.shape == (0,)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_node_has_the_cluster_of_its_leaves_if_they_share_one(seed: int) -> None:
    tree = tree_of(*random_leaves(seed))
    below = leaves_below(tree.merges)
    for clusters in range(1, tree.leaves + 1):
        cut = tree.cut_into(clusters)
        expected = [{int(cut[leaf]) for leaf in leaves} for leaves in below]
        found = tree.node_clusters(cut)
        assert found.tolist() == [min(e) if len(e) == 1 else -1 for e in expected]


# ---- parents and parts --------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_the_parent_of_a_node_is_the_merge_that_names_it_and_the_root_has_none(seed: int) -> None:
    tree, *_ = random_tree(seed)
    parents = tree.parents()
    assert parents[-1] == -1
    for i, (first, second, *_) in enumerate(tree.merges):
        assert parents[int(first)] == parents[int(second)] == tree.leaves + i


@settings(max_examples=100)
@given(seeds)
def test_the_first_parts_of_leaves_are_the_children_of_their_node_or_their_nodes(seed) -> None:
    rng = np.random.default_rng(seed)
    tree = random_tree(seed)[0]
    below = leaves_below(tree.merges)
    if rng.random() < 0.5:
        chosen = below[int(rng.integers(len(below)))]
    else:
        chosen = set(np.flatnonzero(rng.random(tree.leaves) < rng.choice([0.1, 0.5, 0.9])).tolist())
    found = tree.first_parts(np.array(sorted(chosen), int))
    assert set(np.flatnonzero(found >= 0)) == chosen
    whole = [node for node in below if node <= chosen]
    largest = [node for node in whole if not any(node < other for other in whole)]
    if len(largest) == 1 and len(largest[0]) > 1:
        first, second, *_ = tree.merges[below.index(largest[0]) - tree.leaves]
        largest = [below[int(first)], below[int(second)]]
    parts = [set(np.flatnonzero(found == part).tolist()) for part in range(found.max() + 1)]
    assert sorted(map(sorted, parts)) == sorted(map(sorted, largest))


# ---- instances ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Divided:
    """A random tree, the nearest leaves (T, h, w, k) of random patches, and what came of them."""

    tree: ClusterTree
    nearest: np.ndarray
    tau: float
    leaf_cluster: np.ndarray  # (L,): the cut at τ
    instance: dict[int, np.ndarray]  # of some of its clusters (T, h, w)
    grown: ClusterTree
    grown_nearest: np.ndarray

    @classmethod
    def random(cls, seed: int) -> "Divided":
        rng = np.random.default_rng(seed)
        rows, _ = random_leaves(seed)
        leaves = len(rows)
        frames = int(rng.integers(1, 4))
        nearest = rng.random((frames, 4, 5, leaves)).argsort(-1)[..., : min(4, leaves)]
        nearest[nearest[..., 0] == leaves - 1, 0] = 0  # the last leaf has no patches
        tree = build_tree(assignment_of(nearest[..., 0].reshape(frames, -1), rows))
        clusters = int(rng.integers(1, leaves + 1))
        tau = tree.height_of(clusters) if rng.random() < 0.5 else float(np.median(tree.heights))
        cut = tree.cut(tau)
        instance = {}
        for cluster in np.unique(cut).tolist():
            held = (cut[nearest[..., 0]] == cluster).sum()
            if held > 1 and rng.random() < 0.6:
                count = int(rng.integers(2, min(held, 4) + 1))
                found = rng.integers(0, count, nearest.shape[:3])
                own = np.argwhere(cut[nearest[..., 0]] == cluster)
                found[tuple(own[:count].T)] = np.arange(count)  # each has a patch
                instance[cluster] = found
        grown = with_instances(tree, nearest, cut, instance, tau=tau)
        return cls(tree, nearest, tau, cut, instance, *grown)

    @property
    def before(self) -> np.ndarray:
        """The old leaf of every patch."""
        return self.nearest[..., 0]

    @property
    def after(self) -> np.ndarray:
        """The new leaf of every patch."""
        return self.grown_nearest[..., 0]

    @property
    def parts(self) -> np.ndarray:
        """The instance of every patch within its cluster, 0 where that is not divided."""
        parts = np.zeros(self.before.shape, int)
        for cluster, found in self.instance.items():
            own = self.leaf_cluster[self.before] == cluster
            parts[own] = found[own]
        return parts

    @property
    def added(self) -> int:
        """Instances beyond the first of every cluster."""
        return sum(int(found.max()) for found in self.instance.values())


@settings(max_examples=150)
@given(seeds)
def test_the_cut_has_each_cluster_divided_into_its_instances(seed: int) -> None:
    case = Divided.random(seed)
    expected = case.leaf_cluster[case.before] * 10 + case.parts
    assert same_partition(case.grown.cut(case.tau)[case.after], expected)
    assert case.grown.clusters_at(case.tau) == case.tree.clusters_at(case.tau) + case.added


@settings(max_examples=150)
@given(seeds)
def test_instances_are_apart_until_just_before_their_cluster_is_merged_with_another(seed) -> None:
    case = Divided.random(seed)
    above = case.tree.heights[case.tree.heights > case.tau]
    for height in (*above, *(np.add(low, high) / 2 for low, high in pairwise([case.tau, *above]))):
        old = case.tree.cut(height)
        merged = [
            len(set(case.leaf_cluster[old == cluster])) > 1 for cluster in range(old.max() + 1)
        ]
        whole = old[case.before]
        expected = whole * 10 + np.where(np.array(merged)[whole], 0, case.parts)
        assert same_partition(case.grown.cut(height)[case.after], expected)
    kept = case.grown.heights[~case.grown.instances]
    assert (kept[kept > case.tau] == above).all()
    assert (case.grown.cut(np.inf) == 0).all()


@settings(max_examples=150)
@given(seeds)
def test_below_the_cut_each_instance_is_divided_as_its_cluster_was(seed: int) -> None:
    case = Divided.random(seed)
    for height in case.tree.heights[case.tree.heights <= case.tau]:
        expected = case.tree.cut(height)[case.before] * 10 + case.parts
        assert same_partition(case.grown.cut(height)[case.after], expected)
    assert same_partition(case.after, case.before * 10 + case.parts)


@settings(max_examples=150)
@given(seeds)
def test_a_tree_with_instances_is_a_sound_tree(seed: int) -> None:
    case = Divided.random(seed)
    grown, leaves = case.grown, case.grown.leaves
    assert (np.diff(grown.heights) >= 0).all()
    children = grown.merges[:, :2]
    assert (children[:, 0] < children[:, 1]).all()
    assert (children < leaves + np.arange(leaves - 1)[:, None]).all()
    assert sorted(children.ravel()) == list(range(2 * leaves - 2))
    assert (grown.merges[:, 3] == grown.node_counts()[leaves:].sum(1)).all()
    expected = [[(frame == leaf).sum() for frame in case.after] for leaf in range(leaves)]
    assert grown.counts.tolist() == expected
    assert grown.counts.dtype == case.tree.counts.dtype
    assert grown.sizes.sum() == case.before.size
    assert grown.instances.dtype == bool
    assert grown.instances.sum() == case.added
    for clusters in range(1, leaves + 1):
        assert set(grown.cut_into(clusters)) == set(range(clusters))


@settings(max_examples=150)
@given(seeds)
def test_new_leaves_have_the_row_and_cluster_of_their_old_leaf(seed: int) -> None:
    case = Divided.random(seed)
    assert case.grown_nearest.dtype == np.int32
    assert case.grown_nearest.shape == case.nearest.shape
    assert (case.grown.rows[case.after] == case.tree.rows[case.before]).all()
    origin = {}  # cluster and instance of every new leaf that has patches
    for new, old, part in zip(case.after.flat, case.before.flat, case.parts.flat, strict=True):
        assert origin.setdefault(new, (case.leaf_cluster[old], part)) == (
            case.leaf_cluster[old],
            part,
        )
    for place in np.ndindex(case.nearest.shape):
        cluster = int(case.leaf_cluster[case.nearest[place]])
        new = int(case.grown_nearest[place])
        if cluster in case.instance:
            assert origin.get(new, (cluster, 0)) == (cluster, case.instance[cluster][place[:3]])
        else:
            assert origin.get(new, (cluster, 0)) == (cluster, 0)
            assert (case.grown.rows[new] == case.tree.rows[case.nearest[place]]).all()


@settings(max_examples=100)
@given(seeds)
def test_without_instances_the_tree_stays_as_it_is(seed: int) -> None:
    case = Divided.random(seed)
    grown, nearest = with_instances(case.tree, case.nearest, case.leaf_cluster, {}, tau=case.tau)
    assert (grown.merges == case.tree.merges).all()
    assert (grown.counts == case.tree.counts).all()
    assert (grown.rows == case.tree.rows).all()
    assert (nearest == case.nearest).all()
    assert not grown.instances.any()


def test_a_tree_of_one_leaf_is_divided_just_above_the_cut() -> None:
    tree = tree_of([[0.5, 0.5]], [6])
    parts = np.array([[[0, 1, 2], [2, 0, 0]]])
    nearest = np.zeros((1, 2, 3, 1), int)
    grown, found = with_instances(tree, nearest, np.zeros(1, int), {0: parts}, tau=1.0)
    assert same_partition(found, parts)
    assert grown.counts.tolist() == [[3], [1], [2]]
    assert grown.instances.tolist() == [True, True]
    assert (grown.clusters_at(1.0), grown.cut(1.0 + 1e-9).tolist()) == (3, [0, 0, 0])


def test_two_of_a_kind_and_their_ground_by_hand() -> None:
    # Leaves 0 and 1 are parts of two dogs, leaf 2 is the ground; dogs join it at 3.
    merges = np.array([[0, 1, 0.5, 5], [2, 3, 3.0, 9]])
    counts = np.array([[3], [2], [4]], np.int32)
    tree = ClusterTree(merges, counts, np.eye(3, dtype=np.float16) * 3)
    nearest = np.array([[[0, 0, 0], [1, 1, 2], [2, 2, 2]]])[..., None]
    dogs = np.array([[[0, 0, 1], [0, 1, 1], [1, 0, 1]]])
    grown, found = with_instances(tree, nearest, tree.cut(1.0), {tree.cut(1.0)[0]: dogs}, tau=1.0)
    assert found[..., 0].tolist() == [[[0, 0, 1], [2, 3, 4], [4, 4, 4]]]
    assert grown.counts[:, 0].tolist() == [2, 1, 1, 1, 4]
    below_three = np.nextafter(3.0, 0)
    assert grown.merges.tolist() == [
        [0, 2, 0.5, 3],  # the first dog
        [1, 3, 0.5, 2],  # the second
        [5, 6, below_three, 5],
        [4, 7, 3.0, 9],
    ]
    assert grown.instances.tolist() == [False, False, True, False]


# ---- growing ------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("most", [3, 20])
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
