"""The interface of clips: frames that can be read more than once.

F frames in the clip, T of them analysed, H×W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from PIL import Image

from ..errors import InputError

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".webm", ".mkv", ".gif", ".avi")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
IMAGES_FPS = 24.0  # playing speed of a folder or zip of frames, as in DAVIS


class Clip(Protocol):
    """A sequence of frames that can be read more than once."""

    @property
    def name(self) -> str:
        """File or folder name, as shown to people."""

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) pixels, upright."""

    @property
    def times(self) -> np.ndarray:
        """Seconds at which each frame appears, (F,) float64, from 0, rising."""

    @property
    def frame_names(self) -> tuple[str, ...]:
        """Name of each frame without suffix, (F,); masks are saved under these."""

    def read(self, indices: Sequence[int] | None = None) -> Iterator[np.ndarray]:
        """Yield frames (H, W, 3) uint8 RGB: all, or those of rising `indices`."""

    def resized(self, max_side: int | None) -> Clip:
        """Return the clip with frames shrunk until their longer side is at most `max_side` pixels.

        The file is not opened again. Smaller frames, and None, leave the size as it is.
        """


@dataclass(frozen=True)
class ArrayClip:
    """Frames that are already in memory."""

    frames: np.ndarray  # (F, H, W, 3) uint8 RGB
    times: np.ndarray  # (F,)
    frame_names: tuple[str, ...]
    name: str = "clip"

    @classmethod
    def of(cls, frames: np.ndarray, *, fps: float = IMAGES_FPS) -> ArrayClip:
        """Make a clip of frames. Raise InputError unless they are (F ≥ 1, H, W, 3) uint8."""
        if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not frames.size:
            raise InputError(
                f"Frames must be (frames, height, width, 3) uint8 RGB, not {frames.shape} "
                f"{frames.dtype}."
            )
        return cls(frames, np.arange(len(frames)) / fps, numbered(len(frames)))

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.frames.shape[1], self.frames.shape[2]

    def read(self, indices: Sequence[int] | None = None) -> Iterator[np.ndarray]:
        """Yield frames (H, W, 3) uint8 RGB."""
        return iter(self.frames if indices is None else self.frames[list(indices)])

    def resized(self, max_side: int | None) -> ArrayClip:
        """Return the clip with its frames shrunk, as `Clip.resized` says."""
        size = shrunk(self.size, max_side)
        return replace(self, frames=np.stack([resize(frame, size) for frame in self.frames]))


def resize(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a frame (·, ·, 3) uint8 to (H, W, 3)."""
    if frame.shape[:2] == size:
        return frame
    return np.array(Image.fromarray(frame).resize(size[::-1]))


def shrunk(size: tuple[int, int], max_side: int | None) -> tuple[int, int]:
    """Return (H, W) scaled down until its longer side is at most `max_side`."""
    factor = min(1.0, (max_side or max(size)) / max(size))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def sample_indices(total: int, wanted: int) -> np.ndarray:
    """Spread `wanted` of `total` frames evenly, first and last included: (T,) int64, rising."""
    if wanted >= total:
        return np.arange(total)
    if wanted == 1:
        return np.array([total // 2])
    return np.linspace(0, total - 1, wanted).round().astype(np.int64)


def shortened(name: str) -> str:
    """Shorten a name so that it fits into a sentence."""
    return name if len(name) <= 80 else f"{name[:60]}…{name[-15:]}"


def numbered(count: int) -> tuple[str, ...]:
    """Return names for frames that have none."""
    return tuple(f"{i:05d}" for i in range(count))
