"""Pictures of an analysis for the page.

T analysed frames, h×w patch grid, Q queries. All pictures are (H, W, 3) uint8 RGB.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image

from bavos_core import Analysis, Segmentation, export, render
from bavos_core.correlator import TrainedCorrelator
from bavos_core.refinement import nearest_pixels
from bavos_core.settings import AttentionSource

from . import strings
from .drawing import heats_overlay, patch_grid, query_colour
from .edits import Edits

Query = tuple[int, float, float]  # index of an analysed frame, y and x of a point in pixels
Tile = tuple[np.ndarray, str]  # a small picture and its caption

_TILE = 280  # longer side in pixels
_THUMBNAILS = 24  # nodes of the tree that are shown with a picture
_THUMBNAIL = (88, 64)  # pixels
_THUMBNAIL_SOURCE = 320  # least longer side of the frame that they are cropped from


@dataclass(frozen=True)
class ObjectsLook:
    """How objects are painted."""

    background: bool = False
    opacity: float = export.OPACITY
    style: render.Style = "both"
    edits: Edits = field(default_factory=Edits)


@dataclass(frozen=True)
class HeatLook:
    """How attention is painted."""

    source: AttentionSource
    head: int | None = None  # None: mean of all heads
    colours: str = "inferno"  # colour map of matplotlib
    opacity: float = 0.65
    percentile: float = 99.9  # weights above it have the hottest colour
    grid: bool = False  # draw lines between patches


# ---- objects -----------------------------------------------------------------------------------


def objects_frame(
    analysis: Analysis, cut: Segmentation, position: int, look: ObjectsLook
) -> np.ndarray:
    """Return an analysed frame with its objects painted."""
    colours, alpha = render.cluster_paint(
        cut.colours,
        cut.background,
        opacity=look.opacity,
        show_background=look.background,
        hidden=look.edits.unseen(cut),
    )
    mask = export.analysed_mask(analysis, cut, position)
    return mask.painted(colours, alpha, look.style)


def object_thumbnail(analysis: Analysis, cut: Segmentation, cluster: int) -> str:
    """Return a data URL of the frame where a cluster is largest, cropped around it."""
    return _thumbnail(analysis, cut.labels == cluster)


def telling_point(analysis: Analysis, position: int) -> Query:
    """Return a point inside the largest object of a frame, or its centre if there is no object."""
    cut = analysis.segment()
    labels = cut.labels[position]
    size = np.bincount(labels.ravel(), minlength=cut.clusters)
    largest = max(cut.objects, key=lambda i: size[i], default=0)
    height, width = analysis.size
    rows, columns = np.nonzero(labels == largest)
    if not len(rows) or largest not in cut.objects:
        return position, height / 2, width / 2
    middle = np.hypot(rows - np.median(rows), columns - np.median(columns)).argmin()
    (h, w), y, x = labels.shape, rows[middle] + 0.5, columns[middle] + 0.5
    return position, float(y * height / h), float(x * width / w)


def node_over_time(analysis: Analysis, node: int) -> list[Tile]:
    """Return every analysed frame with the patches of a node of the hierarchy."""
    inside = node_mask(analysis, node)
    return [
        (heats_overlay(_small(analysis, t), [mask]), strings.frame_name(analysis, t))
        for t, mask in enumerate(inside.astype(np.float32))
    ]


def node_mask(analysis: Analysis, node: int) -> np.ndarray:
    """Return which patches belong to a node of the hierarchy: (T, h, w) bool."""
    below = np.zeros(analysis.tree.leaves, bool)
    below[analysis.tree.leaves_of(node)] = True
    return below[analysis.nearest[..., 0]]


def node_thumbnails(analysis: Analysis, cut: Segmentation) -> Mapping[int, str]:
    """Return data URLs by node, for the clusters of a cut and the nodes above, largest first."""
    tree = analysis.tree
    cluster = tree.node_clusters(cut.leaf_cluster)
    parent = tree.parents()
    is_top = (cluster >= 0) & ((parent < 0) | (cluster[parent] != cluster))
    size = tree.node_counts().sum(1)
    tops = sorted(np.flatnonzero(is_top).tolist(), key=lambda node: -size[node])
    above = sorted(np.flatnonzero(cluster < 0).tolist(), key=lambda node: -node)[1:]
    return {
        node: _thumbnail(analysis, node_mask(analysis, node))
        for node in (tops + above)[:_THUMBNAILS]
    }


def _thumbnail(analysis: Analysis, inside: np.ndarray) -> str:
    """Return the frame with most of a mask (T, h, w), cropped around it, as a data URL.

    Pixels outside the mask are dimmed.
    """
    t = int(inside.sum((1, 2)).argmax())
    step = max(1, max(picture_size(analysis)) // _THUMBNAIL_SOURCE)
    frame = analysis.frames[t, ::step, ::step]
    pixels = nearest_pixels(inside[t], frame.shape[:2])
    rows, columns = (np.flatnonzero(pixels.any(axis)) for axis in (1, 0))
    if not len(rows):
        rows, columns = (np.arange(side) for side in frame.shape[:2])
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    dimmed = np.where(pixels[box][..., None], frame[box], frame[box] // 3 + 150)
    picture = Image.fromarray(dimmed.astype(np.uint8))
    picture.thumbnail(_THUMBNAIL)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def level_pictures(analysis: Analysis, position: int) -> list[Tile]:
    """Return one frame at the paper's levels, then with ever fewer clusters (paper, Fig. 5)."""
    levels = [level[position] for level in analysis.levels]
    counts = [int(level.max()) + 1 for level in analysis.levels]
    tree, leaf = analysis.tree, analysis.nearest[position, ..., 0]
    for clusters in (64, 32, 16, 8, 4, 2):
        if clusters < counts[-1]:
            levels.append(tree.cut_into(clusters)[leaf])
            counts.append(clusters)
    return [
        (_coloured(analysis.frames[position], level), f"{count} clusters")
        for level, count in zip(levels, counts, strict=True)
    ]


def _coloured(frame: np.ndarray, labels: np.ndarray) -> np.ndarray:
    colours = np.array([render.object_colour(i) for i in range(int(labels.max()) + 1)])
    painted = colours[nearest_pixels(labels, frame.shape[:2])]
    return (0.4 * frame + 0.6 * painted).astype(np.uint8)


# ---- attention ---------------------------------------------------------------------------------


def heat_frame(
    analysis: Analysis,
    rows: np.ndarray,
    position: int,
    queries: Sequence[Query],
    look: HeatLook,
    *,
    small: bool = False,
) -> np.ndarray:
    """Return a frame under the attention rows (Q, T, h, w) of the queries.

    Each row has one scale for all frames. small: as a tile of at most 280 pixels.
    """
    picture = _small(analysis, position) if small else analysis.frames[position]
    heats = [row[position] / render.heat_scale(row, look.percentile) for row in rows]
    if len(heats) == 1:
        heated = render.heat_overlay(picture, heats[0], opacity=look.opacity, colours=look.colours)
    else:
        heated = heats_overlay(picture, heats, opacity=look.opacity)
    if look.grid:
        heated = patch_grid(heated, analysis.grid)
    return marked(heated, position, queries, shrunk=picture.shape[0] / analysis.size[0])


def over_time(
    analysis: Analysis, rows: np.ndarray, queries: Sequence[Query], look: HeatLook
) -> list[Tile]:
    """Return the attention rows (Q, T, h, w) in every analysed frame."""
    return [
        (heat_frame(analysis, rows, t, queries, look, small=True), strings.frame_name(analysis, t))
        for t in range(len(analysis.frames))
    ]


def by_source(analysis: Analysis, position: int, query: Query, look: HeatLook) -> list[Tile]:
    """Return the attention of a query in one frame, by each source (paper, Fig. 1)."""
    return [
        (_one(analysis, position, query, replace(look, source=source, head=None)), name)
        for source, name in strings.sources(analysis)
    ]


def by_head(analysis: Analysis, position: int, query: Query, look: HeatLook) -> list[Tile]:
    """Return the attention of a query in one frame, by each head of a source."""
    heads = range(analysis.heads(look.source))
    return [
        (_one(analysis, position, query, replace(look, head=h)), strings.head(h)) for h in heads
    ]


def learned_frame(analysis: Analysis, correlator: TrainedCorrelator, query: Query) -> np.ndarray:
    """Return the query's frame under the attention of a correlator that is still in training."""
    rows = replace(analysis, correlator=correlator).attend_all([query], source="correlator")
    return heat_frame(analysis, rows, query[0], [query], HeatLook("correlator"))


def _one(analysis: Analysis, position: int, query: Query, look: HeatLook) -> np.ndarray:
    rows = analysis.attend_all([query], head=look.head, source=look.source)
    return heat_frame(analysis, rows, position, [query], look, small=True)


def picture_size(analysis: Analysis) -> tuple[int, int]:
    """Return (H, W) of the pictures of frames, which may be smaller than the clip."""
    return analysis.frames.shape[1], analysis.frames.shape[2]


def clicked(analysis: Analysis, position: int, pixel: Sequence[int]) -> Query:
    """Return the point of the clip at the centre of a pixel (x, y) in the picture of a frame."""
    scale = analysis.size[0] / picture_size(analysis)[0]
    return position, (pixel[1] + 0.5) * scale, (pixel[0] + 0.5) * scale


def _small(analysis: Analysis, position: int) -> np.ndarray:
    small = Image.fromarray(analysis.frames[position])
    small.thumbnail((_TILE, _TILE))
    return np.asarray(small)


def marked(
    picture: np.ndarray, position: int, queries: Sequence[Query], *, shrunk: float = 1.0
) -> np.ndarray:
    """Return a picture of a frame with a ring around every query in that frame.

    shrunk: size of the picture relative to the frame.
    """
    for i, (sample_index, y, x) in enumerate(queries):
        if sample_index == position:
            colour = query_colour(i) if len(queries) > 1 else (255, 255, 255)
            picture = render.mark_point(picture, y * shrunk, x * shrunk, colour)
    return picture
