"""A label-free measure of a correlator, since the losses keep falling after quality stops rising.

A correlator is good if its attention yields a plausible number of clusters that follow their
content from frame to frame, and does so for several τ: blurred rows collapse into one cluster as
soon as τ rises. Score = sanity × stability, the mean over windows and over τ = 1, 1.5 and 2:

- sanity, 0 … 1: 1 for 3 to 30 clusters; (clusters - 1) / 2 below, so 0 for a single cluster;
  30 / clusters above.
- stability, 0 … 1: every patch is matched with the most similar patch of the frame before, by the
  features that enter the correlator; how often both have the same cluster, corrected for chance
  (Cohen's kappa).

T frames of a window, h×w patch grid, N = h·w, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from bavos_core.attention import AttentionRows
from bavos_core.clustering import assign, find_clusters
from bavos_core.correlator import TrainedCorrelator
from bavos_core.distances import KEPT_BYTES, Windows
from bavos_core.settings import PAPER_TAU

from .data import TrainingClip

_WINDOWS = 6  # at most, one of each held-out clip
_FRAMES = 4  # of a window
_SIDE = 24  # patches: longer sides of a grid are thinned out, for speed
_KEY_EVERY = 2  # frames of a window
_TAUS = (PAPER_TAU, 1.5, 2.0)
_FEWEST, _MOST = 3, 30  # plausible clusters of a scene


@dataclass(frozen=True)
class Measure:
    """The measure, as means over all windows."""

    score: float  # 0 … 1, over all τ
    clusters: float  # at τ = 1
    stability: float  # 0 … 1, over all τ


def held_out_windows(clips: Sequence[TrainingClip], gap: int) -> list[Tensor]:
    """Return features (T, N, C) of a few frames from the middle of each of the first clips."""
    windows = []
    for clip in clips[:_WINDOWS]:
        count = min(_FRAMES, len(clip))
        step = max(1, min(gap, (len(clip) - 1) // max(count - 1, 1)))
        start = (len(clip) - 1 - step * (count - 1)) // 2
        tokens = clip.tokens(range(start, start + step * count, step))
        windows.append(_thinned(tokens, clip.grid))
    return windows


def measure(trained: TrainedCorrelator, windows: Sequence[Tensor]) -> Measure:
    """Measure on windows (T, N, C) of features, at least one; deterministic."""
    seen = [_measure_window(trained, window.to(trained.mean.device)) for window in windows]
    clusters, steady = (np.array(values) for values in zip(*seen, strict=True))  # (windows, τ)
    scores = np.vectorize(sanity, otypes=[float])(clusters) * steady
    return Measure(float(scores.mean()), float(clusters[:, 0].mean()), float(steady.mean()))


def _measure_window(trained: TrainedCorrelator, tokens: Tensor) -> tuple[list[int], list[float]]:
    """Return the number of clusters and the stability for each τ."""
    queries, keys = trained.queries_keys(tokens)
    attention = AttentionRows(queries, keys[::_KEY_EVERY], trained.scale)
    windows = Windows(attention, keep=KEPT_BYTES)
    features = trained.standardised(tokens)
    clusters, steady = [], []
    for tau in _TAUS:
        centroids = find_clusters(windows, tau).centroids
        labels = assign(windows, centroids).labels.cpu().numpy()  # (T, N)
        clusters.append(len(np.unique(labels)))
        steady.append(stability(labels, features))
    return clusters, steady


def sanity(clusters: int) -> float:
    """Return 1 for 3 to 30 clusters, less for fewer and for more, 0 for one."""
    return min(1.0, (clusters - 1) / (_FEWEST - 1), _MOST / clusters)


def stability(labels: np.ndarray, features: Tensor) -> float:
    """Return the mean agreement of adjacent frames; labels (T, N), features (T, N, C)."""
    unit = F.normalize(features, dim=-1)
    agreements = []
    for before in range(len(labels) - 1):
        likest = (unit[before + 1] @ unit[before].T).argmax(1).cpu().numpy()  # (N,)
        agreements.append(beyond_chance(labels[before][likest], labels[before + 1]))
    return float(np.mean(agreements)) if agreements else 1.0


def beyond_chance(first: np.ndarray, second: np.ndarray) -> float:
    """Return Cohen's kappa of two labellings (N,), at least 0; 0 if both have one label only."""
    seen = (first == second).mean()
    size = max(first.max(), second.max()) + 1
    by_chance = (
        np.bincount(first, minlength=size) @ np.bincount(second, minlength=size) / len(first) ** 2
    )
    return max(0.0, float((seen - by_chance) / (1 - by_chance))) if by_chance < 1 else 0.0


def _thinned(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """Keep every k-th row and column, so that no side is much longer than 24 patches."""
    every = max(1, round(max(grid) / _SIDE))
    return tokens.unflatten(1, grid)[:, ::every, ::every].flatten(1, 2).contiguous()
