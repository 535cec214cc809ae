"""Attention rows: for every patch of every frame, a distribution over the key frames' patches.

T frames, K key frames, N patches a frame, H heads, d channels a head, M = K·N.
Rows are computed for a few frames at a time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from .progress import checkpoint

KEYS_PERPLEXITY = 0.4  # share of the keys that a row of key-similarity attention spreads over
_LOGITS_AT_ONCE = {"cpu": 2**21, "cuda": 2**26}  # of all heads: what a cache, or a GPU, takes well
_SAMPLED_ROWS = 512  # rows measured to find that temperature


def key_frames(frames: int, ratio: int) -> list[int]:
    """Return the indices 0, r, 2r, …: ⌊T/r⌋ as in the reference code, but at least one."""
    return [i * ratio for i in range(max(1, frames // ratio))]


@dataclass(frozen=True)
class AttentionRows:
    """Softmax attention from every patch to all patches of the key frames, mean over heads."""

    queries: Tensor  # (T, H, N, d)
    keys: Tensor  # (K, H, N, d)
    scale: float  # of the logits

    def __post_init__(self) -> None:
        """Raise ValueError for empty, misshapen or non-finite queries and keys."""
        shapes = f"{tuple(self.queries.shape)} and {tuple(self.keys.shape)}"
        both = "queries and keys must"
        finite = self.queries.isfinite().all() and self.keys.isfinite().all()
        for valid, rule in (
            (self.queries.ndim == self.keys.ndim == 4,
             f"{both} be (frames, heads, patches, channels), not {shapes}"),
            (self.queries.numel() and self.keys.numel(), f"{both} not be empty; they are {shapes}"),
            (self.queries.shape[1:] == self.keys.shape[1:],
             f"{both} agree in heads, patches and channels, not {shapes}"),
            (finite, f"{both} be finite; they hold NaN or infinity"),
            (math.isfinite(self.scale),
             f"the scale of the logits must be finite, not {self.scale}"),
        ):  # fmt: skip
            if not valid:
                raise ValueError(rule)

    @property
    def frames(self) -> int:
        """Number of frames T."""
        return self.queries.shape[0]

    @property
    def heads(self) -> int:
        """Number of heads H."""
        return self.queries.shape[1]

    @property
    def patches(self) -> int:
        """Number of patches of a frame N."""
        return self.queries.shape[2]

    @property
    def width(self) -> int:
        """Length of a row M = K·N."""
        return self.keys.shape[0] * self.keys.shape[2]

    def rows(self, start: int, stop: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return rows of frames start … stop-1, multiplied in dtype: (n, M) float32, sums 1."""
        return _mean_attention(self.scale * self.queries[start:stop], self.keys, dtype)

    def sampled_rows(self) -> Tensor:
        """Return about 512 rows, picked evenly over space and time: (n, M) float32."""
        step = max(1, self.frames * self.patches // _SAMPLED_ROWS)
        queries = self.queries.transpose(1, 2).flatten(0, 1)[::step]  # (n, H, d)
        return _mean_attention(self.scale * queries.unsqueeze(2), self.keys, torch.float32)


def _mean_attention(queries: Tensor, keys: Tensor, dtype: torch.dtype) -> Tensor:
    """Return queries (t, H, N, d) against keys (K, H, N, d): (t·N, M) float32, mean over heads.

    A few rows at a time go through all heads, so that their logits stay in the processor's cache.
    """
    q = queries.transpose(0, 1).flatten(1, 2).to(dtype)  # (H, t·N, d)
    k = keys.transpose(0, 1).flatten(1, 2).mT.contiguous().to(dtype)  # (H, d, M)
    rows = torch.empty(q.shape[1], k.shape[2], device=q.device)
    at_once = max(1, _LOGITS_AT_ONCE[q.device.type] // k[:, 0].numel())
    for start in range(0, len(rows), at_once):
        checkpoint()
        block = slice(start, start + at_once)
        logits = torch.bmm(q[:, block], k)
        if len(q) == 1:
            torch.softmax(logits[0], -1, torch.float32, out=rows[block])
        else:
            torch.mean(logits.softmax(-1, torch.float32), 0, out=rows[block])
    return rows


def centred_unit(features: Tensor) -> Tensor:
    """Return features (T, N, C) without their mean, at unit length: (T, 1, N, C) float32.

    The mean over the whole clip is what all patches share; it would make every cosine high.
    """
    centred = features.float() - features.float().mean((0, 1))
    return F.normalize(centred, dim=-1).unsqueeze(1)


def perplexity_scale(queries: Tensor, keys: Tensor, *, share: float = KEYS_PERPLEXITY) -> float:
    """Return the softmax scale at which rows spread over `share` of their keys (0 < share < 1).

    queries (T, H, N, d), keys (K, H, N, d). The mean entropy of evenly picked rows falls as the
    scale grows, so bisection finds it. One τ then means the same on every backbone and resolution.
    """
    flat = queries.transpose(0, 1).flatten(1, 2).float()  # (H, T·N, d)
    step = max(1, flat.shape[1] // _SAMPLED_ROWS)
    products = flat[:, ::step] @ keys.transpose(0, 1).flatten(1, 2).float().mT  # (H, rows, M)
    wanted = math.log(max(share * products.shape[2], 1.0))
    low, high = 0.0, 200.0
    for _ in range(24):
        checkpoint()
        middle = (low + high) / 2
        rows = (middle * products).softmax(-1).mean(0)
        entropy = torch.special.entr(rows).sum(-1).mean().item()
        low, high = (middle, high) if entropy > wanted else (low, middle)
    return (low + high) / 2
