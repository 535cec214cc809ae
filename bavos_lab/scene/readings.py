"""Other readings of the features of every patch: main components, [CLS], k-means.

T analysed frames, h×w patch grid, N = h·w, C channels.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.cluster.vq import kmeans2

from bavos_core import Analysis

from .base import most_clusters
from .parts import pack

_TAIL = 1.0  # percent of the patches that may be darkest, and brightest, in a component
_SAMPLED = 4096  # patches on which the means of k-means are found
_ROUNDS = 20


def readings_part(analysis: Analysis) -> bytes:
    """Return the readings of all analysed frames."""
    blobs = {"pca": pca_colours(analysis), "kmeans": kmeans(analysis)}
    fields = {}
    if analysis.saliency is not None:
        most = float(analysis.saliency.max())
        fields["cls_most"] = most
        blobs["cls"] = np.rint(analysis.saliency * (255 / max(most, 1e-12))).astype(np.uint8)
    return pack(fields, blobs)


def pca_colours(analysis: Analysis) -> np.ndarray:
    """Return the first three main components as colours (T, h, w, 3) uint8."""
    tokens = analysis.tokens
    flat = (tokens - tokens.mean((0, 1))).flatten(0, 1)  # (T·N, C)
    _, axes = torch.linalg.eigh(flat.T @ flat)
    axes = axes.flip(1)[:, :3]
    axes = axes * axes.sum(0).sign()  # else the sign would be the library's choice
    shown = (flat @ axes).numpy()
    low, high = np.percentile(shown, [_TAIL, 100 - _TAIL], axis=0)
    scaled = (shown - low) / np.maximum(high - low, 1e-12) * 255
    pixels: np.ndarray = scaled.clip(0, 255).round().astype(np.uint8)
    return pixels.reshape(len(tokens), *analysis.grid, -1)


def kmeans(analysis: Analysis) -> np.ndarray:
    """Return the features divided by k-means into the usual number of clusters (T, h, w) uint8."""
    tokens = analysis.tokens.flatten(0, 1).numpy()
    count = min(analysis.tree.clusters_at(analysis.settings.tau), most_clusters(analysis))
    some = tokens[:: max(1, len(tokens) // _SAMPLED)]
    seed = analysis.settings.seed
    means, _ = kmeans2(some, min(count, len(some)), _ROUNDS, minit="++", seed=seed)
    apart = (means**2).sum(1) - 2 * tokens @ means.T
    found: np.ndarray = apart.argmin(1).astype(np.uint8)
    return found.reshape(-1, *analysis.grid)
