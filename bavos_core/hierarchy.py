"""The cluster hierarchy: from fine parts to the whole scene (paper, Fig. 5).

L leaves, each a cluster centroid; a binary tree of 2L - 1 nodes in scipy's linkage layout: leaves
are 0 … L-1, and merge i makes node L + i.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .attention import AttentionRows
from .clustering import Assignment, assign, find_clusters
from .distances import KEPT_BYTES, LogRows, Windows, self_distances
from .progress import Progress, checkpoint, part_of, silent
from .settings import Settings
from .tree import ClusterTree, row_weights

LEAF_TAU = 0.25  # finest clusters of the hierarchy, symmetric KL
MAX_LEAVES = 2048  # bounds the linkage; only clips that are all noise come near
_NEAREST = 8  # leaves remembered for every patch, for soft masks


@dataclass(frozen=True)
class Hierarchy:
    """A tree, the patches of its leaves, and the levels that led to the leaves."""

    tree: ClusterTree
    assignment: Assignment
    levels: np.ndarray  # (R, T, N) int32: clusters of the paper's process, level by level


def build_hierarchy(
    attention: AttentionRows, settings: Settings, *, dtype: torch.dtype, progress: Progress = silent
) -> Hierarchy:
    """Cluster all rows finely, link the clusters to a tree, give each patch its nearest leaves.

    In exact mode the leaves are the paper's clusters at settings.tau, so that cutting the tree
    there gives exactly the paper's clusters (numbered as the tree numbers them). Otherwise they
    are its clusters at τ = 0.25, or at a higher τ where that leaves more than 2048.
    """
    tau, most = (settings.tau, float("inf")) if settings.exact else (LEAF_TAU, MAX_LEAVES)
    windows = Windows(attention, dtype, keep=KEPT_BYTES)
    found = find_clusters(windows, tau, most=most, progress=part_of(progress, 0.0, 0.8))
    last = part_of(progress, 0.8, 1.0)
    assignment = assign(windows, found.centroids, nearest=_NEAREST, progress=last)
    levels = np.stack(found.levels()).astype(np.int32)
    tree = build_tree(assignment, linked=found.centroids if settings.exact else None)
    return Hierarchy(tree, assignment, levels.reshape(-1, *assignment.labels.shape))


def build_tree(assignment: Assignment, *, linked: Tensor | None = None) -> ClusterTree:
    """Link leaves by average symmetric KL between their mean rows, weighted by their sizes.

    The height of a merge is the mean distance over all pairs of patches of its two sides, taking
    each patch to lie at its leaf's mean. It does not depend on the order of the leaves, and
    heights never fall. linked: rows (L, M) to link instead of the means. Exact mode passes the
    paper's centroids: they lie more than τ apart, so a cut at τ merges none.
    """
    labels = assignment.labels.cpu().numpy()
    means = assignment.mean_rows.float()
    counts = np.stack([np.bincount(frame, minlength=len(means)) for frame in labels], axis=1)
    distances = self_distances(LogRows.of(means if linked is None else linked)).double()
    distances = (distances + distances.T).div_(2).clamp_min_(0)  # rounding is not symmetric
    merges = average_linkage(distances.cpu().numpy(), counts.sum(1))
    rows = (means * means.shape[1]).clamp_max(torch.finfo(torch.float16).max).half()
    return ClusterTree(merges, counts.astype(np.int32), rows.cpu().numpy())


@dataclass(frozen=True)
class _Merge:
    """Two nodes that become one at a height."""

    first: int
    second: int
    height: float
    instances: bool  # of one cluster


def with_instances(
    tree: ClusterTree,
    nearest: np.ndarray,
    leaf_cluster: np.ndarray,
    instance: Mapping[int, np.ndarray],
    *,
    tau: float,
) -> tuple[ClusterTree, np.ndarray]:
    """Return the tree with some clusters of a cut divided into instances, and the nearest leaves.

    nearest (T, h, w, k): leaves of the given tree. leaf_cluster (L,): its cut at tau. instance: for
    a cluster, the instance 0 … K-1 of every patch of the clip (T, h, w); outside the cluster, the
    one that the patch would belong to. Every leaf of such a cluster becomes one leaf for each
    instance that holds patches of it, with the leaf's row. Below the cut, each instance is divided
    as the cluster was; instances are merged just before the cluster is merged with others.
    """
    part = np.zeros(nearest.shape, np.int64)  # the instance, 0 where there are none
    for cluster, found in instance.items():
        part = np.where(leaf_cluster[nearest] == cluster, found[..., None], part)
    parts = int(part.max()) + 1
    pair = nearest * parts + part  # a leaf and an instance
    held = np.unique(pair[..., 0])
    whole = np.setdiff1d(np.arange(tree.leaves), held // parts) * parts  # leaves without patches
    pairs = np.union1d(held, whole)
    leaf, its_part = pairs // parts, pairs % parts
    counts = np.stack(
        [np.bincount(np.searchsorted(pairs, frame.ravel()), minlength=len(pairs))
         for frame in pair[..., 0]], axis=1,
    )  # fmt: skip
    merges, joins = _in_order(_merges_of_parts(tree, leaf_cluster, leaf, its_part, tau), counts)
    grown = ClusterTree(merges, counts.astype(tree.counts.dtype), tree.rows[leaf], joins)
    return grown, _nearest_parts(pair, pairs, counts.sum(1), leaf_cluster, parts)


def _merges_of_parts(
    tree: ClusterTree, leaf_cluster: np.ndarray, leaf: np.ndarray, part: np.ndarray, tau: float
) -> list[_Merge]:
    """Return the merges of parts (P,) of leaves, each after those that it merges."""
    cluster = tree.node_clusters(leaf_cluster)
    tops: list[dict[int, int]] = [{} for _ in range(2 * tree.leaves - 1)]  # node of each instance
    for number, (its_leaf, its_part) in enumerate(zip(leaf.tolist(), part.tolist(), strict=True)):
        tops[its_leaf][its_part] = number
    found: list[_Merge] = []

    def join(a: int, b: int, height: float, *, instances: bool = False) -> int:
        found.append(_Merge(a, b, height, instances))
        return len(leaf) + len(found) - 1

    def whole(node: int, heights: Iterator[float]) -> int:
        first, *others = tops[node].values()
        for other in others:
            first = join(first, other, next(heights), instances=True)
        return first

    for i, (a, b, height, _) in enumerate(tree.merges):
        node, a, b = tree.leaves + i, int(a), int(b)
        if cluster[node] >= 0:  # inside a cluster: each instance has its own merges
            tops[node] = dict(tops[a])
            for its_part, other in tops[b].items():
                mine = tops[a].get(its_part)
                tops[node][its_part] = other if mine is None else join(mine, other, height)
        else:
            heights = _steps_to(height, len(tops[a]) + len(tops[b]) - 2, tau)
            tops[node] = {0: join(whole(a, heights), whole(b, heights), height)}
    top = np.nextafter(max([tau, *tree.heights[-1:]]), np.inf)
    for _ in tops[-1]:
        top = np.nextafter(top, np.inf)
    whole(2 * tree.leaves - 2, _steps_to(top, len(tops[-1]) - 1, tau))
    return found


def _steps_to(height: float, count: int, tau: float) -> Iterator[float]:
    """Yield the `count` numbers just below a height, rising.

    Where fewer lie between τ and the height, the lowest number above τ is repeated.
    """
    steps, lowest = [height], float(np.nextafter(tau, np.inf))
    for _ in range(count):
        steps.append(max(float(np.nextafter(steps[-1], 0)), lowest))
    return reversed(steps[1:])


def _in_order(found: list[_Merge], counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return merges in scipy's layout (P-1, 4), and which of them join instances (P-1,) bool."""
    leaves = len(counts)
    order = sorted(range(len(found)), key=lambda i: found[i].height)
    number = np.arange(leaves + len(found))
    number[leaves + np.array(order, int)] = leaves + np.arange(len(found))
    size = np.concatenate([counts.sum(1), np.zeros(len(found), np.int64)])
    merges = np.zeros((len(found), 4))
    for i, merge in enumerate(found[j] for j in order):
        children = sorted((number[merge.first], number[merge.second]))
        size[leaves + i] = size[children].sum()
        merges[i] = *children, merge.height, size[leaves + i]
    return merges, np.array([found[j].instances for j in order], bool)


def _nearest_parts(
    pair: np.ndarray, pairs: np.ndarray, sizes: np.ndarray, leaf_cluster: np.ndarray, parts: int
) -> np.ndarray:
    """Return the new leaf of every pair (leaf, instance): (T, h, w, k) int32.

    If an instance holds no patch of a leaf, the instance's largest leaf is taken.
    """
    of_instance = leaf_cluster[pairs // parts] * parts + pairs % parts
    largest_first = np.lexsort((-sizes, of_instance))
    known, first = np.unique(of_instance[largest_first], return_index=True)
    place = np.searchsorted(pairs, pair).clip(max=len(pairs) - 1)
    wanted = leaf_cluster[pair // parts] * parts + pair % parts
    at = np.searchsorted(known, wanted).clip(max=len(known) - 1)
    largest = largest_first[first[at]]
    return np.where(pairs[place] == pair, place, largest).astype(np.int32)


def average_linkage(distances: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Link points that stand for `sizes` members each, as scipy's `linkage(…, "average")` does.

    distances (L, L) symmetric float64, sizes (L,), 0 allowed → merges (L-1, 4), heights rising.
    Each row's nearest neighbour is remembered, so that a merge costs a few rows, not the matrix.
    That needs a linkage in which a merged node is no nearer to a third than its nearer part was.
    """
    leaves = len(sizes)
    distances = distances.copy()
    np.fill_diagonal(distances, np.inf)
    nearest, least = distances.argmin(1), distances.min(1)
    node = np.arange(leaves)
    weight = row_weights(sizes)
    merges = np.zeros((leaves - 1, 4))
    for i in range(leaves - 1):
        checkpoint()
        first = int(least.argmin())
        a, b = sorted((first, int(nearest[first])))
        total = weight[a] + weight[b]
        merges[i] = *sorted((node[a], node[b])), distances[a, b], total
        joined = (weight[a] * distances[a] + weight[b] * distances[b]) / total
        distances[a], distances[:, a] = joined, joined
        distances[a, a] = distances[b] = distances[:, b] = np.inf
        node[a], weight[a] = leaves + i, total
        least[b] = np.inf
        stale = np.flatnonzero((nearest == a) | (nearest == b))  # their neighbour has moved away
        stale = np.union1d(stale[np.isfinite(least[stale])], [a])
        nearest[stale], least[stale] = distances[stale].argmin(1), distances[stale].min(1)
    merges[:, 2] = np.maximum.accumulate(merges[:, 2])  # rounding may lower the mean of equals
    merges[:, 3] = np.round(merges[:, 3])
    return merges
