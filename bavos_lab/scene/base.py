"""The first part of a scene: times, tree, roles at every cut, and what else there is.

F frames in the clip, T of them analysed, h×w patch grid, L leaves, H×W pixels.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from bavos_core import Analysis, render
from bavos_core.backbones import Backbone, describe
from bavos_core.correlator import HEADS
from bavos_core.settings import AttentionSource
from bavos_io.clip import shrunk

from .blocks import blocks, own_block
from .cuts import background_at_every_cut
from .parts import pack

VERSION = 1
PREVIEW_SIDE = 640  # pixels of the longer side of the frames that are shown
READ_SIDE = 1024  # and of those that are read to make them, as an analysis keeps its frames


def base_part(
    analysis: Analysis,
    sources: Collection[AttentionSource] | None = None,
    backbone: Backbone | None = None,
) -> bytes:
    """Return everything that a viewer needs before the first picture.

    sources: those that have a part; None for all. backbone: if its other blocks have parts.
    """
    tree, most = analysis.tree, most_clusters(analysis)
    shown = [s for s in analysis.sources() if sources is None or part_source(s) in sources]
    return pack(
        {**_fields(analysis, most, shown), **_blocks(backbone)},
        {
            "times": analysis.times.astype(np.float64),
            "analysed": analysis.analysed.astype(np.int32),
            "merges": tree.merges.astype(np.float64).reshape(-1, 4),
            "counts": tree.counts.astype(np.int32),
            "nearest": analysis.nearest[..., 0].astype(np.uint16),
            "seams": analysis.seams.astype(np.uint8),
            "instances": tree.instances.astype(np.uint8),
            "background": background_at_every_cut(analysis, most).astype(np.uint8),
            "colours": analysis.colours,
        },
    )


def _fields(analysis: Analysis, most: int, sources: Collection[AttentionSource]) -> dict[str, Any]:
    start, stop = analysis.part
    usual = analysis.tree.clusters_at(analysis.settings.tau)
    return {
        "version": VERSION,
        "name": analysis.clip_name,
        "size": list(analysis.size),
        "preview": list(preview_size(analysis.size)),
        "grid": list(analysis.grid),
        "end": float(analysis.end),
        "part": [start, stop],
        "clusters": min(usual, most),
        "most": most,
        "source": analysis.source,
        "tau": analysis.settings.tau,
        "sources": [{"name": name, "heads": _heads(analysis, name)} for name in sources],
        "backbone": describe(analysis.settings.backbone),
        "notes": list(analysis.notes),
        "seconds": dict(analysis.timings),
    }


def _blocks(backbone: Backbone | None) -> dict[str, int]:
    """Return how many blocks can be looked at, and the one that is used."""
    if backbone is None:
        return {"blocks": 0, "block": -1}
    return {"blocks": blocks(backbone), "block": own_block(backbone)}


def preview_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return the (height, width) at which frames of (H, W) are shown: even numbers."""
    height, width = (max(2, side // 2 * 2) for side in shrunk(size, PREVIEW_SIDE))
    return height, width


def most_clusters(analysis: Analysis) -> int:
    """Return the largest number of clusters that a viewer offers."""
    return min(analysis.tree.leaves, render.MAX_PARTS)


def part_source(source: AttentionSource) -> AttentionSource:
    """Return the source whose part serves a source: framewise has cross-frame's."""
    return "cross-frame" if source == "framewise" else source


def _heads(analysis: Analysis, source: AttentionSource) -> int:
    """Return the heads of a source without computing its queries, as `Analysis.heads` does."""
    if source == "correlator" and analysis.correlator:
        return int(analysis.correlator.metadata["heads"])
    return {"key-similarity": 1, "untrained": HEADS}.get(source, analysis.queries.shape[1])
