"""Pictures of a stored analysis that the page shows beside the large frame.

T analysed frames, h×w patch grid. All pictures are (H, W, 3) uint8 RGB.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from PIL import Image

from bavos_core import Analysis, drawing
from bavos_core.settings import Sources
from bavos_core.trained import TrainedBlock

from . import words

Query = tuple[int, float, float]  # analysed frame, y and x of a point in pixels
Tile = tuple[np.ndarray, str]  # a small picture and what it shows

_TILE = 280  # longer side in pixels


def heat_frame(analysis: Analysis, row: np.ndarray, position: int, query: Query) -> np.ndarray:
    """A frame under the attention row (T, h, w), with the point if it is of this frame."""
    return _heated(analysis.frames[position], analysis, row, position, query)


def over_time(analysis: Analysis, row: np.ndarray, query: Query) -> list[Tile]:
    """A row of attention in every analysed frame."""
    return [
        (_tile(analysis, row, t, query), words.frame_name(analysis, t))
        for t in range(len(analysis.frames))
    ]


def by_source(analysis: Analysis, position: int, query: Query) -> list[Tile]:
    """What each source attends to in one frame, for the same query (paper, Fig. 1)."""
    rows = ((words.SOURCES[s], analysis.attend(*query, source=s)) for s in analysis.sources())
    return [(_tile(analysis, row, position, query), name) for name, row in rows]


def by_head(analysis: Analysis, position: int, query: Query, source: Sources) -> list[Tile]:
    """What each head of a source attends to in one frame."""
    return list(_heads(analysis, position, query, source))


def learned_frame(analysis: Analysis, block: TrainedBlock, query: Query) -> np.ndarray:
    """What a block that is not (yet) the analysis's own attends to, in the query's frame."""
    row = replace(analysis, block=block).attend(*query, source="learned")
    return heat_frame(analysis, row, query[0], query)


def _heads(analysis: Analysis, position: int, query: Query, source: Sources) -> Iterator[Tile]:
    for head in range(analysis.heads(source)):
        row = analysis.attend(*query, head=head, source=source)
        yield _tile(analysis, row, position, query), f"Head {head}"


def _tile(analysis: Analysis, row: np.ndarray, position: int, query: Query) -> np.ndarray:
    small = Image.fromarray(analysis.frames[position])
    small.thumbnail((_TILE, _TILE))
    return _heated(np.asarray(small), analysis, row, position, query)


def _heated(
    picture: np.ndarray, analysis: Analysis, row: np.ndarray, position: int, query: Query
) -> np.ndarray:
    """A picture of a frame, at any size, under the heatmap; one scale for the whole row."""
    heated = drawing.heat_overlay(picture, row[position] / drawing.heat_scale(row))
    if position != query[0]:
        return heated
    shrunk = picture.shape[0] / analysis.size[0]
    return drawing.mark_point(heated, query[1] * shrunk, query[2] * shrunk)
