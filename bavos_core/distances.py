"""Symmetric KL between attention rows, in the forms that clustering needs (paper, 3.3).

n rows of width M = K·N; H heads of d channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from .attention import AttentionRows
from .progress import checkpoint
from .settings import WINDOW

# Rows of a clip that are kept between two passes: at the default settings, 486 MiB are all of them.
KEPT_BYTES = 512 * 2**20
_FEW_COLUMNS = 300  # columns of rows that are merged to predict seeds
_ROWS_AT_ONCE = 256  # rows whose temporaries stay in the cache
_RARE = 1e-3  # times an even share: a column counts at least so much in a sketch
_DIRECTIONS = 128  # of a sketch

Inner = tuple[Tensor, Tensor]  # queries (n, d) and mean keys (n, d) of rows


@dataclass(frozen=True)
class LogRows:
    """Distributions with their logs, ready for distances."""

    p: Tensor  # (n, M) distributions
    log: Tensor  # (n, M) their logs
    own: Tensor  # (n,) Σ p·log of each row

    @classmethod
    def of(cls, rows: Tensor) -> LogRows:
        """Take the logs of rows (n, M) float32, non-negative; zeros are allowed."""
        log, own = torch.empty_like(rows), rows.new_empty(len(rows))
        for block in _blocks(len(rows)):
            log[block] = safe_log(rows[block])
            own[block] = (rows[block] * log[block]).sum(1)
        return cls(rows, log, own)

    def __getitem__(self, index: Tensor) -> LogRows:
        return LogRows(self.p[index], self.log[index], self.own[index])

    def log_dot(self, p: Tensor) -> Tensor:
        """Return Σ log·p of every own row with every given one: (m, M) → (n, m)."""
        return torch.cat([self.log[block] @ p.T for block in _blocks(len(self.log))])

    def thinned(self) -> LogRows:
        """Return about 300 of the M columns, whose distances are roughly those of the rows."""
        every = self.p.shape[1] // _FEW_COLUMNS | 1  # odd: a grid's columns are even
        p, log = every * self.p[:, ::every], self.log[:, ::every].contiguous()
        return LogRows(p, log, (p * log).sum(1))


@dataclass(frozen=True)
class OneHead:
    """Attention with one head: log p_i(m) = s·q_i·k_m - const."""

    attention: AttentionRows
    keys: Tensor  # (M, d) float32
    dtype: torch.dtype  # of products

    @classmethod
    def of(cls, attention: AttentionRows, dtype: torch.dtype) -> OneHead:
        """Take the keys without their mean: it changes no row, and would cost precision."""
        keys = attention.keys[:, 0].flatten(0, 1).float()
        return cls(attention, keys - keys.mean(0), dtype)

    def inner(self, rows: Tensor, frames: slice) -> Inner:
        """Return what distances need of the rows (n, M) of these frames."""
        queries = self.attention.scale * self.attention.queries[frames, 0].flatten(0, 1).float()
        return queries, _product((rows[b] for b in _blocks(len(rows))), self.keys, self.dtype)


@dataclass(frozen=True)
class Sketch:
    """The directions in which the logs of a clip's rows differ most, from a sample of them.

    A log row is its mean plus an inner product of a few numbers with a key of every column. Columns
    count by their mean probability, as they do in a distance.
    """

    mean_log: Tensor  # (M,) mean log row
    axes: Tensor  # (M, d): logs, shifted by their mean, to the numbers of a row
    keys: Tensor  # (M, d+1): those numbers to logs; the last is the mean log, that counts once
    dtype: torch.dtype  # of products

    @classmethod
    def of(cls, attention: AttentionRows, dtype: torch.dtype) -> Sketch:
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
        return cls(mean_log, axes * weight[:, None], keys, dtype)

    def inner(self, rows: Tensor, _frames: slice | None = None) -> Inner:
        """Return what distances need of rows (n, M)."""
        logs = (safe_log(rows[b]).sub_(self.mean_log) for b in _blocks(len(rows)))
        mean_keys = _product((rows[b] for b in _blocks(len(rows))), self.keys, self.dtype)
        return F.pad(_product(logs, self.axes, self.dtype), (0, 1), value=1.0), mean_keys


@dataclass(frozen=True)
class HeadRows:
    """Rows whose logs are inner products of queries and keys, and are never formed.

    Σ log p_i·p_j is q_i·(Σ_m p_j(m) k_m), but for a constant that differences of distributions
    cancel, as they sum to 0. So d channels take the place of M entries.
    """

    p: Tensor  # (n, M) float32
    keys: Tensor  # (M, d)
    queries: Tensor  # (n, d) times the scale
    mean_keys: Tensor  # (n, d) Σ p·key of each row

    @cached_property
    def own(self) -> Tensor:
        """Σ log p·p of each row (n,), but for the constant."""
        return torch.linalg.vecdot(self.queries, self.mean_keys)

    def log_dot(self, p: Tensor) -> Tensor:
        """Return Σ log·p of every own row with every given one, but for a constant a row."""
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


class Windows:
    """The rows of a clip, window by window, for whoever passes over them once or twice.

    Rows are kept for the next pass while they fit into `keep` bytes, and computed again otherwise.
    What else distances need of a window is small and is kept in any case.
    """

    def __init__(
        self, attention: AttentionRows, dtype: torch.dtype = torch.float32, *, keep: int = 0
    ):
        self.attention = attention
        self.dtype = dtype
        self._room = keep
        self._rows: dict[int, Tensor] = {}
        self._inner: dict[int, Inner] = {}
        self._basis: OneHead | Sketch | None = None
        if attention.heads == 1:
            self._basis = OneHead.of(attention, dtype)
        elif dtype != torch.float32:
            self._basis = Sketch.of(attention, dtype)

    def __iter__(self) -> Iterator[tuple[slice, Tensor]]:
        """Yield frames and rows (n, M) of three consecutive frames; the last may be fewer.

        The rows must not be changed.
        """
        for start in range(0, self.attention.frames, WINDOW):
            frames = slice(start, min(start + WINDOW, self.attention.frames))
            rows = self._rows.get(start)
            if rows is None:
                rows = self.attention.rows(frames.start, frames.stop, self.dtype)
                if rows.nbytes <= self._room:
                    self._rows[start] = rows
                    self._room -= rows.nbytes
            yield frames, rows

    def comparable(self, frames: slice, rows: Tensor) -> LogRows | HeadRows:
        """Return the rows of a window in the form whose distances cost least."""
        if self._basis is None:
            return LogRows.of(rows)
        if frames.start not in self._inner:
            self._inner[frames.start] = self._basis.inner(rows, frames)
        return HeadRows(rows, self._basis.keys, *self._inner[frames.start])


def safe_log(rows: Tensor) -> Tensor:
    """Return logs of probabilities; 0 counts as the smallest normal float, so none is infinite."""
    return rows.clamp_min(torch.finfo(rows.dtype).tiny).log_()


def symmetric_kl(a: LogRows | HeadRows, b: LogRows) -> Tensor:
    """Return KL(p‖q) + KL(q‖p) of all pairs: (len(a), len(b)) float32 (paper, 3.3)."""
    return (a.own[:, None] - a.log_dot(b.p)).sub_(b.log_dot(a.p).T).add_(b.own)  # own is float32


def self_distances(rows: LogRows | HeadRows) -> Tensor:
    """Return the symmetric KL of all pairs of one set, (n, n) float32, by one product."""
    cross, own = rows.log_dot(rows.p), rows.own
    blocks = _blocks(len(own))
    return torch.cat([(own[b, None] - cross[b]).sub_(cross[:, b].T).add_(own) for b in blocks])


def near_pairs(rows: LogRows | HeadRows, tau: float) -> Tensor:
    """Return which pairs of one set lie within τ of each other: (n, n) bool."""
    return rows.near(tau) if isinstance(rows, HeadRows) else self_distances(rows) <= tau


def _product(blocks: Iterator[Tensor], columns: Tensor, dtype: torch.dtype) -> Tensor:
    """Return rows, in blocks (·, M), times columns (M, d), multiplied in dtype: (n, d) float32."""
    columns = columns.to(dtype)
    return torch.cat([(block.to(dtype) @ columns).float() for block in blocks])


def _blocks(count: int) -> Iterator[slice]:
    for start in range(0, count, _ROWS_AT_ONCE):
        checkpoint()
        yield slice(start, start + _ROWS_AT_ONCE)
