"""Hierarchical clustering of attention rows by symmetric KL divergence (paper, 3.3).

T frames, N patches a frame, M = K·N entries a row, n rows of a window, L clusters.
Every row is a probability distribution over the patches of the key frames. The paper merges rows
greedily in raster order: first inside windows of three frames, then all windows' centroids until
their number stops falling. `find_clusters` does exactly that; what differs from the reference code
is how much work it takes:

- logs are taken once, and a self-distance needs one cross term instead of two;
- with one head the logs of rows are inner products, so that a self-distance needs no product of
  rows with logs at all (`HeadRows`); with bfloat16 few directions stand for the logs (`Sketch`);
- like rows are smoothed together, from those rows only that are near one of them;
- after smoothing, distances are taken from the few rows that become seeds, which a merge on a few
  columns foretells.

In float32 the result is the reference's. With bfloat16, the averages of step 1a are formed in
bfloat16, and the distances before it and the final assignment are those of a sketch. Everything
that decides which smoothed rows and centroids merge stays in float32: the greedy order turns
differences of 1e-3 in a distance into other clusters.
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
_ROWS_AT_ONCE = 256  # rows whose temporaries stay in the cache
_COLUMNS_THAT_FORETELL = 300  # columns of rows that are merged to foretell seeds
_RARE = 1e-3  # times an even share: a column counts at least so much in a sketch
_DIRECTIONS = 128  # of a sketch

Progress = Callable[[float], None]
Inner = tuple[Tensor, Tensor, Tensor]  # queries (n, d), mean keys (n, d) and own (n,) of rows


# ---- rows that know their distances -------------------------------------------------------------


@dataclass(frozen=True)
class LogRows:
    """Distributions with their logs, ready for distances."""

    p: Tensor  # (n, M) distributions
    log: Tensor  # (n, M) their logs
    own: Tensor  # (n,) Σ p·log of each row

    @classmethod
    def of(cls, rows: Tensor) -> LogRows:
        """rows (n, M) float32, non-negative; zeros are allowed."""
        log, own = torch.empty_like(rows), rows.new_empty(len(rows))
        for block in _blocks(len(rows)):
            log[block] = safe_log(rows[block])
            own[block] = (rows[block] * log[block]).sum(1)
        return cls(rows, log, own)

    def __getitem__(self, index: Tensor) -> LogRows:
        return LogRows(self.p[index], self.log[index], self.own[index])

    def log_dot(self, p: Tensor) -> Tensor:
        """Σ log·p of every own row with every given one: (m, M) → (n, m)."""
        return self.log @ p.T

    def thinned(self) -> LogRows:
        """Return about 300 columns of all M, whose distances are roughly those of the rows."""
        every = self.p.shape[1] // _COLUMNS_THAT_FORETELL | 1  # odd: a grid's columns are even
        p, log = every * self.p[:, ::every], self.log[:, ::every].contiguous()
        return LogRows(p, log, (p * log).sum(1))


@dataclass(frozen=True)
class Sketch:
    """The directions in which the logs of a clip's rows differ most, from a sample of them.

    A log row is its mean plus an inner product of a few numbers with a key of every column. Columns
    count by their mean probability, as they do in a distance.
    """

    mean: Tensor  # (M,) mean row
    mean_log: Tensor  # (M,) mean log row
    axes: Tensor  # (M, d): logs, shifted by their mean, to the numbers of a row
    keys: Tensor  # (M, d+1): those numbers to logs; the last is the mean log, that counts once

    @classmethod
    def of(cls, attention: AttentionRows) -> Sketch:
        """Take the principal directions of a sample."""
        rows = attention.sampled_rows()
        log = safe_log(rows)
        mean, mean_log = rows.mean(0), log.mean(0)
        weight = (mean + _RARE / len(mean)).sqrt()
        spread = ((log - mean_log) * weight).double()  # (sampled, M)
        power, directions = torch.linalg.eigh(spread @ spread.T)
        power, directions = power[-_DIRECTIONS:], directions[:, -_DIRECTIONS:]
        kept = power > 1e-9 * power[-1]
        axes = (spread.T @ (directions[:, kept] / power[kept].sqrt())).float()  # orthonormal
        keys = torch.cat([axes / weight[:, None], mean_log[:, None]], 1)
        keys -= mean @ keys  # a common part changes no row
        return cls(mean, mean_log, axes * weight[:, None], keys)

    def inner(self, rows: Tensor) -> Inner:
        """Return what distances need of rows (n, M)."""
        queries = rows.new_ones(len(rows), self.keys.shape[1])
        mean_keys, own = torch.empty_like(queries), rows.new_empty(len(rows))
        for block in _blocks(len(rows)):
            log = safe_log(rows[block])
            own[block] = (log * rows[block]).sum(1) - log @ self.mean
            queries[block, :-1] = log.sub_(self.mean_log) @ self.axes
            torch.mm(rows[block], self.keys, out=mean_keys[block])
        return queries, mean_keys, own


@dataclass(frozen=True)
class HeadRows:
    """Rows whose logs are inner products of a query and keys, and are never formed.

    With one head, log p_i(m) = s·q_i·k_m - const, and the constant meets differences of
    distributions only, which sum to 0. So Σ log p_i·p_j = s·q_i·(Σ_m p_j(m) k_m): d channels take
    the place of M entries. In a sketch, queries and keys are its own.
    """

    p: Tensor  # (n, M) float32
    queries: Tensor  # (n, d) times the scale
    keys: Tensor  # (M, d)
    mean_keys: Tensor  # (n, d) Σ p·key of each row
    own: Tensor  # (n,) Σ log p·p of each row, but for the constant

    @classmethod
    def of(cls, rows: Tensor, attention: AttentionRows, frames: slice) -> HeadRows:
        """rows (n, M) of these frames of attention with one head."""
        keys = attention.one_heads_keys

        def inner() -> Inner:
            queries = attention.scale * attention.queries[frames, 0].flatten(0, 1).float()
            mean_keys = rows @ keys
            return queries, mean_keys, torch.linalg.vecdot(queries, mean_keys)

        queries, mean_keys, own = attention.once((frames.start, frames.stop), inner)
        return cls(rows, queries, keys, mean_keys, own)

    @classmethod
    def sketched(cls, rows: Tensor, attention: AttentionRows, frames: slice) -> HeadRows:
        """rows (n, M) of these frames, whose distances are only nearly those of the rows."""
        sketch = attention.once("sketch", lambda: Sketch.of(attention))
        queries, mean_keys, own = attention.once(
            ("sketched", frames.start, frames.stop), lambda: sketch.inner(rows)
        )
        return cls(rows, queries, sketch.keys, mean_keys, own)

    def log_dot(self, p: Tensor) -> Tensor:
        """Σ log·p of every own row with every given one, but for a constant a row."""
        mean_keys = self.mean_keys if p is self.p else p @ self.keys
        return self.queries @ mean_keys.T

    def near(self, tau: float) -> Tensor:
        """Return which pairs lie within τ of each other, (n, n) bool, by one product."""
        own, ones = self.own[:, None], torch.ones_like(self.own[:, None])
        left = torch.cat([self.queries, self.mean_keys, own, ones], 1)
        right = torch.cat([self.mean_keys, self.queries, -ones, -own], 1)
        near = torch.empty(len(own), len(own), dtype=torch.bool, device=own.device)
        for block in _blocks(len(own)):
            within = left[block] @ right[block.start :].T >= -tau
            near[block, block.start :] = within
            near[block.start :, block] = within.T
        return near


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
    if isinstance(rows, HeadRows):
        return rows.near(tau)
    cross = rows.log_dot(rows.p)
    return torch.cat([_of_block(rows.own, cross, block) <= tau for block in _blocks(len(cross))])


def _of_block(own: Tensor, cross: Tensor, block: slice) -> Tensor:
    return (own[block, None] - cross[block]).sub_(cross[:, block].T).add_(own)


def _blocks(count: int) -> Iterator[slice]:
    return (slice(start, start + _ROWS_AT_ONCE) for start in range(0, count, _ROWS_AT_ONCE))


def window_rows(
    rows: Tensor, attention: AttentionRows, frames: slice, dtype: torch.dtype
) -> LogRows | HeadRows:
    """Rows of a window, in the form that makes their distances cheapest."""
    if attention.heads == 1:
        return HeadRows.of(rows, attention, frames)
    if dtype != torch.float32:
        return HeadRows.sketched(rows, attention, frames)
    return LogRows.of(rows)


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
        within = near.index_select(0, block)
        needed = within.any(0).nonzero().flatten()
        weights = within.index_select(1, needed).to(dtype)
        summed = (weights @ source.index_select(0, needed)).float()
        smoothed[block] = summed.div_(summed.sum(1, keepdim=True))
    return smoothed


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
            likely = [row for row in free[firsts].tolist() if row not in within][:_SEEDS_AT_ONCE]
            seeds = left[torch.from_numpy(np.searchsorted(index, likely)).to(rows.p.device)]
            near = (symmetric_kl(seeds, left) <= tau).cpu().numpy()
            within |= {row: index[hit] for row, hit in zip(likely, near, strict=True)}
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
    logs = LogRows.of(smoothed)
    member = greedy_merge(logs, tau, greedy_merge(logs.thinned(), tau, alike))
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
    centroids: list[Tensor] = []
    members: list[np.ndarray] = []
    found = 0
    for frames, rows in attention.windows(WINDOW):
        near = near_pairs(window_rows(rows, attention, frames, dtype), tau)
        window_centroids, member = merge_window(rows, near, tau, dtype)
        centroids.append(window_centroids)
        members.append(member + found)
        found += len(window_centroids)
        if progress:
            progress(frames.stop / attention.frames)
    return merge_globally(Clusters(torch.cat(centroids), (np.concatenate(members),)), tau)


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
    targets = LogRows.of(centroids)
    indices, distances = [], []
    summed, counts = torch.zeros_like(centroids), centroids.new_zeros(len(centroids))
    for frames, rows in attention.windows(WINDOW):
        to_targets = symmetric_kl(window_rows(rows, attention, frames, dtype), targets)
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
