"""Hierarchical clustering of attention rows by symmetric KL divergence (paper, 3.3).

T frames, N patches a frame, M = K·N entries a row, n rows of a window, L clusters.
Every row is a probability distribution over the patches of the key frames. The paper merges rows
greedily in raster order: first inside windows of three frames, then all windows' centroids until
their number stops falling. `find_clusters` does exactly that with less work than the reference
code; see *Clustering* in ARCHITECTURE.md. In float32 the result is the reference's. With bfloat16,
logits and the averages of step 1a are bfloat16, and the distances before it and in the assignment
are those of a sketch; whatever decides which smoothed rows and centroids merge stays in float32.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .distances import LogRows, Windows, near_pairs, symmetric_kl
from .progress import Progress, Stage, checkpoint, silent

_SEEDS_AT_ONCE = 32  # candidate seeds whose distances are computed together
_SMOOTHED_AT_ONCE = 256  # similar rows that are smoothed together


def like_groups(near: Tensor) -> np.ndarray:
    """Return rough groups of similar rows, (n, n) bool → (n,) int64. They affect speed only."""
    rows = near.cpu().numpy()
    group = np.full(len(rows), -1, np.int64)
    for i, row in enumerate(rows):
        if group[i] < 0:
            group[row & (group < 0)] = i
            group[i] = i
    return group


def smooth(rows: Tensor, near: Tensor, alike: np.ndarray, dtype: torch.dtype) -> Tensor:
    """Replace each row by the normalised sum of all rows near it, itself included (step 1a).

    rows (n, M) float32, near (n, n) bool → (n, M) float32. Rows of one group in `alike` (n,) have
    nearly the same neighbours, so they are smoothed together, using only rows that are near any
    of them: about a third of all.
    """
    near = near.clone().fill_diagonal_(True)
    by_group = torch.from_numpy(np.argsort(alike, kind="stable")).to(rows.device)
    source = rows.to(dtype)
    smoothed = torch.empty_like(rows)
    for block in by_group.split(_SMOOTHED_AT_ONCE):
        checkpoint()
        within = near.index_select(0, block)
        needed = within.any(0).nonzero().flatten()
        weights = within.index_select(1, needed).to(dtype)
        summed = (weights @ source.index_select(0, needed)).float()
        smoothed[block] = summed.div_(summed.sum(1, keepdim=True))
    return smoothed


def greedy_merge(rows: LogRows, tau: float, alike: np.ndarray | None = None) -> np.ndarray:
    """Let each row in order, if it is still free, absorb every free row within τ (step 1b).

    Return the cluster of each row (n,) int64, numbered in order of discovery. Only rows that are
    still free when their turn comes need distances. Those of several likely ones are computed
    together: of the first free row of each group in `alike` (n,), since a group is mostly absorbed
    as a whole; without groups, of the next free rows.
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
            checkpoint()
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
    """Return the plain mean of each cluster's rows: (n, M) and (n,) → (L, M) float32."""
    index = torch.from_numpy(member).to(rows.device)
    count = int(member.max()) + 1
    summed = rows.new_zeros(count, rows.shape[1]).index_add_(0, index, rows)
    return summed / torch.bincount(index, minlength=count)[:, None]


def merge_window(
    rows: Tensor, near: Tensor, tau: float, dtype: torch.dtype
) -> tuple[Tensor, np.ndarray]:
    """Smooth, merge and average the rows of one window (level 1).

    rows (n, M), near (n, n) bool → centroids (L, M) and the cluster of each row (n,).
    """
    alike = like_groups(near)
    smoothed = smooth(rows, near, alike, dtype)
    logs = LogRows.of(smoothed)
    member = greedy_merge(logs, tau, greedy_merge(logs.thinned(), tau, alike))
    return centroids_of(smoothed, member), member


@dataclass(frozen=True)
class Clusters:
    """Clusters of the paper's process, level by level (paper, Fig. 5)."""

    centroids: Tensor  # (L, M) float32: the last level's
    members: tuple[np.ndarray, ...]  # of each level: the cluster of every row, then of every
    # cluster of the level before; (T·N,), (L₁,), (L₂,), … int64

    def levels(self) -> list[np.ndarray]:
        """Return the cluster of every row after the window merge and each round: (T·N,) each."""
        labels = [self.members[0]]
        for member in self.members[1:]:
            labels.append(member[labels[-1]])
        return labels


def merge_globally(clusters: Clusters, tau: float, *, most: float = float("inf")) -> Clusters:
    """Merge all centroids until their number stops falling (the following levels).

    Where that leaves more than `most`, the same merge goes on with a rising τ.
    """
    centroids, members = clusters.centroids, list(clusters.members)
    while True:
        member = greedy_merge(LogRows.of(centroids), tau)
        if member.max() + 1 < len(centroids):
            centroids = centroids_of(centroids, member)
            members.append(member)
        elif len(centroids) <= most:
            return Clusters(centroids, tuple(members))
        else:
            tau *= 1.25


def find_clusters(
    windows: Windows, tau: float, *, most: float = float("inf"), progress: Progress = silent
) -> Clusters:
    """Return the centroids of the paper's clustering and the levels that led to them (paper, 3.3).

    In float32 this is the reference's result; see the top of this file for bfloat16.
    most: see `merge_globally`. More than eight times as many, which noise gives, are merged early.
    Raise ValueError for τ that is not a number above 0.
    """
    if not 0 < tau < float("inf"):
        raise ValueError(f"tau must be a number above 0, not {tau}")
    none = windows.attention.keys.new_empty(0, windows.attention.width, dtype=torch.float32)
    found = Clusters(none, (np.empty(0, np.int64),))
    for frames, rows in windows:
        near = near_pairs(windows.comparable(frames, rows), tau)
        window_centroids, member = merge_window(rows, near, tau, windows.dtype)
        member = np.concatenate([*found.members, member + len(found.centroids)])
        found = Clusters(torch.cat([found.centroids, window_centroids]), (member,))
        del window_centroids  # before others are made of it
        if len(found.centroids) > 8 * most:
            merged = merge_globally(found, tau, most=most)
            found = Clusters(merged.centroids, (merged.levels()[-1],))
        progress(Stage.CLUSTERING, frames.stop / windows.attention.frames)
    return merge_globally(found, tau, most=most)


@dataclass(frozen=True)
class Assignment:
    """The nearest clusters of every patch, and the mean row of the patches of each cluster."""

    index: Tensor  # (T, N, k) int64, nearest first
    distance: Tensor  # (T, N, k) float32, symmetric KL
    mean_rows: Tensor  # (L, M) float32: mean row of the patches nearest to each cluster

    @property
    def labels(self) -> Tensor:
        """Nearest cluster of every patch (T, N)."""
        return self.index[..., 0]


def assign(
    windows: Windows, centroids: Tensor, *, nearest: int = 1, progress: Progress = silent
) -> Assignment:
    """Return the `nearest` centroids of each original row by symmetric KL, window by window.

    centroids (L, M) float32. A cluster that is nearest to no row keeps its centroid as mean row.
    Raise ValueError for centroids that do not fit the rows.
    """
    attention = windows.attention
    if centroids.ndim != 2 or centroids.shape[1] != attention.width or not len(centroids):
        raise ValueError(
            f"centroids must be (clusters, {attention.width}) and at least one, "
            f"not {tuple(centroids.shape)}"
        )
    targets = LogRows.of(centroids)
    indices, distances = [], []
    summed, counts = torch.zeros_like(centroids), centroids.new_zeros(len(centroids))
    for frames, rows in windows:
        to_targets = symmetric_kl(windows.comparable(frames, rows), targets)
        found = to_targets.topk(min(nearest, len(centroids)), dim=1, largest=False)
        indices.append(found.indices)
        distances.append(found.values)
        summed.index_add_(0, found.indices[:, 0], rows)
        counts += torch.bincount(found.indices[:, 0], minlength=len(centroids))
        progress(Stage.CLUSTERING, frames.stop / attention.frames)
    means = torch.where(counts[:, None] > 0, summed / counts.clamp_min(1)[:, None], centroids)
    shape = (attention.frames, attention.patches, -1)
    return Assignment(torch.cat(indices).reshape(shape), torch.cat(distances).reshape(shape), means)
