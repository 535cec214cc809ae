"""Samples: what one training step learns from, drawn from the training clips.

T frames of a sample, h×w patch grid, N = h·w, C channels, n anchors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .data import AugmentedClip, TrainingClip
from .settings import TrainSettings


@dataclass(frozen=True, eq=False)
class Sample:
    """Features and anchors of one sample."""

    tokens: Tensor  # (T, N, C) float32, as the backbone gave them
    anchors: Tensor  # (n,) int64 in 0 … N-1


def sample_generator(seed: int, step: int, index: int) -> np.random.Generator:
    """Return the generator for one sample: its choice, augmentation and dropout.

    It depends on no earlier draws, so a resumed run draws what an uninterrupted one draws.
    index: the sample's number within its step, over all processes.
    """
    return np.random.default_rng([seed, step, index])


def draw_sample(
    clips: Sequence[TrainingClip], rng: np.random.Generator, settings: TrainSettings
) -> Sample:
    """Draw a clip, `frames` of its frames `gap` apart, a crop, and anchors in it."""
    clip = clips[int(rng.integers(len(clips)))]
    frames = draw_frames(len(clip), rng, settings)
    if isinstance(clip, AugmentedClip):
        tokens = clip.augmented_tokens(frames, rng)
    else:
        tokens = clip.tokens(frames)
    tokens = draw_crop(tokens, clip.grid, rng, settings.columns)
    patches = tokens.shape[1]
    anchors = rng.choice(patches, min(settings.anchors, patches), replace=False)
    return Sample(tokens, torch.from_numpy(anchors).to(tokens.device))


def draw_frames(length: int, rng: np.random.Generator, settings: TrainSettings) -> list[int]:
    """Draw equally spaced frames of a clip that has at least as many."""
    steps = settings.frames - 1
    gap = min(settings.gap, (length - 1) // max(steps, 1))
    start = int(rng.integers(length - gap * steps))
    return [start + gap * i for i in range(settings.frames)]


def draw_crop(
    tokens: Tensor, grid: tuple[int, int], rng: np.random.Generator, columns: int | None
) -> Tensor:
    """Crop all frames to the same `columns` columns: (T, h·w, C) → (T, h·columns, C)."""
    if columns is None or columns >= grid[1]:
        return tokens
    left = int(rng.integers(grid[1] - columns + 1))
    return tokens.unflatten(1, grid)[:, :, left : left + columns].flatten(1, 2)
