"""Objects painted over a frame.

H×W pixels, C clusters. All frames are (H, W, 3) uint8 RGB.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

Style = Literal["both", "fills", "outlines"]


def cluster_paint(
    colours: np.ndarray,
    background: np.ndarray,
    *,
    opacity: float,
    show_background: bool,
    hidden: Collection[int] = (),
) -> tuple[np.ndarray, np.ndarray]:
    """Return colour (C, 3) float32 0 … 255 and opacity (C,) 0 … 1 of every cluster.

    colours (255, 3) by number, after which they repeat; background (C,) bool.
    """
    tints = colours[np.arange(len(background)) % len(colours)].astype(np.float32)
    alpha = np.where(background & ~show_background, 0.0, opacity).astype(np.float32)
    alpha[[i for i in hidden if i < len(alpha)]] = 0
    return tints, alpha


def paint(
    frame: np.ndarray,
    labels: np.ndarray,
    colours: np.ndarray,
    alpha: np.ndarray,
    style: Style = "both",
) -> np.ndarray:
    """Paint every pixel in the colour of its cluster, with a thin bright outline.

    labels (gh, gw) int: clusters, at any size. colours (C, 3) and alpha (C,) of the clusters.
    Colour and opacity are up-sampled instead of labels, which smooths the borders on large frames.
    """
    cluster = torch.from_numpy(labels)
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


def _outline(cluster: Tensor) -> Tensor:
    """Return where the right or lower neighbour belongs to another cluster, (gh, gw) bool."""
    edge = torch.zeros_like(cluster, dtype=torch.bool)
    edge[:-1] |= cluster[:-1] != cluster[1:]
    edge[:, :-1] |= cluster[:, :-1] != cluster[:, 1:]
    return edge


def _widen(opacity: Tensor) -> Tensor:
    """Return the largest opacity among each pixel and its neighbours."""
    return F.max_pool2d(opacity[None], 3, 1, 1)[0]
