"""Hierarchical clustering of attention rows by symmetric KL divergence (paper, 3.3).

T frames, N patches a frame, M = K·N entries a row, n rows of a window, L clusters.
Every row is a probability distribution over the patches of the key frames. The paper merges rows
greedily in raster order: first inside windows of three frames, then all windows' centroids until
their number stops falling. `find_clusters` does exactly that; what differs from the reference code
is how much work it takes:

- logs are taken once, and a self-distance needs one cross term instead of two;
- with one head the logs of rows are inner products, so that a self-distance needs no product of
  rows with logs at all (`HeadRows`);
- like rows are smoothed together, from those rows only that are near one of them;
- after smoothing, distances are taken from the few rows that may become seeds.

In float32 the result is the reference's. With bfloat16, the averages of step 1a are formed in
bfloat16 and, with several heads, so are the distances before it and the final assignment, on rows
and logs shifted by their mean, where rounding is harmless. Everything that decides which smoothed
rows and centroids merge stays in float32: the greedy order turns differences of 1e-3 in a distance
into other clusters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .attention import AttentionRows
from .settings import WINDOW

_SEEDS_AT_ONCE = 32  # candidate seeds whose distances are computed together
_SMOOTHED_AT_ONCE = 256  # like rows that are smoothed together
_ROWS_AT_ONCE = 128  # rows whose temporaries stay in the cache

Progress = Callable[[float], None]
Shift = tuple[Tensor, Tensor]  # (M,) each: what is taken from all rows and from all their logs


# ---- rows that know their distances -------------------------------------------------------------


@dataclass(frozen=True)
class LogRows:
    """Distributions with their logs, ready for distances.

    Symmetric KL is Σ (p-q)(log p - log q): it does not change when one vector is taken from all p
    and another from all log p. Shifted by the mean row, what is left are small numbers that
    bfloat16 holds well.
    """

    p: Tensor  # (n, M) distributions, shifted
    log: Tensor  # (n, M) their logs, shifted
    own: Tensor  # (n,) Σ p·log of each row, float32

    @classmethod
    def of(
        cls, rows: Tensor, shift: Shift | None = None, dtype: torch.dtype | None = None
    ) -> LogRows:
        """rows (n, M) float32, non-negative; zeros are allowed. dtype: None for float32."""
        dtype = dtype or rows.dtype
        p = rows if shift is None and dtype == rows.dtype else torch.empty_like(rows, dtype=dtype)
        log, own = torch.empty_like(p), rows.new_empty(len(rows))
        for block in _blocks(len(rows)):
            log_block = safe_log(rows[block])
            if shift is not None:
                log_block -= shift[1]
                p[block] = rows[block] - shift[0]
            elif p is not rows:
                p[block] = rows[block]
            log[block] = log_block
            own[block] = torch.linalg.vecdot(p[block].float(), log[block].float())
        return cls(p, log, own)

    def __getitem__(self, index: Tensor) -> LogRows:
        return LogRows(self.p[index], self.log[index], self.own[index])

    def log_dot(self, p: Tensor) -> Tensor:
        """Σ log·p of every own row with every given one: (m, M) → (n, m)."""
        return self.log @ p.T


@dataclass(frozen=True)
class HeadRows:
    """Rows of attention with one head, whose logs are never formed.

    log p_i(m) = s·q_i·k_m - const, and the constant meets differences of distributions only, which
    sum to 0. So Σ log p_i·p_j = s·q_i·(Σ_m p_j(m) k_m): d channels take the place of M entries.
    """

    p: Tensor  # (n, M) float32
    queries: Tensor  # (n, d) times the scale
    keys: Tensor  # (M, d)
    mean_keys: Tensor  # (n, d) Σ p·key of each row
    own: Tensor  # (n,) Σ log p·p of each row, but for the constant

    @classmethod
    def of(cls, rows: Tensor, attention: AttentionRows, frames: slice) -> HeadRows:
        """rows (n, M) of these frames of attention with one head."""
        queries = attention.scale * attention.queries[frames, 0].flatten(0, 1).float()
        mean_keys = attention.mean_keys(frames, rows)
        own = torch.linalg.vecdot(queries, mean_keys)
        return cls(rows, queries, attention.one_heads_keys, mean_keys, own)

    def log_dot(self, p: Tensor) -> Tensor:
        """Σ log·p of every own row with every given one, but for a constant a row."""
        mean_keys = self.mean_keys if p is self.p else p @ self.keys
        return self.queries @ mean_keys.T


def safe_log(rows: Tensor) -> Tensor:
    """Logs of probabilities; 0 counts as the smallest normal float, so none is infinite."""
    return rows.clamp_min(torch.finfo(rows.dtype).tiny).log_()


def symmetric_kl(a: LogRows | HeadRows, b: LogRows) -> Tensor:
    """KL(p‖q) + KL(q‖p) for all pairs: (len(a), len(b)) float32 (paper, eq. for the distance)."""
    return (a.own[:, None] - a.log_dot(b.p)).sub_(b.log_dot(a.p).T).add_(b.own)  # own is float32


def self_distances(rows: LogRows | HeadRows) -> Tensor:
    """Symmetric KL of all pairs of one set, (n, n) float32, by one product instead of two."""
    cross = rows.log_dot(rows.p)
    return torch.cat([_of_block(rows.own, cross, block) for block in _blocks(len(cross))])


def near_pairs(rows: LogRows | HeadRows, tau: float) -> Tensor:
    """Which pairs of one set lie within τ of each other: (n, n) bool, without all distances."""
    cross = rows.log_dot(rows.p)
    return torch.cat([_of_block(rows.own, cross, block) <= tau for block in _blocks(len(cross))])


def _of_block(own: Tensor, cross: Tensor, block: slice) -> Tensor:
    return (own[block, None] - cross[block]).sub_(cross[:, block].T).add_(own)


def _blocks(count: int) -> Iterator[slice]:
    return (slice(start, start + _ROWS_AT_ONCE) for start in range(0, count, _ROWS_AT_ONCE))


def window_rows(
    rows: Tensor, attention: AttentionRows, frames: slice, shift: Shift | None, dtype: torch.dtype
) -> LogRows | HeadRows:
    """Rows of a window, in the form that makes their distances cheapest."""
    if attention.heads == 1:
        return HeadRows.of(rows, attention, frames)
    return LogRows.of(rows, shift, dtype)


def mean_row(attention: AttentionRows) -> Shift:
    """Mean row and mean log row of a sample, (M,) each: the shift for bfloat16."""
    rows = attention.sampled_rows()
    return rows.mean(0), safe_log(rows).mean(0)


# ---- the paper's steps --------------------------------------------------------------------------


def like_groups(near: Tensor) -> np.ndarray:
    """Rough groups of like rows, (n, n) bool → (n,) int64. They decide about speed only."""
    rows = near.cpu().numpy()
    group = np.full(len(rows), -1, np.int64)
    for i, row in enumerate(rows):
        if group[i] < 0:
            group[row & (group < 0)] = i
            group[i] = i
    return group


def smooth(rows: Tensor, near: Tensor, alike: np.ndarray, dtype: torch.dtype) -> Tensor:
    """Step 1a: each row becomes the normalised sum of all rows near to it, itself included.

    rows (n, M) float32, near (n, n) bool → (n, M) float32. Rows of one group in `alike` (n,) have
    much the same neighbours. So they are smoothed together, from those rows only that any of them
    is near to: about a third of all.
    """
    near = near.clone().fill_diagonal_(True)
    by_group = torch.from_numpy(np.argsort(alike, kind="stable")).to(rows.device)
    source = rows.to(dtype)
    smoothed = torch.empty_like(rows)
    for block in by_group.split(_SMOOTHED_AT_ONCE):
        within = near[block]
        needed = within.any(0).nonzero().flatten()
        smoothed[block] = (within[:, needed].to(dtype) @ source[needed]).float()
    return smoothed.div_(smoothed.sum(1, keepdim=True))


def greedy_merge(rows: LogRows, tau: float, alike: np.ndarray | None = None) -> np.ndarray:
    """Step 1b: in order, take the next free row and let it absorb every free row within τ of it.

    Returns, for each row, the index of its cluster (n,) int64, numbered in order of discovery.
    Only rows that are still free when their turn comes need distances. Those of several likely ones
    are computed together: of the first free row of each group in `alike` (n,), since a group is
    mostly absorbed as a whole; without groups, of the next free rows.
    """
    count = len(rows.own)
    alike = np.arange(count) if alike is None else alike
    member = np.full(count, -1, np.int64)
    left, index = rows, np.arange(count)  # rows that are still worth a distance, and which they are
    within: dict[int, np.ndarray] = {}  # rows within τ of a likely seed
    for cluster in range(count):
        free = np.flatnonzero(member < 0)
        if not len(free):
            break
        seed = int(free[0])
        if seed not in within:
            if 2 * len(free) <= len(index):  # copying costs, so not at every turn
                left, index = rows[torch.from_numpy(free).to(rows.p.device)], free
            firsts = np.sort(np.unique(alike[free], return_index=True)[1])
            likely = free[firsts[:_SEEDS_AT_ONCE]]
            seeds = left[torch.from_numpy(np.searchsorted(index, likely)).to(rows.p.device)]
            near = (symmetric_kl(seeds, left) <= tau).cpu().numpy()
            within = {row: found for row, found in within.items() if member[row] < 0}
            within |= {int(row): index[hit] for row, hit in zip(likely, near, strict=True)}
        absorbed = within[seed]
        member[absorbed[member[absorbed] < 0]] = cluster
        member[seed] = cluster  # rounding may put a row farther than τ from itself
    return member


def centroids_of(rows: Tensor, member: np.ndarray) -> Tensor:
    """Plain mean of each cluster's rows: (n, M) and (n,) → (L, M) float32."""
    index = torch.from_numpy(member).to(rows.device)
    count = int(member.max()) + 1
    summed = rows.new_zeros(count, rows.shape[1]).index_add_(0, index, rows)
    return summed / torch.bincount(index, minlength=count)[:, None]


def merge_window(
    rows: Tensor, near: Tensor, tau: float, dtype: torch.dtype
) -> tuple[Tensor, np.ndarray]:
    """Level 1, for one window: smooth, merge, average.

    rows (n, M), near (n, n) bool → centroids (L, M) and the cluster of each row (n,).
    """
    alike = like_groups(near)
    smoothed = smooth(rows, near, alike, dtype)
    member = greedy_merge(LogRows.of(smoothed), tau, alike)
    return centroids_of(smoothed, member), member


@dataclass(frozen=True)
class Clusters:
    """What the paper's process finds, level by level (paper, Fig. 5)."""

    centroids: Tensor  # (L, M) float32: the last level's
    members: tuple[np.ndarray, ...]  # of each level: the cluster of every row, then of every
    # cluster of the level before; (T·N,), (L₁,), (L₂,), … int64

    def levels(self) -> list[np.ndarray]:
        """Cluster of every row after the window merge and after each global round: (T·N,) each."""
        labels = [self.members[0]]
        for member in self.members[1:]:
            labels.append(member[labels[-1]])
        return labels


def merge_globally(clusters: Clusters, tau: float) -> Clusters:
    """Following levels: merge all centroids until their number stops falling."""
    centroids, members = clusters.centroids, list(clusters.members)
    while True:
        member = greedy_merge(LogRows.of(centroids), tau)
        if member.max() + 1 == len(centroids):
            return Clusters(centroids, tuple(members))
        centroids = centroids_of(centroids, member)
        members.append(member)


def find_clusters(
    attention: AttentionRows,
    tau: float,
    *,
    dtype: torch.dtype = torch.float32,
    progress: Progress | None = None,
) -> Clusters:
    """The paper's hierarchical clustering: centroids and the levels that led to them.

    With dtype float32 this is the reference's result; see the top of this file for bfloat16.
    `progress` gets the share done, 0 … 1. Raises ValueError for τ that is not a number above 0.
    """
    if not 0 < tau < float("inf"):
        raise ValueError(f"tau must be a number above 0, not {tau}")
    shift = _shift_for(attention, dtype)
    centroids: list[Tensor] = []
    members: list[np.ndarray] = []
    found = 0
    for frames, rows in attention.windows(WINDOW):
        near = near_pairs(window_rows(rows, attention, frames, shift, dtype), tau)
        window_centroids, member = merge_window(rows, near, tau, dtype)
        centroids.append(window_centroids)
        members.append(member + found)
        found += len(window_centroids)
        if progress:
            progress(frames.stop / attention.frames)
    return merge_globally(Clusters(torch.cat(centroids), (np.concatenate(members),)), tau)


def _shift_for(attention: AttentionRows, dtype: torch.dtype) -> Shift | None:
    lossless = dtype == torch.float32 or attention.heads == 1
    return None if lossless else mean_row(attention)


# ---- labels -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Assignment:
    """The nearest clusters of every patch, nearest first, and what the patches of each look at."""

    index: Tensor  # (T, N, k) int64
    distance: Tensor  # (T, N, k) float32, symmetric KL
    mean_rows: Tensor  # (L, M) float32: mean row of the patches nearest to each cluster

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
    """Give each original row its `nearest` centroids by symmetric KL, window by window.

    centroids (L, M) float32. A cluster that is nearest to no row keeps its centroid as mean row.
    Raises ValueError for centroids that do not fit the rows.
    """
    if centroids.ndim != 2 or centroids.shape[1] != attention.width or not len(centroids):
        raise ValueError(
            f"centroids must be (clusters, {attention.width}) and at least one, "
            f"not {tuple(centroids.shape)}"
        )
    shift = _shift_for(attention, dtype)
    targets = LogRows.of(centroids, shift, dtype if shift else None)
    indices, distances = [], []
    summed, counts = torch.zeros_like(centroids), centroids.new_zeros(len(centroids))
    for frames, rows in attention.windows(WINDOW):
        to_targets = symmetric_kl(window_rows(rows, attention, frames, shift, dtype), targets)
        found = to_targets.topk(min(nearest, len(centroids)), dim=1, largest=False)
        indices.append(found.indices)
        distances.append(found.values)
        summed.index_add_(0, found.indices[:, 0], rows)
        counts += torch.bincount(found.indices[:, 0], minlength=len(centroids))
        if progress:
            progress(frames.stop / attention.frames)
    means = torch.where(counts[:, None] > 0, summed / counts.clamp_min(1)[:, None], centroids)
    shape = (attention.frames, attention.patches, -1)
    return Assignment(torch.cat(indices).reshape(shape), torch.cat(distances).reshape(shape), means)
