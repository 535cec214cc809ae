"""An analysis with other groups in place of the clusters of attention."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
from scipy.cluster.hierarchy import linkage

from bavos_core.analysis import Analysis
from bavos_core.errors import InputError
from bavos_core.progress import Stage
from bavos_core.tree import ClusterTree

from . import Grouping
from .kmeans import kmeans
from .ncut import normalised_cut
from .slots import Slots

_AT_LEAST = 2  # groups


def regrouped(analysis: Analysis, grouping: Grouping, slots: Slots | None = None) -> Analysis:
    """Return an analysis whose clusters at the settings' τ are the groups of another grouping.

    There are as many groups as attention has clusters at τ, so that no truth is needed to choose
    their number; slots are as many as were trained. Above τ, the groups are merged by the distance
    of their mean features. The seconds of the clustering are those of the grouping.
    Raise InputError without the slots, or for slots of another backbone.
    """
    if grouping == "attention":
        return analysis
    tokens, start = analysis.tokens, time.perf_counter()
    count = max(_AT_LEAST, analysis.segment().clusters)
    if grouping == "kmeans":
        groups = kmeans(tokens, count)
    elif grouping == "ncut":
        groups = normalised_cut(tokens, analysis.grid, count)
    elif slots is None:
        raise InputError("Slot attention must be trained first; give --slots FILE.")
    else:
        groups = slots.groups(tokens, analysis.grid)
    groups = np.unique(groups, return_inverse=True)[1].reshape(-1, *analysis.grid)
    seconds = {**analysis.timings, Stage.CLUSTERING.value: time.perf_counter() - start}
    seconds.pop(Stage.INSTANCES.value, None)
    return replace(
        analysis,
        tree=_tree(tokens.flatten(0, 1).numpy(), groups, analysis),
        nearest=groups[..., None].astype(np.int32),
        distance=np.zeros((*groups.shape, 1), np.float16),
        levels=groups[None].astype(np.int32),
        timings=seconds,
    )


def _tree(tokens: np.ndarray, groups: np.ndarray, analysis: Analysis) -> ClusterTree:
    """Return the tree of groups (T, h, w), all of whose merges lie above the settings' τ."""
    count = int(groups.max()) + 1
    sums = np.zeros((count, tokens.shape[1]))
    np.add.at(sums, groups.ravel(), tokens)
    counts = np.stack([np.bincount(frame.ravel(), minlength=count) for frame in groups], 1)
    merges = np.zeros((0, 4))
    if count > 1:
        merges = linkage(sums / counts.sum(1, keepdims=True), "average")
        merges[:, 2] += 2 * analysis.settings.tau
    rows = np.ones((count, analysis.tree.rows.shape[1]), np.float16)  # attention is not asked
    return ClusterTree(merges, counts.astype(np.int32), rows)
