"""Attention rows: for every patch of every frame, a distribution over the key frames' patches.

T frames, K key frames, N patches a frame, H heads, d channels a head, M = K·N.
Rows are made for a few frames at a time and never held for the whole clip.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

KEYS_PERPLEXITY = 0.4  # share of the keys that a row of `keys` attention spreads over
_ROWS_AT_ONCE = 128  # rows made together
_SAMPLED_ROWS = 512  # rows measured to find that temperature


def key_frames(frames: int, ratio: int) -> list[int]:
    """Indices 0, r, 2r, …: ⌊T/r⌋ of them (reference code), but never fewer than one."""
    return [i * ratio for i in range(max(1, frames // ratio))]


@dataclass(frozen=True)
class AttentionRows:
    """Softmax attention from every patch to all patches of the key frames, mean over heads."""

    queries: Tensor  # (T, H, N, d)
    keys: Tensor  # (K, H, N, d)
    scale: float  # of the logits

    def __post_init__(self) -> None:
        if (
            self.queries.ndim != 4
            or self.keys.ndim != 4
            or 0 in (*self.queries.shape, *self.keys.shape)
        ):
            raise ValueError(
                "queries and keys must be (frames, heads, patches, channels) and not empty, "
                f"not {tuple(self.queries.shape)} and {tuple(self.keys.shape)}"
            )
        if self.queries.shape[1::2] != self.keys.shape[1::2]:
            raise ValueError(
                f"queries {tuple(self.queries.shape)} and keys {tuple(self.keys.shape)} "
                "must agree in heads and channels"
            )
        if not (self.queries.isfinite().all() and self.keys.isfinite().all()):
            raise ValueError("queries and keys must be finite; they hold NaN or infinity")

    @property
    def frames(self) -> int:
        """T."""
        return self.queries.shape[0]

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

    def windows(self, length: int) -> Iterator[Tensor]:
        """Rows of consecutive windows of `length` frames; the last may be shorter."""
        for start in range(0, self.frames, length):
            yield self.rows(start, min(start + length, self.frames))


def _mean_attention(queries: Tensor, keys: Tensor, scale: float) -> Tensor:
    """queries (t, H, N, d), keys (K, H, N, d) → (t·N, M) float32, mean over heads."""
    heads = keys.shape[1]
    q = queries.transpose(1, 2).flatten(0, 1)  # (t·N, H, d)
    k = keys.transpose(1, 2).flatten(0, 1)  # (M, H, d)
    rows = torch.empty(len(q), len(k), device=q.device)
    for start in range(0, len(q), _ROWS_AT_ONCE):  # temporaries that stay in the cache
        block = slice(start, start + _ROWS_AT_ONCE)
        rows[block] = _softmax(q[block, 0], k[:, 0], scale)
        for head in range(1, heads):  # one head at a time: all at once need H times the memory
            rows[block] += _softmax(q[block, head], k[:, head], scale)
    return rows.div_(heads) if heads > 1 else rows


def _softmax(queries: Tensor, keys: Tensor, scale: float) -> Tensor:
    """(n, d) and (M, d) → (n, M) float32."""
    return torch.softmax((scale * (queries @ keys.T)).float(), dim=-1)


def centred_unit(features: Tensor) -> Tensor:
    """Mean-free, unit-length features for `keys` attention: (T, N, C) → (T, 1, N, C) float32.

    The mean over the whole clip is what all patches share; without it every cosine is high.
    """
    centred = features.float() - features.float().mean((0, 1))
    return F.normalize(centred, dim=-1).unsqueeze(1)


def perplexity_scale(queries: Tensor, keys: Tensor, *, share: float = KEYS_PERPLEXITY) -> float:
    """Softmax scale at which rows spread over `share` of their keys (0 < share < 1).

    queries (T, 1, N, d), keys (K, 1, N, d), unit length. The mean entropy of evenly picked rows
    falls as the scale grows, so bisection finds it. One τ then means the same on every backbone
    and resolution.
    """
    flat = queries.flatten(0, 2)
    step = max(1, len(flat) // _SAMPLED_ROWS)
    cosines = flat[::step].float() @ keys.flatten(0, 2).float().T  # (rows, M)
    wanted = math.log(max(share * cosines.shape[1], 1.0))
    low, high = 0.0, 200.0
    for _ in range(24):
        middle = (low + high) / 2
        log_p = (middle * cosines).log_softmax(-1)
        entropy = -(log_p.exp() * log_p).sum(-1).mean().item()
        low, high = (middle, high) if entropy > wanted else (low, middle)
    return (low + high) / 2
