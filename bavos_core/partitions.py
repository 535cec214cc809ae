"""Comparing two labellings of the same things."""

from __future__ import annotations

import numpy as np


def adjusted_rand_index(first: np.ndarray, second: np.ndarray) -> float:
    """How alike two partitions are: 1 for equal ones, about 0 for unrelated ones.

    first, second: non-negative integers of the same shape; what the numbers are does not matter.
    Hubert and Arabie, "Comparing partitions", 1985. Raises ValueError for different shapes.
    """
    if np.shape(first) != np.shape(second):
        raise ValueError(f"labels must have one shape, not {np.shape(first)}, {np.shape(second)}")
    _, a = np.unique(first, return_inverse=True)
    _, b = np.unique(second, return_inverse=True)
    a, b = a.ravel(), b.ravel()
    table = np.bincount(a * (b.max(initial=0) + 1) + b).astype(float)
    same_both, same_first, same_second = (
        (counts * (counts - 1) / 2).sum()
        for counts in (table, np.bincount(a).astype(float), np.bincount(b).astype(float))
    )
    pairs = len(a) * (len(a) - 1) / 2
    expected = same_first * same_second / pairs if pairs else 0.0
    most = (same_first + same_second) / 2
    return 1.0 if most == expected else float((same_both - expected) / (most - expected))
