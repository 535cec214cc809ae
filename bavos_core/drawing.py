"""Pictures for people: the palettes, painted objects, heatmaps, the hierarchy as SVG.

H×W pixels, C clusters, L leaves. All frames are (H, W, 3) uint8 RGB.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from html import escape
from typing import Literal

import matplotlib
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .hierarchy import ClusterTree
from .masks import strongest

Style = Literal["both", "fills", "outlines"]
MAX_PARTS = 255  # clusters that a person can look at, and an 8-bit mask can number
BACKGROUND_GREY = (150, 150, 150)  # clusters that are scenery, when they are shown

# Eight hues that people with colour-blindness tell apart (Okabe and Ito 2008, without black), then
# lighter and darker relatives.
OBJECT_COLOURS = np.array(
    [
        (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66),
        (0, 114, 178), (213, 94, 0), (204, 121, 167), (148, 103, 189),
        (255, 187, 120), (174, 225, 255), (120, 220, 180), (255, 245, 157),
        (90, 140, 255), (255, 127, 80), (255, 182, 218), (197, 176, 213),
        (166, 86, 40), (23, 190, 207), (127, 188, 65), (188, 128, 20),
    ],
    np.uint8,
)  # fmt: skip


def davis_palette() -> np.ndarray:
    """The palette of DAVIS (and PASCAL VOC) annotation files, (256, 3) uint8.

    Colour i takes the bits of i, three at a time, as the high bits of red, green and blue.
    """
    index = np.arange(256)
    palette = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            taken = (index >> (3 * bit + channel)) & 1 if 3 * bit + channel < 8 else 0 * index
            palette[:, channel] |= (taken << (7 - bit)).astype(np.uint8)
    return palette


def object_colour(cluster: int) -> tuple[int, int, int]:
    """RGB 0 … 255 of a cluster on screen; it stays the same at any granularity."""
    red, green, blue = OBJECT_COLOURS[cluster % len(OBJECT_COLOURS)]
    return int(red), int(green), int(blue)


def cluster_paint(
    background: np.ndarray,
    *,
    opacity: float,
    show_background: bool,
    hidden: Collection[int] = (),
) -> tuple[np.ndarray, np.ndarray]:
    """Colour (C, 3) float32 0 … 255 and opacity (C,) 0 … 1 of every cluster."""
    colours = np.array([object_colour(i) for i in range(len(background))], np.float32)
    alpha = np.where(background & ~show_background, 0.0, opacity).astype(np.float32)
    alpha[[i for i in hidden if i < len(alpha)]] = 0
    return colours, alpha


def paint(
    frame: np.ndarray,
    clusters: Tensor,
    membership: Tensor,
    colours: np.ndarray,
    alpha: np.ndarray,
    style: Style = "both",
) -> np.ndarray:
    """Paint every pixel in the colour of its strongest cluster, with a thin bright outline.

    clusters (C',) and membership (C', gh, gw) as from masks.refined_membership; colours (C, 3)
    and alpha (C,) for all clusters. Colour and opacity are up-sampled instead of labels, which
    smooths the borders on large frames.
    """
    cluster = clusters[strongest(membership)]  # (gh, gw)
    opacity = torch.from_numpy(alpha)[cluster]
    outline = _outline(cluster) & (_widen(opacity) > 0)
    tint = torch.from_numpy(colours)[cluster]
    if style == "both":  # brighter than the fill, to stand out from it
        tint = torch.where(outline[..., None], 0.4 * tint + 153, tint)
    if style == "outlines":
        outline = outline | (_widen(outline.float()) > 0) & (opacity > 0)
        opacity = torch.zeros_like(opacity)
    if style != "fills":
        opacity = torch.where(outline, _widen(opacity).clamp_min(0.85), opacity)
    layer = torch.cat([tint * opacity[..., None], opacity[..., None]], dim=2)  # (gh, gw, 4)
    layer = F.interpolate(layer.permute(2, 0, 1)[None], size=frame.shape[:2], mode="bilinear")[0]
    painted = torch.from_numpy(frame).permute(2, 0, 1) * (1 - layer[3]) + layer[:3]
    return np.asarray(painted.round_().clamp_(0, 255).byte().permute(1, 2, 0).numpy())


def heat_overlay(
    frame: np.ndarray, heat: np.ndarray, *, opacity: float = 0.65, colours: str = "inferno"
) -> np.ndarray:
    """Lay a heatmap (h, w) in 0 … 1 over a frame. Cold places stay as they are."""
    levels = (_spread(heat, frame.shape[:2]) * 255).astype(np.uint8)
    table = matplotlib.colormaps[colours](np.arange(256))[:, :3] * 255
    strength = (opacity * (0.35 + 0.65 * np.linspace(0, 1, 256)))[:, None]
    # Two table look-ups instead of arithmetic in colour for every pixel.
    scaled, kept = (table * strength).astype(np.float32), (1 - strength).astype(np.float32)
    return np.asarray((frame * kept[levels] + scaled[levels]).astype(np.uint8))


def heats_overlay(
    frame: np.ndarray, heats: Sequence[np.ndarray], *, opacity: float = 0.65
) -> np.ndarray:
    """Several heatmaps (h, w) in 0 … 1 over one frame, each in the colour of `query_colour`."""
    strengths = np.stack([opacity * _spread(heat, frame.shape[:2]) for heat in heats], axis=2)
    colours = np.array([query_colour(i) for i in range(len(heats))], np.float32)  # (Q, 3)
    share = strengths / np.maximum(strengths.sum(2, keepdims=True), 1)
    kept = 1 - share.sum(2, keepdims=True)
    return np.asarray((frame * kept + share @ colours).round().clip(0, 255).astype(np.uint8))


def query_colour(i: int) -> tuple[int, int, int]:
    """RGB 0 … 255 of the i-th of several queries."""
    return object_colour((0, 1, 6, 2, 3, 5, 4, 7)[i % 8])


def patch_grid(frame: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Thin lines between the patches of a grid (h, w), over a frame."""
    lined = frame.copy()
    for axis, (side, parts) in enumerate(zip(frame.shape[:2], grid, strict=True)):
        places = np.arange(1, parts) * side // parts
        lines = (slice(None),) * axis + (places,)
        lined[lines] = 0.6 * frame[lines] + 0.4 * 255
    return lined


def _spread(heat: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """A heatmap (h, w) over the pixels of a picture, clipped to 0 … 1: (H, W) float32."""
    maps = torch.from_numpy(np.ascontiguousarray(heat, np.float32))[None, None]
    smooth = F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)
    return np.asarray(smooth[0, 0].clamp(0, 1).numpy())


def mark_point(
    frame: np.ndarray, y: float, x: float, colour: tuple[int, int, int] = (255, 255, 255)
) -> np.ndarray:
    """A ring around the pixel (y, x)."""
    height, width = frame.shape[:2]
    radius = max(4.0, 0.014 * max(height, width))
    rows, columns = np.ogrid[:height, :width]
    distance = np.hypot(rows + 0.5 - y, columns + 0.5 - x)[..., None]
    marked = np.where(abs(distance - radius) < 0.45 * radius, 0, frame)
    return np.asarray(np.where(abs(distance - radius) < 0.22 * radius, colour, marked), np.uint8)


def heat_scale(row: np.ndarray, percentile: float = 99.9) -> float:
    """Weight that is shown as the hottest colour, the same for all frames of one query."""
    return float(max(np.quantile(row, percentile / 100), 1e-12))


def _outline(cluster: Tensor) -> Tensor:
    """Pixels whose right or lower neighbour belongs to another cluster, (gh, gw) bool."""
    edge = torch.zeros_like(cluster, dtype=torch.bool)
    edge[:-1] |= cluster[:-1] != cluster[1:]
    edge[:, :-1] |= cluster[:, :-1] != cluster[:, 1:]
    return edge


def _widen(opacity: Tensor) -> Tensor:
    """Largest opacity among a pixel and its neighbours."""
    return F.max_pool2d(opacity[None], 3, 1, 1)[0]


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
    images = []
    for node, address in pictures.items():
        if node not in spots:
            continue
        x = min(max(spots[node][0] - wide / 2, 0), width - wide)
        y = min(max(spots[node][1] - high / 2, 0), floor - high)
        if any(abs(x - left) < wide + 2 and abs(y - top) < high + 2 for left, top in shown):
            continue
        shown.append((x, y))
        images.append(
            f'<image data-node="{node}" x="{x:.1f}" y="{y:.1f}" width="{wide}" height="{high}" '
            f'preserveAspectRatio="xMidYMid slice" href="{address}"/>'
        )
    return "".join(images)


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
