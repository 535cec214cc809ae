"""The cluster hierarchy: from fine parts to the whole scene (paper, Fig. 5).

L leaves, each a cluster centroid; a binary tree of 2L - 1 nodes in scipy's linkage layout: leaves
are 0 … L-1, and merge i makes node L + i.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .attention import AttentionRows
from .clustering import (
    Assignment,
    LogRows,
    Progress,
    assign,
    find_clusters,
    merge_globally,
    self_distances,
)
from .settings import Settings

LEAF_TAU = 0.25  # finest clusters of the hierarchy, symmetric KL
MAX_LEAVES = 255  # what an 8-bit mask can number, and a person can look at
_NEAREST = 8  # leaves remembered for every patch, for soft masks


@dataclass(frozen=True)
class ClusterTree:
    """Nested clusters with monotone heights. Cutting it costs microseconds."""

    merges: np.ndarray  # (L-1, 4) float64: child, child, height (symmetric KL), patches
    sizes: np.ndarray  # (L,) int64 patches of each leaf

    @property
    def leaves(self) -> int:
        """L."""
        return len(self.sizes)

    @property
    def heights(self) -> np.ndarray:
        """Height of every merge (L-1,), rising."""
        heights: np.ndarray = self.merges[:, 2]
        return heights

    def clusters_at(self, tau: float) -> int:
        """Number of clusters when all merges up to height τ are done."""
        return int(self.leaves - np.searchsorted(self.heights, tau, side="right"))

    def cut(self, tau: float) -> np.ndarray:
        """Cluster of every leaf when all merges up to height τ are done: (L,) int64."""
        return self.cut_into(self.clusters_at(tau))

    def cut_into(self, clusters: int) -> np.ndarray:
        """Cluster of every leaf, (L,) int64 in 0 … clusters-1, for 1 ≤ clusters ≤ L.

        A finer cut never renumbers: when a cluster splits, its larger part keeps the number and
        the smaller part gets the next free one. So a colour stays with its object.
        """
        clusters = min(max(clusters, 1), self.leaves)
        label = self.slots()
        first_split = 2 * self.leaves - clusters  # from this node on, nodes are cut in two
        for node in range(min(first_split, 2 * self.leaves - 1) - 1, self.leaves - 1, -1):
            children = self.merges[node - self.leaves, :2].astype(int)
            label[children] = label[node]
        return label[: self.leaves]

    def height_of(self, clusters: int) -> float:
        """Largest τ at which there are at least `clusters` clusters, or a little above the root."""
        clusters = min(max(clusters, 1), self.leaves)
        above = self.heights[self.leaves - clusters :]
        if len(above):
            return float(np.nextafter(above[0], 0))
        return float(self.heights[-1]) if self.leaves > 1 else 1.0

    def node_clusters(self, leaf_cluster: np.ndarray) -> np.ndarray:
        """Cluster of every node (2L-1,) int64 for a cut; -1 for nodes above it."""
        cluster = np.concatenate([leaf_cluster, np.full(self.leaves - 1, -1)])
        for i, (first, second, *_) in enumerate(self.merges):
            if cluster[int(first)] == cluster[int(second)]:
                cluster[self.leaves + i] = cluster[int(first)]
        return cluster

    def slots(self) -> np.ndarray:
        """Number of every node (2L-1,) int64 under the rule of `cut_into`; the root has 0."""
        slots = np.zeros(2 * self.leaves - 1, np.int64)
        weight = np.concatenate([self.sizes, self.merges[:, 3]])
        for i in range(self.leaves - 2, -1, -1):
            larger, smaller = sorted(self.merges[i, :2].astype(int), key=lambda c: -weight[c])
            slots[larger] = slots[self.leaves + i]
            slots[smaller] = self.leaves - 1 - i
        return slots


def grow(
    attention: AttentionRows,
    settings: Settings,
    *,
    dtype: torch.dtype,
    progress: Progress | None = None,
) -> tuple[ClusterTree, Assignment]:
    """Cluster all rows finely, link the clusters to a tree, give each patch its nearest leaves.

    In exact mode the leaves are the paper's clusters at settings.tau, so that cutting the tree
    there gives exactly the paper's clusters (numbered as the tree numbers them). Otherwise they
    are its clusters at τ = 0.25; where that leaves more than 255, the same global merge goes on
    with a rising τ.
    """
    leaf_tau = settings.tau if settings.exact else LEAF_TAU

    def share_of(part: float, whole: float) -> Progress | None:
        return progress and (lambda done: progress(part + whole * done))

    centroids = find_clusters(attention, leaf_tau, dtype=dtype, progress=share_of(0.0, 0.7))
    while len(centroids) > MAX_LEAVES and not settings.exact:
        leaf_tau *= 1.25
        centroids = merge_globally(centroids, leaf_tau, None, torch.float32)
    assignment = assign(
        attention, centroids, nearest=_NEAREST, dtype=dtype, progress=share_of(0.7, 0.3)
    )
    labels = assignment.labels.flatten().cpu()
    sizes = torch.bincount(labels, minlength=len(centroids)).numpy()
    return build_tree(centroids, sizes), assignment


def build_tree(centroids: Tensor, sizes: np.ndarray) -> ClusterTree:
    """Average linkage of leaf centroids (L, M) by symmetric KL, weighted by leaf sizes (L,).

    The height of a merge is the mean distance over all pairs of patches of its two sides, taking
    each patch to lie at its leaf's centroid. It does not depend on the order of the leaves, and
    heights never fall.
    """
    rows = LogRows.of(centroids.float(), None, torch.float32)
    distances = self_distances(rows).clamp_min(0).double().cpu().numpy()
    return ClusterTree(_average_linkage(distances, sizes), sizes)


def _average_linkage(distances: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """scipy's `linkage(…, "average")` for points that already stand for `sizes` members each."""
    leaves = len(sizes)
    distances = distances.copy()
    np.fill_diagonal(distances, np.inf)
    node = np.arange(leaves)
    weight = np.maximum(sizes.astype(float), 1e-9)  # a leaf may have lost all its patches
    merges = np.zeros((leaves - 1, 4))
    for i in range(leaves - 1):
        a, b = sorted(np.unravel_index(distances.argmin(), distances.shape))
        total = weight[a] + weight[b]
        merges[i] = *sorted((node[a], node[b])), distances[a, b], total
        joined = (weight[a] * distances[a] + weight[b] * distances[b]) / total
        distances[a], distances[:, a] = joined, joined
        distances[a, a] = distances[b] = distances[:, b] = np.inf
        node[a], weight[a] = leaves + i, total
    return merges
