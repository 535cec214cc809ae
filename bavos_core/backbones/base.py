"""What every backbone gives, and the images it takes.

T frames, h×w patch grid, N = h·w patches, H heads of d channels, C = H·d.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..settings import AttentionSource, Compute

FRAMES_AT_ONCE_ON_CPU = 4  # larger batches only cost memory, and a wish to stop is heard later


@dataclass(frozen=True)
class Features:
    """Queries and keys of the chosen block for every patch of every frame."""

    queries: Tensor  # (T, H, N, d) float32
    keys: Tensor  # (T, H, N, d) float32
    grid: tuple[int, int]  # (h, w)
    scale: float  # softmax scale of the backbone's own attention
    saliency: Tensor | None = None  # (T, N) float32: what the [CLS] token attends to, mean of heads

    @property
    def tokens(self) -> Tensor:
        """The keys with heads concatenated, (T, N, C): the frame feature of the paper."""
        return self.keys.transpose(1, 2).flatten(2)

    @classmethod
    def joined(cls, parts: Sequence[Features]) -> Features:
        """The features of consecutive parts of one clip as those of the whole."""
        if len(parts) == 1:
            return parts[0]
        queries, keys = (
            torch.cat([getattr(p, side) for p in parts]) for side in ("queries", "keys")
        )
        saliency = [part.saliency for part in parts if part.saliency is not None]
        seen = torch.cat(saliency) if saliency else None
        return replace(parts[0], queries=queries, keys=keys, saliency=seen)

    def to(self, device: torch.device) -> Features:
        """The same on a device."""
        seen = None if self.saliency is None else self.saliency.to(device)
        return replace(
            self, queries=self.queries.to(device), keys=self.keys.to(device), saliency=seen
        )

    @property
    def channels(self) -> int:
        """C."""
        return self.keys.shape[1] * self.keys.shape[3]


class Backbone(Protocol):
    """A frozen feature extractor."""

    @property
    def patch(self) -> int:
        """Side of one patch in pixels."""

    @property
    def source(self) -> AttentionSource:
        """The source of attention that is clustered unless the settings name one."""

    @property
    def framewise(self) -> bool:
        """Whether a frame's features depend on that frame alone, not on the whole clip."""

    @property
    def note(self) -> str:
        """A sentence to show beside its results, or ""."""

    def encode(self, images: Tensor, compute: Compute) -> Features:
        """images (T, 3, h·patch, w·patch) float32 RGB in 0 … 1 → Features on compute.device."""

    def on_cpu(self) -> Backbone:
        """The same for use on the CPU; this one stays where it is, for others may be using it."""


def to_images(frames: np.ndarray, grid: tuple[int, int], patch: int) -> Tensor:
    """Frames (T, H, W, 3) uint8 RGB → (T, 3, h·patch, w·patch) float32 in 0 … 1.

    Antialiased bilinear, since frames are usually made much smaller; on bytes, where it is several
    times as fast and off by at most half a level.
    """
    images = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)
    size = (grid[0] * patch, grid[1] * patch)
    if images.shape[-2:] != size:
        images = F.interpolate(images, size=size, mode="bilinear", antialias=True)
    return images.contiguous().float() / 255
