"""Pictures for people: the palettes, painted objects, heatmaps, the hierarchy as SVG.

H×W pixels, C clusters, L leaves. All frames are (H, W, 3) uint8 RGB.
"""

from __future__ import annotations

from html import escape

import matplotlib
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .hierarchy import ClusterTree
from .masks import strongest

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
    background: np.ndarray, *, opacity: float, show_background: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Colour (C, 3) float32 0 … 255 and opacity (C,) 0 … 1 of every cluster."""
    colours = np.array([object_colour(i) for i in range(len(background))], np.float32)
    alpha = np.where(background & ~show_background, 0.0, opacity)
    return colours, alpha.astype(np.float32)


def paint(
    frame: np.ndarray,
    clusters: Tensor,
    membership: Tensor,
    colours: np.ndarray,
    alpha: np.ndarray,
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
    tint = torch.where(outline[..., None], 0.4 * tint + 153, tint)
    opacity = torch.where(outline, _widen(opacity).clamp_min(0.85), opacity)
    layer = torch.cat([tint * opacity[..., None], opacity[..., None]], dim=2)  # (gh, gw, 4)
    layer = F.interpolate(layer.permute(2, 0, 1)[None], size=frame.shape[:2], mode="bilinear")[0]
    painted = torch.from_numpy(frame).permute(2, 0, 1) * (1 - layer[3]) + layer[:3]
    return np.asarray(painted.round_().clamp_(0, 255).byte().permute(1, 2, 0).numpy())


def heat_overlay(
    frame: np.ndarray, heat: np.ndarray, *, opacity: float = 0.65, colours: str = "inferno"
) -> np.ndarray:
    """Lay a heatmap (h, w) in 0 … 1 over a frame. Cold places stay as they are."""
    smooth = F.interpolate(
        torch.from_numpy(np.ascontiguousarray(heat, np.float32))[None, None],
        size=frame.shape[:2], mode="bilinear", align_corners=False,
    )[0, 0].numpy()  # fmt: skip
    levels = (smooth.clip(0, 1) * 255).astype(np.uint8)
    table = matplotlib.colormaps[colours](np.arange(256))[:, :3] * 255
    strength = (opacity * (0.35 + 0.65 * np.linspace(0, 1, 256)))[:, None]
    # Two table look-ups instead of arithmetic in colour for every pixel.
    scaled, kept = (table * strength).astype(np.float32), (1 - strength).astype(np.float32)
    return np.asarray((frame * kept[levels] + scaled[levels]).astype(np.uint8))


def mark_point(frame: np.ndarray, y: float, x: float) -> np.ndarray:
    """A ring around the pixel (y, x)."""
    height, width = frame.shape[:2]
    radius = max(4.0, 0.014 * max(height, width))
    rows, columns = np.ogrid[:height, :width]
    distance = np.hypot(rows + 0.5 - y, columns + 0.5 - x)[..., None]
    marked = np.where(abs(distance - radius) < 0.45 * radius, 0, frame)
    return np.asarray(np.where(abs(distance - radius) < 0.22 * radius, 255, marked), np.uint8)


def heat_scale(row: np.ndarray) -> float:
    """Weight that is shown as the hottest colour, the same for all frames of one query."""
    return float(max(np.quantile(row, 0.999), 1e-12))


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
    tree: ClusterTree, tau: float, background: np.ndarray, *, width: int = 720, height: int = 340
) -> str:
    """The hierarchy as a standing tree, leaves below and the whole scene on top.

    Heights are drawn as square roots, so that fine splits are not crushed. Branches below the cut
    have the colour of their cluster; the dashed line is the cut. Of a tree with more parts than
    can be told apart, the upper 255 are drawn.
    """
    tree = tree.coarsened(max(MAX_PARTS, len(background)))
    margin, floor = 44, height - 26
    top = max(tree.heights[-1] if tree.leaves > 1 else 0.0, tau) ** 0.5 * 1.05
    leaf_cluster = tree.cut_into(len(background))
    place, level = _tree_layout(tree)

    def across(position: float) -> float:
        return margin + (position + 0.5) / tree.leaves * (width - margin - 12)

    def up(value: float) -> float:
        return floor - float(value) ** 0.5 / top * (floor - 16)

    lines = []
    cluster = tree.node_clusters(leaf_cluster)
    for i, (first, second, value, _) in enumerate(tree.merges):
        for child in (int(first), int(second)):
            colour = _branch_colour(int(cluster[child]), background)
            x = across(place[child])
            lines.append(
                f'<path d="M{x:.1f} {up(level[child]):.1f}V{up(value):.1f}'
                f'H{across(place[tree.leaves + i]):.1f}" stroke="{colour}"/>'
            )
    ticks = [t for t in (0.25, 0.5, 1, 2, 4, 8, 16) if t**0.5 < top]
    scale = "".join(
        f'<text x="{margin - 8}" y="{up(t) + 4:.1f}" text-anchor="end">{t:g}</text>' for t in ticks
    )
    title = escape(f"{len(background)} clusters at τ = {tau:.2f}, {tree.leaves} finest parts")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{title}" font-family="sans-serif" font-size="12" fill="#888">'
        f"<title>{title}</title>"
        f'<g fill="none" stroke-width="2" stroke-linejoin="round">{"".join(lines)}</g>{scale}'
        f'<text x="8" y="14">τ</text>'
        f'<line x1="{margin}" x2="{width}" y1="{up(tau):.1f}" y2="{up(tau):.1f}" '
        f'stroke="#d55e00" stroke-width="1.5" stroke-dasharray="6 4"/>'
        f'<text x="{width - 8}" y="{up(tau) - 5:.1f}" text-anchor="end" fill="#d55e00" '
        'paint-order="stroke" stroke="#fff" stroke-width="4">'
        f"cut at τ = {tau:.2f}: {len(background)} clusters</text>"
        f'<text x="{margin}" y="{height - 6}">finest parts</text></svg>'
    )


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
