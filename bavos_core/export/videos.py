"""Overlay and heatmap videos, at the size and times of the clip."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
import torch

from .. import render
from ..analysis import Analysis
from ..progress import Progress, Stage, silent
from ..segmentation import Segmentation
from ..video import Clip, VideoWriter, playback
from .masks import all_masks, analysed_clip, blend, numbered_frames

OPACITY = 0.55  # of painted objects


def write_overlay(
    path: Path,
    analysis: Analysis,
    segmentation: Segmentation,
    clip: Clip | None,
    *,
    opacity: float = OPACITY,
    show_background: bool = False,
    hidden: Collection[int] = (),
    style: render.Style = "both",
    progress: Progress = silent,
) -> None:
    """Write the clip with every object in its colour; without the clip, the analysed frames.

    opacity: 0 … 1. hidden: clusters that are not painted.
    """
    colours, alpha = render.cluster_paint(
        segmentation.background, opacity=opacity, show_background=show_background, hidden=hidden
    )
    masks = all_masks(analysis, segmentation, clip)
    painted = (mask.painted(colours, alpha, style) for mask in masks)
    write_frames(path, clip or analysed_clip(analysis), painted, progress)


def write_heatmap(
    path: Path,
    analysis: Analysis,
    row: np.ndarray,
    clip: Clip | None,
    *,
    query: tuple[int, float, float] | None = None,
    progress: Progress = silent,
) -> None:
    """Write the clip under the heatmap of one attention row (T, h, w), on one scale of colours.

    query: sample_index, y and x of a point to mark. Without the clip, the analysed frames.
    """
    heat = torch.from_numpy(row / render.heat_scale(row))

    def frames() -> Iterator[np.ndarray]:
        for clip_frame, frame in numbered_frames(analysis, clip):
            over = render.heat_overlay(frame, blend(heat, analysis, clip_frame).numpy())
            if query and clip_frame == analysis.analysed[query[0]]:
                over = render.mark_point(over, query[1], query[2])
            yield over

    write_frames(path, clip or analysed_clip(analysis), frames(), progress, Stage.HEATMAP)


def write_frames(
    path: Path,
    clip: Clip,
    frames: Iterator[np.ndarray],
    progress: Progress = silent,
    stage: Stage = Stage.MASKS,
) -> None:
    """Write frames as a video at the clip's size and times."""
    fps, order = playback(clip.times)
    repeats = np.bincount(order, minlength=len(clip.times))
    with VideoWriter(path, size=clip.size, fps=fps) as video:
        for i, frame in enumerate(frames):
            for _ in range(repeats[i]):
                video.write(frame)
            progress(stage, (i + 1) / len(repeats))
