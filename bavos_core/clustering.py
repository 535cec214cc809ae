"""Hierarchical clustering of attention rows by symmetric KL divergence (paper, 3.3).

T frames, N patches a frame, M = K·N entries a row, L clusters.
Every row is a probability distribution over the patches of the key frames. The paper merges rows
greedily in raster order: first inside windows of three frames, then all windows' centroids until
their number stops falling. `find_clusters` does exactly that; what differs from the reference code
is only how much work it takes: one cross term for a self-distance, logs taken once, distances
only from rows that may become seeds, and a block of candidate seeds at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .attention import AttentionRows
from .settings import WINDOW

_SEEDS_AT_ONCE = 256  # candidate seeds whose distances are computed together
_ROWS_AT_ONCE = 128  # rows whose logs are taken together

Progress = Callable[[float], None]


@dataclass(frozen=True)
class LogRows:
    """Distributions with their logs, ready for distances.

    Symmetric KL is Σ (p-q)(log p - log q): it does not change when one vector is taken from all p
    and another from all log p. Both are shifted by the mean row (`centre`), which leaves small
    numbers that bfloat16 holds well; in float32 the shift is zero and the arithmetic the paper's.
    """

    p: Tensor  # (n, M) shifted distributions
    log: Tensor  # (n, M) shifted logs
    own: Tensor  # (n,) Σ p·log of each row, float32

    @classmethod
    def of(cls, rows: Tensor, centre: tuple[Tensor, Tensor] | None, dtype: torch.dtype) -> LogRows:
        """rows (n, M) float32, non-negative; zeros are allowed."""
        p, log = torch.empty_like(rows, dtype=dtype), torch.empty_like(rows, dtype=dtype)
        own = rows.new_empty(len(rows))
        for start in range(0, len(rows), _ROWS_AT_ONCE):  # temporaries that stay in the cache
            block = slice(start, start + _ROWS_AT_ONCE)
            p_block, log_block = rows[block], safe_log(rows[block])
            if centre is not None:
                p_block, log_block = p_block - centre[0], log_block - centre[1]
            p[block], log[block] = p_block, log_block
            own[block] = torch.linalg.vecdot(p[block].float(), log[block].float())
        return cls(p, log, own)

    def __getitem__(self, index: Tensor) -> LogRows:
        return LogRows(self.p[index], self.log[index], self.own[index])

    def __len__(self) -> int:
        return len(self.own)


def safe_log(rows: Tensor) -> Tensor:
    """Logs of probabilities; 0 counts as the smallest normal float, so none is infinite."""
    return rows.clamp_min(torch.finfo(rows.dtype).tiny).log()


def symmetric_kl(a: LogRows, b: LogRows) -> Tensor:
    """KL(p‖q) + KL(q‖p) for all pairs: (len(a), len(b)) float32 (paper, eq. for the distance)."""
    cross = (a.p @ b.log.T).float() + (a.log @ b.p.T).float()
    return a.own[:, None] + b.own - cross


def self_distances(rows: LogRows) -> Tensor:
    """Symmetric KL of all pairs of one set, (n, n), from one matrix product instead of two."""
    cross = (rows.p @ rows.log.T).float()
    distances = rows.own[:, None] - cross
    return distances.add_(rows.own).sub_(cross.T)  # in place: memory traffic is what costs


def smooth(rows: Tensor, distances: Tensor, tau: float, dtype: torch.dtype) -> Tensor:
    """Step 1a: each row becomes the normalised sum of all rows within τ of it, itself included.

    rows (n, M) float32, distances (n, n) → (n, M) float32.
    """
    within = (distances <= tau).fill_diagonal_(True)
    summed = (within.to(dtype) @ rows.to(dtype)).float()
    return summed / summed.sum(1, keepdim=True)


def greedy_merge(rows: LogRows, tau: float) -> np.ndarray:
    """Step 1b: in order, take the next free row and let it absorb every free row within τ of it.

    Returns, for each row, the index of its cluster (n,) int64, numbered in order of discovery.
    Only free rows can be seeds, so distances are computed for the next few free rows at a time;
    a candidate that an earlier one absorbs is skipped.
    """
    member = np.full(len(rows), -1, np.int64)
    clusters = 0
    while (member < 0).any():
        free = np.flatnonzero(member < 0)
        candidates = free[:_SEEDS_AT_ONCE]
        free_index = torch.from_numpy(free).to(rows.p.device)
        seeds = rows[free_index[: len(candidates)]]
        others = rows if len(free) == len(rows) else rows[free_index]
        within = (symmetric_kl(seeds, others) <= tau).cpu().numpy()
        for seed, near in zip(candidates, within, strict=True):
            if member[seed] < 0:
                absorbed = free[near]
                absorbed = absorbed[member[absorbed] < 0]
                member[absorbed] = clusters
                member[seed] = clusters  # rounding may put a row farther than τ from itself
                clusters += 1
    return member


def centroids_of(rows: Tensor, member: np.ndarray) -> Tensor:
    """Plain mean of each cluster's rows: (n, M) and (n,) → (L, M) float32."""
    index = torch.from_numpy(member).to(rows.device)
    count = int(member.max()) + 1
    summed = rows.new_zeros(count, rows.shape[1]).index_add_(0, index, rows)
    return summed / torch.bincount(index, minlength=count)[:, None]


def merge_window(
    rows: Tensor, tau: float, centre: tuple[Tensor, Tensor] | None, dtype: torch.dtype
) -> Tensor:
    """Level 1, for one window: smooth, merge, average. rows (n, M) → centroids (L, M)."""
    distances = self_distances(LogRows.of(rows, centre, dtype))
    smoothed = smooth(rows, distances, tau, dtype)
    return centroids_of(smoothed, greedy_merge(LogRows.of(smoothed, centre, dtype), tau))


def merge_globally(
    centroids: Tensor, tau: float, centre: tuple[Tensor, Tensor] | None, dtype: torch.dtype
) -> Tensor:
    """Following levels: merge all centroids until their number stops falling. (L, M) → (L', M)."""
    while True:
        member = greedy_merge(LogRows.of(centroids, centre, dtype), tau)
        merged = centroids_of(centroids, member)
        if len(merged) == len(centroids):
            return merged
        centroids = merged


def find_clusters(
    attention: AttentionRows,
    tau: float,
    *,
    dtype: torch.dtype = torch.float32,
    progress: Progress | None = None,
) -> Tensor:
    """The paper's hierarchical clustering: cluster centroids (L, M) float32.

    With dtype float32 this is the reference's result; bfloat16 does the matrix products in lower
    precision on rows and logs shifted by their mean. `progress` gets the share done, 0 … 1.
    Raises ValueError for τ that is not above 0.
    """
    if not tau > 0:
        raise ValueError(f"tau must be above 0, not {tau}")
    centre = None if dtype == torch.float32 else mean_row(attention)
    windows: list[Tensor] = []
    for rows in attention.windows(WINDOW):
        windows.append(merge_window(rows, tau, centre, dtype))
        if progress:
            progress(min(1.0, len(windows) * WINDOW / attention.frames))
    return merge_globally(torch.cat(windows), tau, centre, dtype)


def mean_row(attention: AttentionRows) -> tuple[Tensor, Tensor]:
    """Mean row and mean log row over a few frames, (M,) each: the shift for bfloat16."""
    step = max(1, attention.frames // 4)
    frames = torch.arange(0, attention.frames, step)
    rows = torch.cat([attention.rows(int(t), int(t) + 1)[::8] for t in frames])
    return rows.mean(0), safe_log(rows).mean(0)


@dataclass(frozen=True)
class Assignment:
    """The nearest clusters of every patch, nearest first."""

    index: Tensor  # (T, N, k) int64
    distance: Tensor  # (T, N, k) float32, symmetric KL

    @property
    def labels(self) -> Tensor:
        """Nearest cluster of every patch (T, N)."""
        return self.index[..., 0]


def assign(
    attention: AttentionRows,
    centroids: Tensor,
    *,
    nearest: int = 1,
    dtype: torch.dtype = torch.float32,
    progress: Progress | None = None,
) -> Assignment:
    """Give each original row its `nearest` centroids by symmetric KL, window by window."""
    centre = None if dtype == torch.float32 else mean_row(attention)
    targets = LogRows.of(centroids, centre, dtype)
    found = []
    for i, rows in enumerate(attention.windows(WINDOW)):
        distances = symmetric_kl(LogRows.of(rows, centre, dtype), targets)
        found.append(distances.topk(min(nearest, len(targets)), dim=1, largest=False))
        if progress:
            progress(min(1.0, (i + 1) * WINDOW / attention.frames))
    shape = (attention.frames, attention.patches, -1)
    return Assignment(
        torch.cat([f.indices for f in found]).reshape(shape),
        torch.cat([f.values for f in found]).reshape(shape),
    )
