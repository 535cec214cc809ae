"""The clustering structured as the reference code: the baseline of the benchmark.

Attention of all heads at once, computed twice; distance matrices from two products and fresh logs;
a merge loop over all rows. Written from the paper's steps, for comparison only.

T frames, H heads, N patches a frame, M = K·N entries a row, L clusters.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bavos_core.attention import AttentionRows
from bavos_core.settings import WINDOW


def naive_rows(attention: AttentionRows, start: int, stop: int) -> Tensor:
    """Return the rows of frames start … stop-1, all heads at once: ((stop-start)·N, M) float32."""
    logits = torch.einsum("qhnc,khmc->qkhnm", attention.queries[start:stop], attention.keys)
    logits = (logits * attention.scale).permute(0, 3, 2, 1, 4).flatten(3).flatten(0, 1)  # (n, H, M)
    rows = logits.softmax(-1).mean(1)
    return rows / rows.sum(-1, keepdim=True)


def naive_distances(p: Tensor, q: Tensor) -> Tensor:
    """Return the symmetric KL divergence of all pairs (n, m), from two products and four logs."""
    own = torch.einsum("nc,nc->n", p, p.log())[:, None] + torch.einsum("mc,mc->m", q, q.log())
    cross = torch.einsum("nc,mc->nm", p, q.log()) + torch.einsum("mc,nc->nm", q, p.log())
    return own - cross


def naive_smooth(rows: Tensor, tau: float) -> Tensor:
    """Average each row of a window (n, M) with its near rows (paper, step 1a)."""
    near = (naive_distances(rows, rows) <= tau).to(rows.dtype)
    summed = torch.einsum("bn,nc->bc", near, rows)
    return summed / summed.sum(1, keepdim=True)


def naive_merge(rows: Tensor, tau: float) -> Tensor:
    """Merge rows greedily, one after the other: (n, M) → (L, M) (paper, step 1b)."""
    distances = naive_distances(rows, rows)
    free = torch.ones(len(rows), dtype=torch.bool, device=rows.device)
    centroids = []
    for i in range(len(rows)):
        if not free[i]:
            continue
        absorbed = (distances[i] <= tau) & free
        absorbed[i] = True
        centroids.append(rows[absorbed].mean(0))
        free &= ~absorbed
    return torch.stack(centroids)


def naive_centroids(attention: AttentionRows, tau: float) -> Tensor:
    """Return the centroids of all levels (L, M)."""
    windows = [
        naive_merge(naive_smooth(naive_rows(attention, start, start + WINDOW), tau), tau)
        for start in range(0, attention.frames, WINDOW)
    ]
    centroids = torch.cat(windows)
    while True:
        merged = naive_merge(centroids, tau)
        if len(merged) == len(centroids):
            return merged
        centroids = merged


def naive_labels(attention: AttentionRows, centroids: Tensor) -> Tensor:
    """Return the nearest centroid of every row (T·N,)."""
    return torch.cat(
        [
            naive_distances(centroids, naive_rows(attention, start, start + WINDOW)).argmin(0)
            for start in range(0, attention.frames, WINDOW)
        ]
    )
