"""Clusters of a tree divided into instances."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from hypothesis import given, settings

from bavos_core.hierarchy import build_tree, with_instances
from bavos_core.tree import ClusterTree

from .helpers import assignment_of, random_leaves, same_partition, seeds, tree_of


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
