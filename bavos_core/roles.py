"""Which clusters are objects and which are background: one score, and what it is made of.

T frames, h×w patches, C clusters. The paper does not say which clusters are objects.
"""

from __future__ import annotations

import numpy as np

THRESHOLD = 0.75  # of the score: what lies above is an object
_SIGMA = 0.25  # of the picture's sides: how wide the middle is
_SOLID, _LEAN, _SALIENT = 0.5, 0.5, 0.5  # what the parts count beside nearness to the middle
_LITTLE = 0.01  # added to shares of border and picture
_LEAST_SOLID = 0.05


def object_scores(
    labels: np.ndarray, clusters: int, saliency: np.ndarray | None = None
) -> np.ndarray:
    """Return how much each cluster looks like an object, (C,) float64; -inf for an empty one.

    labels (T, h, w) int in 0 … C-1. saliency (T, h, w): what the [CLS] token attends to, if there
    is one. The score is the log of: how near to the middle of the picture the cluster lies (the
    mean of a Gaussian, σ a quarter of the sides), over the picture's mean; times the root of how
    solid it is (share of its patches whose four neighbours are its own); over the root of how it
    leans on the border (its share of the border patches over its share of all); times the root of
    its mean saliency over the picture's.
    """
    count = np.bincount(labels.ravel(), minlength=clusters)

    def mean(values: np.ndarray) -> np.ndarray:
        summed = np.bincount(
            labels.ravel(), np.broadcast_to(values, labels.shape).ravel(), clusters
        )
        return summed / np.maximum(count, 1)

    border = _border(labels.shape[1:])
    on_border = np.bincount(labels[:, border].ravel(), minlength=clusters) / max(
        border.sum() * len(labels), 1
    )
    score = np.log(mean(_middle(labels.shape[1:])) + 1e-6)
    score += _SOLID * np.log(mean(_inner(labels)) + _LEAST_SOLID)
    score -= _LEAN * np.log((on_border + _LITTLE) / (count / labels.size + _LITTLE))
    if saliency is not None:
        score += _SALIENT * np.log(mean(saliency / saliency.mean((1, 2), keepdims=True)) + 1e-6)
    return np.where(count > 0, score, -np.inf)


def background(labels: np.ndarray, clusters: int, saliency: np.ndarray | None = None) -> np.ndarray:
    """Return which clusters are background, (C,) bool: those whose score is not above 0.75.

    If that leaves no object, the cluster with the highest score is one, its size counting by its
    root; empty clusters are background.
    """
    scores = object_scores(labels, clusters, saliency)
    found = ~(scores > THRESHOLD)
    if found.all():
        share = np.bincount(labels.ravel(), minlength=clusters) / labels.size
        found[(scores + 0.5 * np.log(np.maximum(share, 1e-12))).argmax()] = False
    return found


def _middle(grid: tuple[int, ...]) -> np.ndarray:
    """Return a Gaussian around the middle of the picture, of mean 1: (h, w)."""
    y, x = ((np.arange(side) + 0.5) / side - 0.5 for side in grid)
    near: np.ndarray = np.exp(-(y[:, None] ** 2 + x**2) / (2 * _SIGMA**2))
    return near / near.mean()


def _border(grid: tuple[int, ...]) -> np.ndarray:
    """Return which patches touch the border: (h, w) bool."""
    border = np.ones(grid, bool)
    border[1:-1, 1:-1] = False
    return border


def _inner(labels: np.ndarray) -> np.ndarray:
    """Return which patches have their own cluster on all four sides: (T, h, w) bool.

    Beyond the border of the picture, everything goes on as it is there.
    """
    around = np.pad(labels, ((0, 0), (1, 1), (1, 1)), mode="edge")
    sides = (around[:, :-2, 1:-1], around[:, 2:, 1:-1], around[:, 1:-1, :-2], around[:, 1:-1, 2:])
    inner: np.ndarray = np.logical_and.reduce([side == labels for side in sides])
    return inner
