"""Roles at every cut of the tree in one sweep: the same as `segment` finds, cut by cut.

T analysed frames, h×w patch grid, L leaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bavos_core import Analysis, ClusterTree
from bavos_core.roles import BALLOT, THRESHOLD, object_scores
from bavos_io.stopping import checkpoint


def background_at_every_cut(analysis: Analysis, most: int) -> np.ndarray:
    """Return which clusters are background without edits, for 1, 2, … most clusters.

    The flags (most·(most+1)/2,) bool of all cuts stand one after the other. The cuts that vote on
    one cut (see `roles.background`) are cuts of the same tree, and all patches of a leaf vote
    alike; so every cut is scored once, and the rest are sums over leaves.
    """
    tree = analysis.tree
    sweep = _Sweep(tree, analysis.nearest[..., 0], analysis.saliency)
    usual = tree.clusters_at(analysis.settings.tau)
    heights = [tree.height_of(n) if n != usual else analysis.settings.tau for n in range(most + 1)]
    return np.concatenate([sweep.background(n, heights[n]) for n in range(1, most + 1)])


def all_cuts(tree: ClusterTree) -> np.ndarray:
    """Return `cut_into` 1, 2, … L clusters: (L, L) int64, the cluster of every leaf in each cut."""
    slots, cut = tree.slots(), np.zeros(tree.leaves, np.int64)
    cuts = [cut]
    for node in range(2 * tree.leaves - 2, tree.leaves - 1, -1):
        smaller = max(tree.children(node), key=lambda child: slots[child])
        cut = cut.copy()
        cut[tree.leaves_of(smaller)] = slots[smaller]
        cuts.append(cut)
    return np.stack(cuts)


@dataclass(frozen=True)
class _Sweep:
    """The cuts of a tree with the scores of those that were asked for."""

    tree: ClusterTree
    leaves: np.ndarray  # (T, h, w): the nearest leaf of every patch
    saliency: np.ndarray | None  # (T, h, w)

    def background(self, count: int, height: float) -> np.ndarray:
        """Return which clusters of a cut are background, (count,) bool."""
        checkpoint()
        leaf_cluster = self._cuts[count - 1]
        votes = np.sum([self._votes(times * height) for times in BALLOT], axis=0)
        size = np.bincount(leaf_cluster, self._sizes, count)
        won = np.bincount(leaf_cluster, votes * self._sizes, count) > size * len(BALLOT) / 2
        if not won.any():
            share = np.maximum(size / self.leaves.size, 1e-12)
            won[(self._scores(count) + 0.5 * np.log(share)).argmax()] = True
        return ~won

    def _votes(self, height: float) -> np.ndarray:
        """Return which leaves vote for an object in the cut at a height, (L,) bool."""
        count = self.tree.clusters_at(height)
        found: np.ndarray = (self._scores(count) > THRESHOLD)[self._cuts[count - 1]]
        return found

    def _scores(self, count: int) -> np.ndarray:
        """Return the object scores of the cut into `count` clusters."""
        if count not in self._found:
            labels = self._cuts[count - 1][self.leaves]
            self._found[count] = object_scores(labels, count, self.saliency)
        return self._found[count]

    @cached_property
    def _found(self) -> dict[int, np.ndarray]:
        return {}

    @cached_property
    def _cuts(self) -> np.ndarray:
        return all_cuts(self.tree)

    @cached_property
    def _sizes(self) -> np.ndarray:
        """Patches of each leaf (L,)."""
        return np.bincount(self.leaves.ravel(), minlength=self.tree.leaves)
