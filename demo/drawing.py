"""Drawing that only the page needs: several heatmaps, the patch grid, thumbnails in the tree.

H×W pixels, h×w patches, Q queries. All frames are (H, W, 3) uint8 RGB.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bavos_core import ClusterTree, Segmentation
from bavos_core.render import TreeLayout, hierarchy_svg, object_colour, spread_heat

_WIDTH = 720  # pixels of the tree
_WIDE, _HIGH = 44, 32  # pixels of a thumbnail in the tree


def query_colour(i: int) -> tuple[int, int, int]:
    """Return the colour of the i-th of several queries, RGB 0 … 255."""
    return object_colour((0, 1, 6, 2, 3, 5, 4, 7)[i % 8])


def heats_overlay(
    frame: np.ndarray, heats: Sequence[np.ndarray], *, opacity: float = 0.65
) -> np.ndarray:
    """Lay Q heatmaps (h, w) in 0 … 1 over one frame, each in the colour of `query_colour`."""
    strengths = np.stack([opacity * spread_heat(heat, frame.shape[:2]) for heat in heats], axis=2)
    colours = np.array([query_colour(i) for i in range(len(heats))], np.float32)  # (Q, 3)
    share = strengths / np.maximum(strengths.sum(2, keepdims=True), 1)
    kept = 1 - share.sum(2, keepdims=True)
    return np.asarray((frame * kept + share @ colours).round().clip(0, 255).astype(np.uint8))


def patch_grid(frame: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Draw thin lines between the patches of a grid (h, w) over a frame."""
    lined = frame.copy()
    for axis, (side, parts) in enumerate(zip(frame.shape[:2], grid, strict=True)):
        places = np.arange(1, parts) * side // parts
        lines = (slice(None),) * axis + (places,)
        lined[lines] = 0.6 * frame[lines] + 0.4 * 255
    return lined


def tree_picture(tree: ClusterTree, cut: Segmentation, thumbnails: Mapping[int, str]) -> str:
    """Return the hierarchy as SVG, with small pictures at its nodes.

    thumbnails: addresses of the pictures by node, the most important first; those that would cover
    an earlier one are left out.
    """
    layout = TreeLayout.of(tree, cut.tau, cut.clusters, width=_WIDTH)
    shown: list[tuple[float, float]] = []
    drawn = []
    for node in (node for node in thumbnails if node in layout.drawn):
        x = min(max(layout.x[node] - _WIDE / 2, 0), _WIDTH - _WIDE)
        y = min(max(layout.y[node] - _HIGH / 2, 0), layout.floor - _HIGH)
        if any(abs(x - left) < _WIDE + 2 and abs(y - top) < _HIGH + 2 for left, top in shown):
            continue
        shown.append((x, y))
        drawn.append(
            f'<image data-node="{node}" x="{x:.1f}" y="{y:.1f}" width="{_WIDE}" height="{_HIGH}" '
            f'preserveAspectRatio="xMidYMid slice" href="{thumbnails[node]}"/>'
        )
    svg = hierarchy_svg(tree, cut.tau, cut.leaf_cluster, cut.background, cut.colours, width=_WIDTH)
    return svg.replace("<line ", "".join(drawn) + "<line ", 1)  # below the line of the cut
