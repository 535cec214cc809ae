"""The cluster tree: what its nodes hold, and its cuts."""

import numpy as np
import pytest
from hypothesis import given, settings

from bavos_core.hierarchy import build_tree
from bavos_core.tree import ClusterTree, row_weights

from .helpers import (
    SEEDS,
    assignment_of,
    leaves_below,
    node_row,
    plain_kl,
    random_leaves,
    refines,
    same_partition,
    seeds,
    tree_of,
)


def random_tree(seed: int) -> tuple[ClusterTree, np.ndarray, np.ndarray]:
    """A tree with a leaf that has no patch, the leaf of every patch (T, N), and the mean rows."""
    rng = np.random.default_rng(seed)
    rows, _ = random_leaves(seed)
    labels = rng.integers(0, len(rows), (int(rng.integers(1, 6)), 2 * len(rows)))
    labels[labels == rng.integers(1, len(rows))] = 0
    return build_tree(assignment_of(labels, rows)), labels, rows


# ---- what nodes hold ----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_counts_are_the_patches_of_every_leaf_in_every_frame(seed: int) -> None:
    tree, labels, rows = random_tree(seed)
    expected = [[(frame == leaf).sum() for frame in labels] for leaf in range(len(rows))]
    assert tree.counts.dtype == np.int32
    assert tree.counts.tolist() == expected
    assert tree.sizes.tolist() == [(labels == leaf).sum() for leaf in range(len(rows))]
    assert (tree.sizes == 0).any()
    weights = row_weights(tree.sizes)
    assert ((weights > 0) & (abs(weights - tree.sizes) <= 1e-9)).all()


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
