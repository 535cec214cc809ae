"""The hierarchy as SVG.

C clusters, L leaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import numpy as np

from ..tree import ClusterTree
from .palette import BACKGROUND_GREY, MAX_PARTS

_WIDTH, _FLOOR = 720, 314  # pixels of the picture, and y of τ = 0
_MARGIN = 44  # pixels on the left, for the scale
_CEILING = 16  # y of the highest τ


@dataclass(frozen=True)
class _Layout:
    """Where the nodes of a tree are drawn, leaves below and the whole scene on top.

    Heights are drawn as square roots, so that fine splits are not crushed. Of a tree with more
    parts than can be told apart, the upper 255 are drawn.
    """

    parts: np.ndarray  # (P,) int64: the lowest nodes that are drawn, from left to right
    x: np.ndarray  # (2L-1,) pixels; of drawn nodes only
    y: np.ndarray  # (2L-1,) pixels
    top: float  # √τ at the ceiling

    @classmethod
    def of(cls, tree: ClusterTree, tau: float, clusters: int) -> _Layout:
        """Lay out a tree that is cut at τ, into so many clusters; no branches cross."""
        inner = _inner(tree, max(MAX_PARTS, clusters))
        parts, stack = [], [2 * tree.leaves - 2]
        while stack:
            node = stack.pop()
            if node in inner:
                stack.extend(tree.children(node)[::-1])
            else:
                parts.append(node)
        place, level = np.zeros((2, 2 * tree.leaves - 1))
        place[parts] = np.arange(len(parts))
        for node in inner:
            place[node] = place[tree.children(node)].mean()
            level[node] = tree.heights[node - tree.leaves]
        top = max(level[-1], tau) ** 0.5 * 1.05
        x = _MARGIN + (place + 0.5) / len(parts) * (_WIDTH - _MARGIN - 12)
        y = _FLOOR - level**0.5 / top * (_FLOOR - _CEILING)
        return cls(np.array(parts), x, y, top)

    def y_of(self, tau: float) -> float:
        """Return the y of a height τ."""
        return _FLOOR - tau**0.5 / self.top * (_FLOOR - _CEILING)


def hierarchy_svg(
    tree: ClusterTree,
    tau: float,
    leaf_cluster: np.ndarray,
    background: np.ndarray,
    colours: np.ndarray,
) -> str:
    """Return the hierarchy as a standing tree, leaves below and the whole scene on top.

    leaf_cluster (L,): a cut at τ. background (C,) bool. colours (255, 3): of the clusters. Branches
    below the cut have the colour of their cluster, dotted ones lead to instances of one cluster,
    and the dashed line is the cut. Every branch carries the number of its lower node as data-node.
    """
    layout = _Layout.of(tree, tau, len(background))
    tints = colours[np.arange(len(background)) % len(colours)]
    tints[background] = BACKGROUND_GREY
    cut = layout.y_of(tau)
    scale = "".join(
        f'<text x="{_MARGIN - 8}" y="{layout.y_of(t) + 4:.1f}" text-anchor="end">{t:g}</text>'
        for t in (0.25, 0.5, 1, 2, 4, 8, 16)
        if t**0.5 < layout.top
    )
    count = len(np.unique(leaf_cluster))
    title = escape(f"{count} clusters at τ = {tau:.2f}, {len(layout.parts)} finest parts")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_FLOOR + 26}" role="img" '
        f'aria-label="{title}" font-family="sans-serif" font-size="12" fill="#707070">'
        f"<title>{title}</title>"
        f'<g fill="none" stroke-width="2" stroke-linejoin="round">'
        f"{_branches(tree, layout, tree.node_clusters(leaf_cluster), tints)}</g>{scale}"
        f'<text x="8" y="14">τ</text>'
        f'<line x1="{_MARGIN}" x2="{_WIDTH}" y1="{cut:.1f}" y2="{cut:.1f}" class="cut" '
        f'stroke="#d55e00" stroke-width="1.5" stroke-dasharray="6 4"/>'
        f'<text x="{_WIDTH - 8}" y="{cut - 5:.1f}" text-anchor="end" fill="#a94a00" '
        'paint-order="stroke" stroke="#fff" stroke-width="4">'
        f"cut at τ = {tau:.2f}: {count} clusters</text>"
        f'<text x="{_MARGIN}" y="{_FLOOR + 20}">finest parts</text></svg>'
    )


def _branches(tree: ClusterTree, layout: _Layout, cluster: np.ndarray, tints: np.ndarray) -> str:
    patches = tree.node_counts().sum(1)
    x, y = layout.x, layout.y
    lines = []
    for node in _inner(tree, len(layout.parts)):
        merge = node - tree.leaves
        dots, joined = "", f"joined at τ = {tree.heights[merge]:.2f}"
        if tree.instances[merge]:
            dots = ' stroke-dasharray="0.1 4" stroke-linecap="round"'
            joined = "told apart as instances"
        for child in tree.children(node):
            below = cluster[child] >= 0  # the cut
            colour = f"#{tints[cluster[child]].tobytes().hex()}" if below else "#999999"
            lines.append(
                f'<path data-node="{child}" d="M{x[child]:.1f} {y[child]:.1f}'
                f'V{y[node]:.1f}H{x[node]:.1f}" stroke="{colour}"{dots}>'
                f"<title>{patches[child]} patches, {joined}</title></path>"
            )
    return "".join(lines)


def _inner(tree: ClusterTree, parts: int) -> range:
    """Return the nodes above the cut into so many parts."""
    return range(2 * tree.leaves - min(parts, tree.leaves), 2 * tree.leaves - 1)
