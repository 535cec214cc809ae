"""Agreement of two partitions."""

from __future__ import annotations

import numpy as np


def adjusted_rand_index(first: np.ndarray, second: np.ndarray) -> float:
    """Return the agreement of two partitions: 1 for equal ones, about 0 for unrelated ones.

    first, second: non-negative integers of the same shape; what the numbers are does not matter.
    Hubert and Arabie, "Comparing partitions", 1985. Raise ValueError for different shapes.
    """
    if np.shape(first) != np.shape(second):
        raise ValueError(f"labels must have one shape, not {np.shape(first)}, {np.shape(second)}")
    _, a = np.unique(first, return_inverse=True)
    _, b = np.unique(second, return_inverse=True)
    a, b = a.ravel(), b.ravel()
    shape = (a.max(initial=-1) + 1, b.max(initial=-1) + 1)
    pairs = np.bincount(a * shape[1] + b, minlength=shape[0] * shape[1])
    return adjusted_rand_of_table(pairs.reshape(shape))


def adjusted_rand_of_table(table: np.ndarray) -> float:
    """Return the adjusted Rand index from counts (I, J): of items labelled i and j."""
    counts = table.astype(float)
    same_both, same_first, same_second = (
        (part * (part - 1) / 2).sum() for part in (counts, counts.sum(1), counts.sum(0))
    )
    total = counts.sum()
    pairs = total * (total - 1) / 2
    expected = same_first * same_second / pairs if pairs else 0.0
    most = (same_first + same_second) / 2
    return 1.0 if most == expected else float((same_both - expected) / (most - expected))
