"""k-means on features: what the paper's Fig. 2 sets beside attention."""

from __future__ import annotations

import numpy as np
from scipy.cluster.vq import kmeans2
from torch import Tensor

_ROUNDS = 30
_STARTS = 3


def kmeans(tokens: Tensor, groups: int) -> np.ndarray:
    """Return the groups of the patches of all frames by k-means on their features, (T, N) int64.

    tokens (T, N, C) float32. Of several starts (k-means++) the one with the smallest distances
    counts. Deterministic.
    """
    found = nearest_means(tokens.flatten(0, 1).numpy(), groups)
    return found.reshape(tokens.shape[:2])


def nearest_means(points: np.ndarray, groups: int) -> np.ndarray:
    """Return the group of each point (P, C) by k-means, (P,) int64."""
    chance = np.random.default_rng(0)
    found = [kmeans2(points, groups, iter=_ROUNDS, minit="++", seed=chance) for _ in range(_STARTS)]
    _, labels = min(found, key=lambda run: ((points - run[0][run[1]]) ** 2).sum())
    return np.asarray(labels, np.int64)
