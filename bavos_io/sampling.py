"""Which frames of a clip are analysed, and those frames as one array."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def spread(total: int, wanted: int, include: int | None = None) -> list[int]:
    """Return `wanted` of `total` numbers spread evenly, first and last included, rising.

    include: a number that takes the place of the nearest one.
    """
    if wanted >= total:
        return list(range(total))
    step = (total - 1) / max(wanted - 1, 1)
    chosen = [round(i * step) for i in range(wanted - 1)] + [total - 1]
    if wanted == 1:
        chosen = [total // 2]
    if include is not None and include < total:
        nearest = min(range(wanted), key=lambda i: abs(chosen[i] - include))
        chosen[nearest] = include
    return chosen


def stacked(frames: Iterator[np.ndarray], count: int) -> np.ndarray:
    """Return `count` frames of one size as one array. Unlike np.stack, no two copies are held."""
    first = next(frames)
    found = np.empty((count, *first.shape), first.dtype)
    found[0] = first
    for place, frame in enumerate(frames, 1):
        found[place] = frame
    return found
