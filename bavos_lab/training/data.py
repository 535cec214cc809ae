"""Training clips: their features, or their frames if they are augmented.

F frames of a clip, T of a sample, h×w patch grid, N = h·w, C channels.
Every clip is read once. Without augmentation its features are computed once and kept in memory as
float16; with it its frames are kept, at training size, and features are computed for every sample.
The [CLS] token, which the paper feeds to the correlator but does not use, is left out.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from bavos_core import backbones
from bavos_core.backbones import Backbone
from bavos_core.compat import renamed
from bavos_core.errors import InputError
from bavos_core.settings import Compute, grid_size
from bavos_io.clip import IMAGE_SUFFIXES, VIDEO_SUFFIXES, Clip
from bavos_io.opening import open_clip

from .settings import Standardise, TrainSettings

_STATISTIC_FRAMES = 16  # of each clip that mean and deviation are taken from
_MIB = 2**20

OnClip = Callable[[str, float], None]  # name of the clip being read, share of all clips 0 … 1


# ---- clips --------------------------------------------------------------------------------------


class TrainingClip(Protocol):
    """A clip that gives the features of any of its frames."""

    @property
    def name(self) -> str:
        """File or folder name."""

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w) patches of a frame."""

    @property
    def nbytes(self) -> int:
        """The memory that it takes, in bytes."""

    def __len__(self) -> int:
        """Return F."""

    def tokens(self, frames: Sequence[int]) -> Tensor:
        """Return features (T, N, C) float32 of some frames."""


@dataclass(frozen=True, eq=False)
class CachedClip:
    """A clip of which only the features are kept."""

    name: str
    grid: tuple[int, int]
    features: Tensor  # (F, N, C) float16

    def __len__(self) -> int:
        return len(self.features)

    @property
    def nbytes(self) -> int:
        """The memory that it takes, in bytes."""
        return self.features.nbytes

    def tokens(self, frames: Sequence[int]) -> Tensor:
        """Return features (T, N, C) float32 of some frames."""
        return self.features[list(frames)].float()


@dataclass(frozen=True, eq=False)
class AugmentedClip:
    """A clip of which the frames are kept, at training size."""

    name: str
    grid: tuple[int, int]
    images: Tensor  # (F, 3, h·patch, w·patch) uint8
    backbone: Backbone
    compute: Compute

    def __len__(self) -> int:
        return len(self.images)

    @property
    def nbytes(self) -> int:
        """The memory that it takes, in bytes."""
        return self.images.nbytes

    def tokens(self, frames: Sequence[int]) -> Tensor:
        """Return features (T, N, C) float32 of some frames, not augmented."""
        return self._encode(self._images(frames))

    def augmented_tokens(self, frames: Sequence[int], rng: np.random.Generator) -> Tensor:
        """Return features (T, N, C) float32 of some frames, all augmented in the same way."""
        return self._encode(augmented(self._images(frames), rng))

    def _images(self, frames: Sequence[int]) -> Tensor:
        return self.images[list(frames)].float() / 255

    def _encode(self, images: Tensor) -> Tensor:
        return self.backbone.encode(images, self.compute).tokens


def augmented(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Apply random grey, colour jitter and blur, the same to all images (T, 3, H, W) in 0 … 1."""
    with torch.random.fork_rng(devices=[]):  # torchvision draws from the global generator
        torch.manual_seed(int(rng.integers(2**63)))
        changed: Tensor = _augmentation()(images)
    return changed


@functools.cache
def _augmentation() -> Callable[[Tensor], Tensor]:
    """Return the paper's augmentation. torchvision takes seconds to import."""
    from torchvision.transforms import v2

    return v2.Compose(
        [
            v2.RandomGrayscale(p=0.2),
            v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
            v2.RandomApply([v2.GaussianBlur(kernel_size=13, sigma=(0.1, 2.0))], p=0.5),
        ]
    )


@dataclass(frozen=True, eq=False)
class TrainingData:
    """All clips of a run."""

    name: str  # of the folder
    clips: tuple[TrainingClip, ...]  # at least one
    layer: int | None = None  # block of the backbone, where it has blocks
    notes: tuple[str, ...] = ()  # a sentence for each clip that was left out

    @property
    def frames(self) -> int:
        """The number of frames of all clips."""
        return sum(len(clip) for clip in self.clips)

    @property
    def nbytes(self) -> int:
        """The memory that all clips take, in bytes."""
        return sum(clip.nbytes for clip in self.clips)

    @property
    def fingerprint(self) -> str:
        """A hash that is equal for equal clips, so that a run is not resumed on others."""
        listing = [(clip.name, len(clip), clip.grid) for clip in self.clips]
        return hashlib.sha256(json.dumps(listing).encode()).hexdigest()[:16]

    def split(self, every: int) -> tuple[tuple[TrainingClip, ...], tuple[TrainingClip, ...]]:
        """Return the clips to train on, and every k-th one, held out for the measure.

        With fewer than k clips, train on all and measure on the first.
        """
        held_out = self.clips[every - 1 :: every] if every else ()
        if not held_out or len(self.clips) == len(held_out):
            return self.clips, self.clips[:1]
        return tuple(clip for clip in self.clips if clip not in held_out), held_out


# ---- reading ------------------------------------------------------------------------------------


@renamed(progress="on_clip")
def load_clips(
    folder: Path,
    settings: TrainSettings,
    *,
    backbone: Backbone | None = None,
    on_clip: OnClip | None = None,
) -> TrainingData:
    """Read all clips of a folder: its folders of frames, videos and zips, in order of their names.

    backbone: one that is loaded already; None to load the one that the settings name.
    A clip that cannot be read or is shorter than a sample is left out with a note. Raises
    InputError for a folder without any clip to train on, and for more clips than the memory that
    the settings allow.
    """
    compute = Compute.choose(settings.analysis)
    opened, notes = _open_all(folder, settings)
    backbone = backbone or backbones.load(
        settings.backbone, weights=settings.weights, layer=settings.layer, device=compute.device
    )
    grids = [grid_size(clip.size, backbone.patch, settings.analysis) for clip in opened]
    _check_grids(grids, settings)
    wanted = [_length(clip, settings) * h * w for clip, (h, w) in zip(opened, grids, strict=True)]
    kept: list[TrainingClip] = []
    for i, (clip, grid) in enumerate(zip(opened, grids, strict=True)):
        if on_clip:
            on_clip(clip.name, i / len(opened))
        try:
            kept.append(_read(clip, grid, backbone, compute, settings))
        except InputError as error:
            notes.append(f"{clip.name} is left out: {error}")
            continue
        per_patch = kept[0].nbytes / (len(kept[0]) * kept[0].grid[0] * kept[0].grid[1])
        _check_memory(per_patch * sum(wanted), settings)
    if not kept:
        raise InputError(f"No clip of {folder.name!r} can be trained on. {' '.join(notes[:3])}")
    return TrainingData(folder.name, tuple(kept), getattr(backbone, "layer", None), tuple(notes))


def _open_all(folder: Path, settings: TrainSettings) -> tuple[list[Clip], list[str]]:
    if not folder.is_dir():
        raise InputError(f"{folder.name!r} is not a folder; give a folder that holds clips.")
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    found = [e for e in entries if e.is_dir() or e.suffix.lower() in (*VIDEO_SUFFIXES, ".zip")]
    if not found:
        pictures = any(entry.suffix.lower() in IMAGE_SUFFIXES for entry in entries)
        raise InputError(
            f"{folder.name!r} holds {'pictures, not clips' if pictures else 'no clips'}; give a "
            "folder that holds folders of frames, videos or zips."
        )
    opened, notes = [], []
    for entry in found:
        try:
            clip = open_clip(entry)
            _check_length(len(clip.times), settings)
            opened.append(clip)
        except InputError as error:
            notes.append(f"{entry.name} is left out: {error}")
    return opened, notes


def _read(
    clip: Clip,
    grid: tuple[int, int],
    backbone: Backbone,
    compute: Compute,
    settings: TrainSettings,
) -> TrainingClip:
    indices = range(_length(clip, settings))
    images = torch.cat(
        [backbones.to_images(frame[None], grid, backbone.patch) for frame in clip.read(indices)]
    )  # (F, 3, h·patch, w·patch): resized one by one, so that no large clip is held
    _check_length(len(images), settings)  # a damaged tail may have cost some
    if settings.augment:
        pixels = (images * 255).round().to(torch.uint8)
        return AugmentedClip(clip.name, grid, pixels, backbone, compute)
    return CachedClip(clip.name, grid, backbone.encode(images, compute).tokens.half().cpu())


def _length(clip: Clip, settings: TrainSettings) -> int:
    return min(len(clip.times), settings.clip_frames)


def _check_length(frames: int, settings: TrainSettings) -> None:
    if frames < settings.frames:
        raise InputError(
            f"it has {frames} frames and a sample needs {settings.frames}; give a longer clip."
        )


def _check_grids(grids: Sequence[tuple[int, int]], settings: TrainSettings) -> None:
    if any(h * min(w, settings.columns or w) < 2 for h, w in grids):
        raise InputError("A frame, or a crop of it, is a single patch; give a larger --size.")


def _check_memory(needed: float, settings: TrainSettings) -> None:
    if needed > settings.cache_mib * _MIB:
        held = "frames" if settings.augment else "features"
        raise InputError(
            f"The {held} of these clips take {needed / _MIB:,.0f} MiB of memory, more than the "
            f"{settings.cache_mib:,} allowed; allow more with --cache-mib, or use fewer frames "
            "of each with --clip-frames or a smaller --size."
        )


def statistics(clips: Sequence[TrainingClip], how: Standardise) -> tuple[Tensor, Tensor]:
    """Return the mean and deviation of every channel over the clips: (C,) float32 each.

    how: "common" gives all channels one deviation, so that those that vary much keep their weight.
    At most 16 frames of each clip are looked at, spread evenly. A channel that never varies gets
    deviation 1.
    """
    count, total, squares = 0, torch.zeros(()), torch.zeros(())
    for clip in clips:
        step = -(-len(clip) // _STATISTIC_FRAMES)  # rounded up
        tokens = clip.tokens(range(0, len(clip), step)).flatten(0, 1).double().cpu()  # (·, C)
        count += len(tokens)
        total, squares = total + tokens.sum(0), squares + tokens.square().sum(0)
    mean = total / count
    variance = (squares / count - mean.square()).clamp_min(0)  # (C,)
    if how == "common":
        variance = variance.mean().expand_as(mean)
    std = torch.where(variance > 1e-12, variance, 1.0).sqrt()
    return mean.float(), std.float()
