"""Symmetric KL between rows of attention, in the forms that clustering needs.

n rows of width M = K·N; H heads of d channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .attention import AttentionRows

_COLUMNS_THAT_FORETELL = 300  # columns of rows that are merged to foretell seeds
_ROWS_AT_ONCE = 256  # rows whose temporaries stay in the cache
_RARE = 1e-3  # times an even share: a column counts at least so much in a sketch
_DIRECTIONS = 128  # of a sketch
Inner = tuple[Tensor, Tensor, Tensor]  # queries (n, d), mean keys (n, d) and own (n,) of rows


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
