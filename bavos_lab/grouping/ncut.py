"""Normalised cut over space and time.

TokenCut (Wang et al., CVPR 2022) joins two patches of an image if the cosine of their keys is above
0.2, and cuts the graph in two by the second eigenvector of its Laplacian. Here the graph spans the
clip, so it is sparse: a patch is joined to the patches most like it in its own frame and in the
next one, and to its neighbours; K groups are read from the first K eigenvectors (Ng, Jordan and
Weiss, NIPS 2001).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from scipy.sparse import coo_array, csr_array, diags_array
from scipy.sparse.linalg import eigsh
from torch import Tensor
from torch.nn import functional as F

from bavos_core.progress import checkpoint

from .kmeans import nearest_means

_LIKE = 0.2  # cosine above which patches are joined (TokenCut)
_MOST = 16  # patches of one frame that a patch is joined to
_TOLERANCE = 1e-4


def normalised_cut(tokens: Tensor, grid: tuple[int, int], groups: int) -> np.ndarray:
    """Return the groups of the patches of all frames by a normalised cut, (T, N) int64.

    tokens (T, N, C) float32; grid (h, w). Deterministic.
    """
    graph = _graph(F.normalize(tokens, dim=-1), grid)
    scale = diags_array(1 / np.sqrt(graph.sum(axis=1)))
    start = np.ones(graph.shape[0])
    _, vectors = eigsh(scale @ graph @ scale, groups, which="LA", v0=start, tol=_TOLERANCE)
    rows = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return nearest_means(rows, groups).reshape(tokens.shape[:2])


def _graph(tokens: Tensor, grid: tuple[int, int]) -> csr_array:
    """Return the weights between all patches of the clip, (T·N, T·N), symmetric."""
    first, second = (torch.cat(ends).numpy() for ends in zip(*_edges(tokens, grid), strict=True))
    total = tokens.shape[0] * tokens.shape[1]
    graph = coo_array((np.ones(len(first)), (first, second)), shape=(total, total)).tocsr()
    return ((graph + graph.T) > 0).astype(np.float64)


def _edges(tokens: Tensor, grid: tuple[int, int]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the ends of edges as numbers of patches in 0 … T·N-1."""
    frames, patches = tokens.shape[:2]
    numbers = torch.arange(frames * patches).view(frames, *grid)
    yield numbers[:, 1:].flatten(), numbers[:, :-1].flatten()
    yield numbers[:, :, 1:].flatten(), numbers[:, :, :-1].flatten()
    for frame in range(frames):
        checkpoint()
        for other in range(frame, min(frame + 2, frames)):
            alike, place = (tokens[frame] @ tokens[other].T).topk(min(_MOST, patches))
            from_ = torch.arange(patches)[:, None].expand_as(place)
            joined = alike > _LIKE
            yield frame * patches + from_[joined], other * patches + place[joined]
