"""Other readings of the features of every patch: main components, [CLS], k-means.

T analysed frames, h×w patch grid, N = h·w, C channels.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bavos_core import Analysis
from bavos_io.stopping import checkpoint

from .base import most_clusters
from .parts import pack

_TAIL = 1.0  # percent of the patches that may be darkest, and brightest, in a component
_SAMPLED = 4096  # patches on which the means of k-means are found
_ROUNDS = 20


def readings_part(analysis: Analysis) -> bytes:
    """Return the readings of all analysed frames."""
    tokens = analysis.tokens
    count = min(analysis.tree.clusters_at(analysis.settings.tau), most_clusters(analysis))
    groups = kmeans(tokens.flatten(0, 1).numpy(), count, analysis.settings.seed)
    grid, fields = (len(tokens), *analysis.grid), {}
    blobs = {"pca": pca_colours(tokens).reshape(*grid, 3), "kmeans": groups.reshape(grid)}
    if analysis.saliency is not None:
        most = float(analysis.saliency.max())
        fields["cls_most"] = most
        blobs["cls"] = np.rint(analysis.saliency * (255 / max(most, 1e-12))).astype(np.uint8)
    return pack(fields, blobs)


def pca_colours(tokens: Tensor) -> np.ndarray:
    """Return the first three main components of tokens (T, N, C) as colours (T·N, 3) uint8."""
    flat = (tokens - tokens.mean((0, 1))).flatten(0, 1)
    _, axes = torch.linalg.eigh(flat.T @ flat)
    axes = axes.flip(1)[:, :3]
    axes = axes * torch.where(axes.sum(0) < 0, -1.0, 1.0)  # else the library chooses the sign
    shown = (flat @ axes).numpy()
    low, high = np.percentile(shown, [_TAIL, 100 - _TAIL], axis=0)
    scaled = (shown - low) / np.maximum(high - low, 1e-12) * 255
    colours: np.ndarray = scaled.clip(0, 255).round().astype(np.uint8)
    return colours


def kmeans(tokens: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return the group of each of some tokens (n, C) by k-means, (n,) uint8.

    There are `count` groups, or as many as there are different tokens. They are found on an even
    sample of the tokens, from seeds that are spread as by k-means++.
    """
    some = tokens[:: max(1, len(tokens) // _SAMPLED)]
    means = _spread(some, count, np.random.default_rng(seed))
    for _ in range(_ROUNDS):
        checkpoint()
        members = np.eye(len(means), dtype=np.float32)[_nearest(some, means)]
        size = members.sum(0)[:, None]
        means = np.where(size > 0, members.T @ some / np.maximum(size, 1), means)
    return _nearest(tokens, means).astype(np.uint8)


def _spread(tokens: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """Return up to `count` of some tokens (n, C), each drawn by its squared distance to others."""
    chosen = [tokens[random.integers(len(tokens))]]
    apart = ((tokens - chosen[0]) ** 2).sum(1, dtype=np.float64)
    while len(chosen) < count and apart.any():
        checkpoint()
        chosen.append(tokens[random.choice(len(tokens), p=apart / apart.sum())])
        apart = np.minimum(apart, ((tokens - chosen[-1]) ** 2).sum(1))
    return np.stack(chosen)


def _nearest(tokens: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Return the nearest mean (k, C) of each token (n, C): (n,) int64."""
    found: np.ndarray = ((means**2).sum(1) - 2 * tokens @ means.T).argmin(1)
    return found
