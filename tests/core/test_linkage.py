"""Average linkage of distances and of leaves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import cut_tree, linkage
from scipy.spatial.distance import pdist, squareform

from bavos_core.hierarchy import average_linkage

from .helpers import SEEDS, leaves_below, plain_kl, random_leaves, same_partition, seeds, tree_of


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
