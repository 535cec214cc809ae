"""Which clusters are objects and which are background: one score, and what it is made of.

T frames, h×w patches, C clusters. The paper does not say which clusters are objects.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

THRESHOLD = 0.2  # of the score: what lies above is an object
BALLOT = 2.5 ** np.linspace(-1, 1, 7)  # times the height of a cut: the cuts that vote on its roles
_HALF = 0.5  # what saliency and solidity count beside nearness to the middle
_SEAM = 0.1  # of a cluster's patches: so few have it on all four sides, in a seam
_ALONG = 0.4  # of a cluster's patches: so many have an object on a side, in a seam
_SIGMA = 0.25  # of the picture's sides: how wide the middle is
_LITTLE = 0.01  # added to shares, so that no log is infinite


def object_scores(
    labels: np.ndarray, clusters: int, saliency: np.ndarray | None = None
) -> np.ndarray:
    """Return how much each cluster looks like an object, (C,) float64; -inf for an empty one.

    labels (T, h, w) int in 0 … C-1. saliency (T, h, w): what the [CLS] token attends to, if there
    is one. The score is log m + ½ (log a + log s), where m and a are how much more a cluster holds
    of the middle of the picture (a Gaussian, σ a quarter of the sides) and of the attention of
    [CLS] than the rest of the picture does, and s is how solid it is: the share of its patches that
    have it on all four sides.
    """
    count = np.bincount(labels.ravel(), minlength=clusters)
    share = count / labels.size

    def mean(values: np.ndarray) -> np.ndarray:
        everywhere = np.broadcast_to(values, labels.shape).ravel()
        return np.bincount(labels.ravel(), everywhere, clusters) / np.maximum(count, 1)

    def contrast(values: np.ndarray) -> np.ndarray:
        """Log of the mean within over the mean of the rest, for values of mean 1."""
        rest = (1 - share * mean(values)) / np.maximum(1 - share, 1 / labels.size)
        return np.log(mean(values) + _LITTLE) - np.log(np.maximum(rest, 0) + _LITTLE)

    score = contrast(_middle(labels.shape[1:])) + _HALF * np.log(mean(_inner(labels)) + _LITTLE)
    if saliency is not None:
        score += _HALF * contrast(saliency / saliency.mean((1, 2), keepdims=True))
    return np.where(count > 0, score, -np.inf)


def background(
    labels: np.ndarray,
    clusters: int,
    saliency: np.ndarray | None = None,
    ballot: Sequence[np.ndarray] = (),
) -> np.ndarray:
    """Return which clusters are background, (C,) bool: those that win no majority.

    ballot: labels (T, h, w) of other cuts of the tree; without them, this cut decides alone. In
    each of them, every patch votes for its cluster here if its cluster there has a score above 0.2.
    If no cluster wins, the one with the highest score here does, its size counting by its root.
    Empty clusters are background.
    """
    size = np.bincount(labels.ravel(), minlength=clusters)
    votes = np.sum([_votes(cut, saliency) for cut in ballot or (labels,)], axis=0)
    won = np.bincount(labels.ravel(), votes.ravel(), clusters) > size * max(len(ballot), 1) / 2
    if not won.any():
        scores = object_scores(labels, clusters, saliency)
        won[(scores + 0.5 * np.log(np.maximum(size / labels.size, 1e-12))).argmax()] = True
    return ~won


def _votes(labels: np.ndarray, saliency: np.ndarray | None) -> np.ndarray:
    """Return which patches (T, h, w) bool lie in a cluster whose score is above 0.2."""
    objects: np.ndarray = object_scores(labels, int(labels.max()) + 1, saliency) > THRESHOLD
    return objects[labels]


def seams(labels: np.ndarray, scenery: np.ndarray) -> np.ndarray:
    """Return which clusters are seams, (C,) bool: background without an inside, along objects.

    labels (T, h, w) int in 0 … C-1, scenery (C,) bool: which clusters are background. Patches that
    hold the edge of an object attend half as it does and half as the background, and so make a thin
    cluster: less than a tenth of them have it on all four sides, two fifths an object on one.
    """
    edge = _sides(~scenery[labels]).any(0)
    count, inside, along = (
        np.bincount(labels.ravel(), where.ravel(), len(scenery))
        for where in (np.ones_like(labels), _inner(labels), edge)
    )
    return scenery & (inside < _SEAM * count) & (along >= _ALONG * count)


def _middle(grid: tuple[int, ...]) -> np.ndarray:
    """Return a Gaussian around the middle of the picture, of mean 1: (h, w)."""
    y, x = ((np.arange(side) + 0.5) / side - 0.5 for side in grid)
    near = np.exp(-(y[:, None] ** 2 + x**2) / (2 * _SIGMA**2))
    return np.asarray(near / near.mean())


def _inner(labels: np.ndarray) -> np.ndarray:
    """Return which patches have their own cluster on all four sides: (T, h, w) bool."""
    return np.asarray((_sides(labels) == labels).all(0))


def _sides(values: np.ndarray) -> np.ndarray:
    """Return the values on the four sides of every patch: (T, h, w) → (4, T, h, w).

    Beyond the border of the picture, everything goes on as it is there.
    """
    around = np.pad(values, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows, columns = around[:, :, 1:-1], around[:, 1:-1]
    return np.stack([rows[:, :-2], rows[:, 2:], columns[..., :-2], columns[..., 2:]])
