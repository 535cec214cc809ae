"""The interface of backbones: images in, features out.

T frames, h×w patch grid, N = h·w patches, H heads of d channels, C = H·d.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..progress import checkpoint
from ..settings import AttentionSource, Compute

FRAMES_AT_ONCE_ON_CPU = 4  # larger batches only cost memory and delay cancelling

SomeModule = TypeVar("SomeModule", bound=nn.Module)


@dataclass(frozen=True)
class Features:
    """Queries and keys of the chosen block for every patch of every frame."""

    queries: Tensor  # (T, H, N, d) float32
    keys: Tensor  # (T, H, N, d) float32
    grid: tuple[int, int]  # (h, w)
    scale: float  # softmax scale of the backbone's own attention
    saliency: Tensor | None = None  # (T, N) float32: attention of the [CLS] token, mean of heads

    @property
    def tokens(self) -> Tensor:
        """Return the keys with heads concatenated, (T, N, C): the frame feature of the paper."""
        return self.keys.transpose(1, 2).flatten(2)

    @classmethod
    def joined(cls, parts: Sequence[Features]) -> Features:
        """Return the features of a clip from those of its consecutive parts."""
        if len(parts) == 1:
            return parts[0]
        queries, keys = (
            torch.cat([getattr(p, side) for p in parts]) for side in ("queries", "keys")
        )
        saliency = [part.saliency for part in parts if part.saliency is not None]
        seen = torch.cat(saliency) if saliency else None
        return replace(parts[0], queries=queries, keys=keys, saliency=seen)

    def to(self, device: torch.device) -> Features:
        """Return the features on a device."""
        seen = None if self.saliency is None else self.saliency.to(device)
        return replace(
            self, queries=self.queries.to(device), keys=self.keys.to(device), saliency=seen
        )

    @property
    def channels(self) -> int:
        """Number of channels C."""
        return self.keys.shape[1] * self.keys.shape[3]


class Backbone(Protocol):
    """A frozen feature extractor."""

    @property
    def patch(self) -> int:
        """Side of one patch in pixels."""

    @property
    def source(self) -> AttentionSource:
        """Source of the attention that is clustered unless the settings name another."""

    @property
    def framewise(self) -> bool:
        """Whether a frame's features depend on that frame alone, not on the whole clip."""

    @property
    def note(self) -> str:
        """A sentence to show beside its results, or ""."""

    def encode(self, images: Tensor, compute: Compute) -> Features:
        """Encode images (T, 3, h·patch, w·patch) float32 RGB in 0 … 1, on compute.device."""

    def to(self, device: torch.device) -> Backbone:
        """Return the backbone on a device. This one stays where it is; others may be using it."""


def on_device(module: SomeModule, device: torch.device) -> SomeModule:
    """Return a module on a device: itself if it is there already, otherwise a copy.

    A module that several threads share is never moved in place. The copy is made of tensors on the
    device, so that no second one is needed where memory is short.
    """
    tensors = [*module.parameters(), *module.buffers()]
    if all(t.device == device or str(t.device) == f"{device}:0" for t in tensors):
        return module
    moved: dict[int, Any] = {id(b): b.detach().to(device) for b in module.buffers()}
    for p in module.parameters():
        moved[id(p)] = nn.Parameter(p.detach().to(device), p.requires_grad)
    return copy.deepcopy(module, moved)


def to_images(frames: np.ndarray, grid: tuple[int, int], patch: int) -> Tensor:
    """Resize frames (T, H, W, 3) uint8 RGB to (T, 3, h·patch, w·patch) float32 in 0 … 1.

    Antialiased bilinear, since frames are usually shrunk a lot; on bytes, which is several times as
    fast and off by at most half a level.
    """
    size = (grid[0] * patch, grid[1] * patch)
    images = torch.empty(len(frames), 3, *size)
    for image, frame in zip(images, frames, strict=True):
        checkpoint()
        picture = torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)[None]
        if picture.shape[-2:] != size:
            picture = F.interpolate(picture, size=size, mode="bilinear", antialias=True)
        torch.div(picture[0], 255, out=image)
    return images
