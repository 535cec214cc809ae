"""Attention rows: for every patch of every frame, a distribution over the key frames' patches.

T frames, K key frames, N patches a frame, H heads, d channels a head, M = K·N.
Rows are made for a few frames at a time and never held for the whole clip.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

KEYS_PERPLEXITY = 0.4  # share of the keys that a row of `keys` attention spreads over
_LOGITS_AT_ONCE = {"cpu": 2**21, "cuda": 2**26}  # of all heads: what a cache, or a GPU, takes well
_KEPT_BYTES = 512 * 2**20  # windows that fit are kept for the second pass, the others made again
_SAMPLED_ROWS = 512  # rows measured to find that temperature

Made = TypeVar("Made")


def key_frames(frames: int, ratio: int) -> list[int]:
    """Indices 0, r, 2r, …: ⌊T/r⌋ of them (reference code), but never fewer than one."""
    return [i * ratio for i in range(max(1, frames // ratio))]


@dataclass(frozen=True)
class AttentionRows:
    """Softmax attention from every patch to all patches of the key frames, mean over heads."""

    queries: Tensor  # (T, H, N, d)
    keys: Tensor  # (K, H, N, d)
    scale: float  # of the logits
    _kept: dict[int, Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)
    _made: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Raises ValueError for empty, misshapen or non-finite queries and keys."""
        shapes = f"{tuple(self.queries.shape)} and {tuple(self.keys.shape)}"
        if self.queries.ndim != 4 or self.keys.ndim != 4:
            raise ValueError(
                f"queries and keys must be (frames, heads, patches, channels), not {shapes}"
            )
        if 0 in (*self.queries.shape, *self.keys.shape):
            raise ValueError(f"queries and keys must not be empty; they are {shapes}")
        if self.queries.shape[1:] != self.keys.shape[1:]:
            raise ValueError(
                f"queries and keys must agree in heads, patches and channels, not {shapes}"
            )
        if not (self.queries.isfinite().all() and self.keys.isfinite().all()):
            raise ValueError("queries and keys must be finite; they hold NaN or infinity")
        if not math.isfinite(self.scale):
            raise ValueError(f"the scale of the logits must be finite, not {self.scale}")

    @property
    def frames(self) -> int:
        """T."""
        return self.queries.shape[0]

    @property
    def heads(self) -> int:
        """H."""
        return self.queries.shape[1]

    @property
    def patches(self) -> int:
        """N, patches of one frame."""
        return self.queries.shape[2]

    @property
    def width(self) -> int:
        """M = K·N, length of one row."""
        return self.keys.shape[0] * self.keys.shape[2]

    def rows(self, start: int, stop: int) -> Tensor:
        """Rows of the frames start … stop-1: ((stop-start)·N, M) float32, each sums to 1."""
        return _mean_attention(self.queries[start:stop], self.keys, self.scale)

    def sampled_rows(self) -> Tensor:
        """About 512 rows, picked evenly over space and time: (n, M) float32."""
        step = max(1, self.frames * self.patches // _SAMPLED_ROWS)
        queries = self.queries.transpose(1, 2).flatten(0, 1)[::step]  # (n, H, d)
        return _mean_attention(queries.unsqueeze(2), self.keys, self.scale)

    def windows(self, length: int) -> Iterator[tuple[slice, Tensor]]:
        """Frames and rows of consecutive windows of `length` frames; the last may be shorter.

        Rows must not be changed: the first 512 MiB of them are kept for the next pass.
        """
        for start in range(0, self.frames, length):
            stop = min(start + length, self.frames)
            yield slice(start, stop), self._kept_rows(start, stop)

    @cached_property
    def one_heads_keys(self) -> Tensor:
        """The keys of attention with one head, (M, d) float32, without what all share.

        A common part of all keys changes no row, and would cost distances their last digits.
        """
        keys = self.keys[:, 0].flatten(0, 1).float()
        return keys - keys.mean(0)

    def once(self, name: Hashable, make: Callable[[], Made]) -> Made:
        """Return what `make` gave under this name: small things that every pass needs."""
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]

    def _kept_rows(self, start: int, stop: int) -> Tensor:
        if start in self._kept and len(self._kept[start]) == (stop - start) * self.patches:
            return self._kept[start]
        rows = self.rows(start, stop)
        if sum(kept.nbytes for kept in self._kept.values()) + rows.nbytes <= _KEPT_BYTES:
            self._kept[start] = rows
        return rows


def _mean_attention(queries: Tensor, keys: Tensor, scale: float) -> Tensor:
    """queries (t, H, N, d), keys (K, H, N, d) → (t·N, M) float32, mean over heads.

    All heads of a few rows at a time: their logits stay in the cache, and never take much memory.
    """
    q = (scale * queries.transpose(0, 1).flatten(1, 2)).float()  # (H, t·N, d)
    k = keys.transpose(0, 1).flatten(1, 2).mT.contiguous().float()  # (H, d, M)
    rows = torch.empty(q.shape[1], k.shape[2], device=q.device)
    at_once = max(1, _LOGITS_AT_ONCE[q.device.type] // k[:, 0].numel())
    for start in range(0, len(rows), at_once):
        block = slice(start, start + at_once)
        attention = torch.bmm(q[:, block], k).softmax(-1)
        torch.mean(attention, 0, out=rows[block])
    return rows


def centred_unit(features: Tensor) -> Tensor:
    """Mean-free, unit-length features for `keys` attention: (T, N, C) → (T, 1, N, C) float32.

    The mean over the whole clip is what all patches share; without it every cosine is high.
    """
    centred = features.float() - features.float().mean((0, 1))
    return F.normalize(centred, dim=-1).unsqueeze(1)


def perplexity_scale(queries: Tensor, keys: Tensor, *, share: float = KEYS_PERPLEXITY) -> float:
    """Softmax scale at which rows spread over `share` of their keys (0 < share < 1).

    queries (T, H, N, d), keys (K, H, N, d). The mean entropy of evenly picked rows falls as the
    scale grows, so bisection finds it. One τ then means the same on every backbone and resolution.
    """
    flat = queries.transpose(0, 1).flatten(1, 2).float()  # (H, T·N, d)
    step = max(1, flat.shape[1] // _SAMPLED_ROWS)
    products = flat[:, ::step] @ keys.transpose(0, 1).flatten(1, 2).float().mT  # (H, rows, M)
    wanted = math.log(max(share * products.shape[2], 1.0))
    low, high = 0.0, 200.0
    for _ in range(24):
        middle = (low + high) / 2
        rows = (middle * products).softmax(-1).mean(0)
        entropy = torch.special.entr(rows).sum(-1).mean().item()
        low, high = (middle, high) if entropy > wanted else (low, middle)
    return (low + high) / 2
