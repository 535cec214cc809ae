"""The hierarchy as SVG.

C clusters, L leaves.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

import numpy as np

from ..tree import ClusterTree
from .palette import BACKGROUND_GREY, MAX_PARTS, object_colour


def hierarchy_svg(
    tree: ClusterTree,
    tau: float,
    leaf_cluster: np.ndarray,
    background: np.ndarray,
    *,
    thumbnails: Mapping[int, str] | None = None,
    width: int = 720,
    height: int = 340,
) -> str:
    """The hierarchy as a standing tree, leaves below and the whole scene on top.

    Heights are drawn as square roots, so that fine splits are not crushed. Branches below the cut
    have the colour of their cluster; the dashed line is the cut. Of a tree with more parts than
    can be told apart, the upper 255 are drawn. Dotted branches lead to instances of one cluster.
    Every branch carries the number of the node that it leads up from as data-node, and the picture
    what it takes to tell τ from a place:
    √τ = data-top · (data-floor - y) / (data-floor - 16).
    leaf_cluster (L,): a cut; thumbnails: addresses of small pictures of nodes, the most important
    ones first; those that find room are shown.
    """
    parts = max(MAX_PARTS, len(background))
    nodes = tree.kept_nodes(parts)  # their numbers in the whole tree
    cluster = tree.node_clusters(leaf_cluster)[nodes]
    tree = tree.coarsened(parts)
    margin, floor = 44, height - 26
    top = max(tree.heights[-1] if tree.leaves > 1 else 0.0, tau) ** 0.5 * 1.05
    place, level = _tree_layout(tree)
    patches = tree.node_counts().sum(1)

    def across(node: int) -> float:
        return margin + (place[node] + 0.5) / tree.leaves * (width - margin - 12)

    def up(value: float) -> float:
        return floor - float(value) ** 0.5 / top * (floor - 16)

    lines = []
    for i, (first, second, value, _) in enumerate(tree.merges):
        dots, joined = "", f"joined at τ = {value:.2f}"
        if tree.instances[i]:
            dots = ' stroke-dasharray="0.1 4" stroke-linecap="round"'
            joined = "told apart as instances"
        for child in (int(first), int(second)):
            colour = _branch_colour(int(cluster[child]), background)
            lines.append(
                f'<path data-node="{nodes[child]}" d="M{across(child):.1f} {up(level[child]):.1f}'
                f'V{up(value):.1f}H{across(tree.leaves + i):.1f}" stroke="{colour}"{dots}>'
                f"<title>{patches[child]} patches, {joined}</title></path>"
            )
    ticks = [t for t in (0.25, 0.5, 1, 2, 4, 8, 16) if t**0.5 < top]
    scale = "".join(
        f'<text x="{margin - 8}" y="{up(t) + 4:.1f}" text-anchor="end">{t:g}</text>' for t in ticks
    )
    count = len(np.unique(leaf_cluster))
    title = escape(f"{count} clusters at τ = {tau:.2f}, {tree.leaves} finest parts")
    spots = {int(nodes[i]): (across(i), up(level[i])) for i in range(len(nodes))}
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'data-floor="{floor}" data-top="{top:.6f}" '
        f'aria-label="{title}" font-family="sans-serif" font-size="12" fill="#707070">'
        f"<title>{title}</title>"
        f'<g fill="none" stroke-width="2" stroke-linejoin="round">{"".join(lines)}</g>{scale}'
        f'<text x="8" y="14">τ</text>{_thumbnails(spots, thumbnails or {}, width, floor)}'
        f'<line x1="{margin}" x2="{width}" y1="{up(tau):.1f}" y2="{up(tau):.1f}" class="cut" '
        f'stroke="#d55e00" stroke-width="1.5" stroke-dasharray="6 4"/>'
        f'<text x="{width - 8}" y="{up(tau) - 5:.1f}" text-anchor="end" fill="#a94a00" '
        'paint-order="stroke" stroke="#fff" stroke-width="4">'
        f"cut at τ = {tau:.2f}: {count} clusters</text>"
        f'<text x="{margin}" y="{height - 6}">finest parts</text></svg>'
    )


def _thumbnails(
    spots: Mapping[int, tuple[float, float]], pictures: Mapping[int, str], width: int, floor: int
) -> str:
    """Small pictures of nodes at their places, without those that would cover one before."""
    wide, high = 44, 32
    shown: list[tuple[float, float]] = []
    drawn = []
    for node, address in pictures.items():
        if node not in spots:
            continue
        x = min(max(spots[node][0] - wide / 2, 0), width - wide)
        y = min(max(spots[node][1] - high / 2, 0), floor - high)
        if any(abs(x - left) < wide + 2 and abs(y - top) < high + 2 for left, top in shown):
            continue
        shown.append((x, y))
        drawn.append(
            f'<image data-node="{node}" x="{x:.1f}" y="{y:.1f}" width="{wide}" height="{high}" '
            f'preserveAspectRatio="xMidYMid slice" href="{address}"/>'
        )
    return "".join(drawn)


def _branch_colour(cluster: int, background: np.ndarray) -> str:
    if cluster < 0:
        return "#999999"
    red, green, blue = BACKGROUND_GREY if background[cluster] else object_colour(cluster)
    return f"#{red:02x}{green:02x}{blue:02x}"


def _tree_layout(tree: ClusterTree) -> tuple[np.ndarray, np.ndarray]:
    """Horizontal place in leaves and height of every node, (2L-1,) each; no branches cross."""
    place = np.zeros(2 * tree.leaves - 1)
    level = np.concatenate([np.zeros(tree.leaves), tree.heights])
    order: list[int] = []
    stack = [2 * tree.leaves - 2]
    while stack:
        node = stack.pop()
        if node < tree.leaves:
            order.append(node)
        else:
            stack.extend(int(child) for child in tree.merges[node - tree.leaves, 1::-1])
    place[order] = np.arange(tree.leaves)
    for i, (first, second, *_) in enumerate(tree.merges):
        place[tree.leaves + i] = (place[int(first)] + place[int(second)]) / 2
    return place, level
