"""A synthetic scene as queries and keys of attention, so that the benchmark needs no clip."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from bavos_core.attention import AttentionRows, perplexity_scale

HEADS, CHANNELS = 8, 48  # of the paper's block
_REGIONS = 18  # objects that move over two backgrounds


def scene(
    frames: int, grid: tuple[int, int], key_frames: int, *, heads: int = HEADS, seed: int = 0
) -> AttentionRows:
    """Return the attention of ellipses that move over ground and sky, with shading and noise.

    queries (T, heads, N, 384 / heads). With 8 heads the logits have the paper's scale; with one,
    the temperature of training-free attention. Either way rows are about as sharp and as similar to
    each other as on real clips.
    """
    features = _features(frames, grid, seed)  # (T, N, 384), of length 384^½
    queries = features.unflatten(-1, (heads, -1)).transpose(1, 2).contiguous()
    keys = queries[torch.linspace(0, frames - 1, key_frames).round().long()]
    scale = CHANNELS**-0.5 if heads > 1 else perplexity_scale(queries, keys)
    return AttentionRows(queries, keys, scale)


def _features(frames: int, grid: tuple[int, int], seed: int) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    channels = HEADS * CHANNELS
    looks = torch.randn(_REGIONS + 2, channels, generator=random)
    shading = 1.6 * torch.randn(3, channels, generator=random)
    y = torch.linspace(0, 1, grid[0])[:, None].expand(grid)
    x = torch.linspace(0, 1, grid[1])[None].expand(grid)
    where = torch.stack([y, x, x * y], -1)  # (h, w, 3)
    features = torch.stack(
        [
            looks[_regions(y, x, t)]
            + where @ shading
            + 0.35 * torch.randn(*grid, channels, generator=random)
            for t in range(frames)
        ]
    ).flatten(1, 2)
    return F.normalize(features - features.mean((0, 1)), dim=-1) * channels**0.5


def _regions(y: Tensor, x: Tensor, t: int) -> Tensor:
    """Return the region of every patch at time t: (h, w) int64."""
    region = (y > 0.6).long()
    for i in range(_REGIONS):
        centre_y = 0.5 + 0.4 * math.sin(1.1 * i + 0.05 * t)
        centre_x = 0.5 + 0.45 * math.cos(2.3 * i + 0.04 * t)
        high, wide = 0.06 + 0.008 * (i % 9), 0.05 + 0.008 * (i % 7)
        region[((y - centre_y) / high) ** 2 + ((x - centre_x) / wide) ** 2 < 1] = i + 2
    return region
