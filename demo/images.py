"""Pictures that the server itself makes: for the HTTP API, and during training.

T analysed frames, h×w patch grid. All pictures are (H, W, 3) uint8 RGB.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bavos_core import Analysis, Segmentation, export, render
from bavos_core.correlator import TrainedCorrelator

Query = tuple[int, float, float]  # index of an analysed frame, y and x of a point in pixels


def objects_frame(analysis: Analysis, cut: Segmentation, position: int) -> np.ndarray:
    """Return an analysed frame with its objects painted."""
    colours, alpha = render.cluster_paint(
        cut.colours, cut.background, opacity=export.OPACITY, show_background=False
    )
    return export.analysed_mask(analysis, cut, position).painted(colours, alpha)


def heat_frame(analysis: Analysis, row: np.ndarray, query: Query) -> np.ndarray:
    """Return the frame of a query under its attention row (T, h, w), and a ring around it."""
    position, y, x = query
    picture = analysis.frames[position]
    heated = render.heat_overlay(picture, row[position] / render.heat_scale(row))
    shrunk = picture.shape[0] / analysis.size[0]
    return render.mark_point(heated, y * shrunk, x * shrunk, (255, 255, 255))


def learned_frame(analysis: Analysis, correlator: TrainedCorrelator, query: Query) -> np.ndarray:
    """Return the query's frame under the attention of a correlator that is still in training."""
    row = replace(analysis, correlator=correlator).attend_all([query], source="correlator")[0]
    return heat_frame(analysis, row, query)
