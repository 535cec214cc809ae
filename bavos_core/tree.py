"""The tree of clusters: its cuts and its nodes.

L leaves, 2L-1 nodes, leaves first; T frames, M = K·N columns of a row.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class ClusterTree:
    """Nested clusters with monotone heights. Cutting it costs microseconds."""

    merges: np.ndarray  # (L-1, 4) float64: child, child, height (symmetric KL), patches
    counts: np.ndarray  # (L, T) int32: patches of each leaf in each frame
    rows: np.ndarray  # (L, M) float16: mean attention row of each leaf, in units of 1/M
    # (L-1,) bool: merges of instances of one cluster, which attention does not tell apart
    instances: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))

    def __post_init__(self) -> None:
        if not len(self.instances):  # none were given
            object.__setattr__(self, "instances", np.zeros(len(self.merges), bool))
        if len(self.instances) != len(self.merges):
            raise ValueError(f"{len(self.instances)} flags do not fit {len(self.merges)} merges")

    @property
    def leaves(self) -> int:
        """Number of leaves L."""
        return len(self.counts)

    @property
    def sizes(self) -> np.ndarray:
        """Patches of each leaf (L,) int64."""
        return self.counts.sum(1, dtype=np.int64)

    @property
    def heights(self) -> np.ndarray:
        """Heights of the merges (L-1,), rising."""
        return np.asarray(self.merges[:, 2])

    def clusters_at(self, tau: float) -> int:
        """Return the number of clusters when all merges up to height τ are done."""
        return int(self.leaves - np.searchsorted(self.heights, tau, side="right"))

    def cut(self, tau: float) -> np.ndarray:
        """Return the cluster of every leaf when all merges up to height τ are done: (L,) int64."""
        return self.cut_into(self.clusters_at(tau))

    def cut_into(self, clusters: int) -> np.ndarray:
        """Return the cluster of every leaf, (L,) int64 in 0 … clusters-1, for 1 ≤ clusters ≤ L.

        A finer cut never renumbers: when a cluster splits, its larger part keeps the number and
        the smaller part gets the next free one. So a colour stays with its object.
        """
        clusters = min(max(clusters, 1), self.leaves)
        label = self.slots()
        first_split = 2 * self.leaves - clusters  # from this node on, nodes are cut in two
        for node in range(min(first_split, 2 * self.leaves - 1) - 1, self.leaves - 1, -1):
            label[self.children(node)] = label[node]
        return label[: self.leaves]

    def tops(self, tau: float) -> np.ndarray:
        """Return the highest node above every leaf that lies no higher than τ: (L,) int64.

        These are the clusters of `cut`, found faster and numbered by their nodes.
        """
        return self._highest(np.append(np.zeros(self.leaves), self.heights) <= tau)

    def whole(self, values: np.ndarray) -> np.ndarray:
        """Return the highest node above every leaf whose leaves share a value (L,): (L,) int64."""
        return self._highest(self.node_clusters(values) >= 0)

    def _highest(self, inside: np.ndarray) -> np.ndarray:
        """Return the highest node above every leaf, (L,), to which all are inside (2L-1,) bool."""
        parents = self.parents()
        top = np.where((parents >= 0) & inside[parents], parents, np.arange(len(parents)))
        while (top[top] != top).any():
            top = top[top]
        return np.asarray(top[: self.leaves])

    def height_of(self, clusters: int) -> float:
        """Return the largest τ at which there are so many clusters; for 1, that of the root."""
        clusters = min(max(clusters, 1), self.leaves)
        above = self.heights[self.leaves - clusters :]
        if len(above):
            return float(np.nextafter(above[0], 0))
        return float(self.heights[-1]) if self.leaves > 1 else 1.0

    def node_clusters(self, leaf_cluster: np.ndarray) -> np.ndarray:
        """Return the cluster of every node (2L-1,) int64 in a cut; -1 for nodes above it."""
        cluster = np.concatenate([leaf_cluster, np.full(self.leaves - 1, -1)])
        for i, (first, second, *_) in enumerate(self.merges):
            if cluster[int(first)] == cluster[int(second)]:
                cluster[self.leaves + i] = cluster[int(first)]
        return cluster

    def slots(self) -> np.ndarray:
        """Return the number of every node (2L-1,) int64 by the rule of `cut_into`; the root: 0."""
        slots = np.zeros(2 * self.leaves - 1, np.int64)
        weight = np.concatenate([self.sizes, self.merges[:, 3]])
        for node in range(2 * self.leaves - 2, self.leaves - 1, -1):
            larger, smaller = sorted(self.children(node), key=lambda child: -weight[child])
            slots[larger] = slots[node]
            slots[smaller] = 2 * self.leaves - 1 - node
        return slots

    def sum_over_nodes(self, values: np.ndarray) -> np.ndarray:
        """Return a quantity of leaves (L, …) summed over the leaves of every node: (2L-1, …)."""
        summed = np.concatenate([values, np.zeros_like(values[1:])])
        for i, (first, second) in enumerate(self.merges[:, :2].astype(int)):
            summed[self.leaves + i] = summed[first] + summed[second]
        return summed

    def node_counts(self) -> np.ndarray:
        """Return the patches of every node in each frame: (2L-1, T) int64."""
        return self.sum_over_nodes(self.counts.astype(np.int64))

    def leaves_of(self, node: int) -> np.ndarray:
        """Return the leaves below a node (k,) int64. Raise IndexError for an unknown node."""
        if not 0 <= node < 2 * self.leaves - 1:
            raise IndexError(f"there is no node {node}; the tree has {2 * self.leaves - 1}")
        nodes = [node]
        for below in nodes:  # which grow meanwhile
            nodes += self.children(below) if below >= self.leaves else []
        return np.sort([each for each in nodes if each < self.leaves])

    def first_parts(self, leaves: np.ndarray) -> np.ndarray:
        """Return the first division of some leaves in the tree: the part of each, (L,) int64.

        If one node holds exactly these leaves, its children are the parts; otherwise the largest
        nodes of such leaves are. Other leaves have -1.
        """
        parts = np.full(self.leaves, -1)
        chosen = np.zeros(self.leaves, np.int64)
        chosen[leaves] = 1
        tops = np.unique(self.whole(chosen)[leaves]).tolist()
        if len(tops) == 1 and tops[0] >= self.leaves:
            tops = self.children(tops[0])
        for part, node in enumerate(tops):
            parts[self.leaves_of(node)] = part
        return parts

    def children(self, node: int) -> list[int]:
        """Return the two children of a node that is no leaf."""
        return [int(child) for child in self.merges[node - self.leaves, :2]]

    def parents(self) -> np.ndarray:
        """Return the parent of every node (2L-1,) int64; -1 for the root."""
        parents = np.full(2 * self.leaves - 1, -1)
        above = np.arange(self.leaves, 2 * self.leaves - 1)
        parents[self.merges[:, :2].astype(int)] = above[:, None]
        return parents


def row_weights(sizes: np.ndarray) -> np.ndarray:
    """Return sizes (L,) as weights of a mean; none is 0, for a leaf may have lost its patches."""
    return np.maximum(sizes.astype(float), 1e-9)
