"""Overlay and heatmap videos, at the size and times of the clip."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch

from bavos_io.clip import Clip
from bavos_io.writing import write_frames

from .. import render
from ..analysis import Analysis
from ..progress import Progress, Stage, reporting, silent
from ..segmentation import Segmentation
from .masks import all_masks, blend, numbered_frames, shown_clip

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
    sound: bool = True,
    progress: Progress = silent,
) -> None:
    """Write the clip with every object in its colour; without the clip, the analysed frames.

    opacity: 0 … 1. hidden: clusters that are not painted. sound: keep the clip's sound.
    """
    given = segmentation.colours, segmentation.background
    colours, alpha = render.cluster_paint(
        *given, opacity=opacity, show_background=show_background, hidden=hidden
    )
    masks = all_masks(analysis, segmentation, clip)
    painted = (mask.painted(colours, alpha, style) for mask in masks)
    write_over_clip(path, analysis, clip, painted, sound=sound, progress=progress)


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
                scale = len(frame) / analysis.size[0]
                over = render.mark_point(over, query[1] * scale, query[2] * scale)
            yield over

    write_over_clip(path, analysis, clip, frames(), progress=progress, stage=Stage.HEATMAP)


@reporting
def write_over_clip(
    path: Path,
    analysis: Analysis,
    clip: Clip | None,
    frames: Iterator[np.ndarray],
    *,
    sound: bool = True,
    progress: Progress = silent,
    stage: Stage = Stage.MASKS,
) -> None:
    """Write frames at the size and times of the clip and with its sound.

    Without the clip, they are the analysed frames, and there is no sound.
    """
    shown, timeline = shown_clip(analysis, clip)
    write_frames(
        path,
        timeline.timed(frames),
        size=shown.size,
        seconds=timeline.end,
        sound=shown.sound() if sound else None,
        progress=partial(progress, stage),
    )
