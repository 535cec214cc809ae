"""How much memory an analysis takes at most, before it is begun.

The terms follow the code, stage by stage, for clips of noise, whose rows hardly merge; ordinary
clips take about half. `experiments/memory.py` measures what runs take (docs/benchmarks.md).

T frames, H×W pixels of the clip, h×w patch grid, N = h·w, K key frames, M = K·N entries a row,
C channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from bavos_core.attention import key_frames
from bavos_core.backbones import FRAMES_AT_ONCE_ON_CPU, Backbone
from bavos_core.distances import KEPT_BYTES
from bavos_core.hierarchy import MAX_LEAVES
from bavos_core.pipeline import PREVIEW_SIDE, READ_SIDE
from bavos_core.settings import SAMPLED_KEY_RATIO, WINDOW, Settings, grid_size
from bavos_io.clip import shrunk

_FLOAT = 4  # bytes
_SLACK = 1.1  # of the allocator, which does not give back everything
_BASE = 128 * 2**20  # of libraries that are loaded late, and of threads
_DECODER = 160 * 2**20, 60  # of its process, and bytes a pixel: it holds a dozen frames at once
_DESCRIPTORS = 24  # their channels


@dataclass(frozen=True)
class Work:
    """The size of an analysis: whatever its memory depends on."""

    size: tuple[int, int]  # (H, W) of the clip
    frames: int  # T
    grid: tuple[int, int]  # (h, w)
    patch: int  # side in pixels
    channels: int  # C; that of the descriptors stands for a backbone that is no ViT
    key_ratio: int = SAMPLED_KEY_RATIO

    @classmethod
    def of(cls, size: tuple[int, int], settings: Settings, frames: int, backbone: Backbone) -> Work:
        """Return the work of analysing `frames` frames of a clip of (H, W) pixels."""
        grid = grid_size(size, backbone.patch, settings)
        channels = getattr(getattr(backbone, "model", None), "embed_dim", _DESCRIPTORS)
        return cls(size, frames, grid, backbone.patch, channels, settings.key_every)

    @property
    def patches(self) -> int:
        """Patches of a frame N."""
        return math.prod(self.grid)

    @property
    def width(self) -> int:
        """Entries of a row M."""
        return len(key_frames(self.frames, self.key_ratio)) * self.patches

    @property
    def features(self) -> int:
        """Bytes of the keys of all frames in float32."""
        return self.frames * self.patches * self.channels * _FLOAT


def peak_bytes(work: Work) -> int:
    """Return the most memory that an analysis takes beside loaded weights, decoder included."""
    stages = (_reading(work), _encoding(work), _clustering(work), _linking(work))
    return int(_BASE + _SLACK * max(stages))


def _pictures(work: Work) -> tuple[int, int, int]:
    """Return the bytes of the frames as they are read, as they are kept, and fed as uint8."""
    kept = max(PREVIEW_SIDE, max(work.grid) * work.patch)
    read, shown = (math.prod(shrunk(work.size, side)) for side in (max(READ_SIDE, kept), kept))
    fed = work.patches * work.patch**2
    return 3 * work.frames * read, 3 * work.frames * shown, 3 * work.frames * fed


def _reading(work: Work) -> float:
    """Decode, where a wrong guess of the length reads twice as many frames, and resize."""
    read, kept, fed = _pictures(work)
    base, per_pixel = _DECODER
    decoding = 2 * read + base + per_pixel * math.prod(work.size)
    return max(decoding, read + kept + (1 + _FLOAT) * fed)


def _encoding(work: Work) -> float:
    """Run the backbone for a few frames at a time, and join what it gives."""
    _, kept, fed = _pictures(work)
    at_once = min(work.frames, FRAMES_AT_ONCE_ON_CPU)
    joined = 4 * work.features
    inside = at_once * work.patches * work.channels * _FLOAT * 24
    if work.channels == _DESCRIPTORS:
        inside = 100 * _FLOAT * (fed // 3) * at_once // work.frames
        h, w = work.grid
        border = work.patches - max(0, h - 4) * max(0, w - 4)
        joined += work.frames * work.patches * _FLOAT * (250 + 2 * border)
    return kept + _FLOAT * fed + joined + inside


def _rows(work: Work) -> tuple[int, int, int]:
    """Return rows of a window, bytes of a row, and bytes of rows that are kept."""
    row = work.width * _FLOAT
    kept = min(KEPT_BYTES, work.frames * work.patches * row)
    return min(work.frames, WINDOW) * work.patches, row, kept


def _clustering(work: Work) -> float:
    """Smooth and merge the rows of a window, and all windows' centroids."""
    n, row, kept_rows = _rows(work)
    _, kept, _ = _pictures(work)
    window = 4.5 * n * row + 5 * n * n
    most = min(work.frames * work.patches, 8 * MAX_LEAVES + n)
    merging = n * row + 3.5 * most * row
    sketch = 512 * work.width * 40 + work.width * 128 * 20
    return kept + 6 * work.features + kept_rows + max(window, merging) + sketch


def _linking(work: Work) -> float:
    """Assign patches to leaves, link these, and tell instances apart."""
    n, row, kept_rows = _rows(work)
    _, kept, _ = _pictures(work)
    leaves = min(MAX_LEAVES, work.frames * work.patches)
    assigning = n * row + kept_rows + 5 * leaves * row + 4 * n * leaves * _FLOAT
    dividing = work.frames * work.patches * 1000
    return kept + 6 * work.features + max(assigning + 48 * leaves**2, dividing)


# ---- what fits -----------------------------------------------------------------------------------


def most_that_fits(fits: Callable[[int], bool], most: int) -> int:
    """Return the largest number up to `most` that fits, 0 if none; larger ones never fit better."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low
