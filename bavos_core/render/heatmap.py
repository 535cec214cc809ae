"""Attention as a heatmap over a frame.

H×W pixels, h×w patches. All frames are (H, W, 3) uint8 RGB.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

COLOUR_MAPS = ("inferno", "viridis", "magma", "turbo", "gray")
_TABLES = Path(__file__).parents[1] / "data" / "colour-maps"  # with their authors and licence


@functools.cache
def colour_map(name: str) -> np.ndarray:
    """Return the colours of a map from cold to hot, (256, 3) float64 in 0 … 1.

    Raise KeyError for a name that is not in COLOUR_MAPS.
    """
    if name not in COLOUR_MAPS:
        raise KeyError(name)
    if name == "gray":
        return np.linspace(0, 1, 256)[:, None].repeat(3, axis=1)
    return np.loadtxt(_TABLES / f"{name}.csv", delimiter=",")


def heat_overlay(
    frame: np.ndarray, heat: np.ndarray, *, opacity: float = 0.65, colours: str = "inferno"
) -> np.ndarray:
    """Lay a heatmap (h, w) in 0 … 1 over a frame. Cold places stay as they are."""
    levels = (spread_heat(heat, frame.shape[:2]) * 255).astype(np.uint8)
    table = colour_map(colours) * 255
    strength = (opacity * (0.35 + 0.65 * np.linspace(0, 1, 256)))[:, None]
    # Two table look-ups instead of arithmetic in colour for every pixel.
    scaled, kept = (table * strength).astype(np.float32), (1 - strength).astype(np.float32)
    return np.asarray((frame * kept[levels] + scaled[levels]).astype(np.uint8))


def spread_heat(heat: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Return a heatmap (h, w) at every pixel of a picture, clipped to 0 … 1: (H, W) float32."""
    maps = torch.from_numpy(np.ascontiguousarray(heat, np.float32))[None, None]
    smooth = F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)
    return np.asarray(smooth[0, 0].clamp(0, 1).numpy())


def mark_point(
    frame: np.ndarray, y: float, x: float, colour: tuple[int, int, int] = (255, 255, 255)
) -> np.ndarray:
    """Draw a ring around the pixel (y, x)."""
    height, width = frame.shape[:2]
    radius = max(4.0, 0.014 * max(height, width))
    rows, columns = np.ogrid[:height, :width]
    distance = np.hypot(rows + 0.5 - y, columns + 0.5 - x)[..., None]
    marked = np.where(abs(distance - radius) < 0.45 * radius, 0, frame)
    return np.asarray(np.where(abs(distance - radius) < 0.22 * radius, colour, marked), np.uint8)


def heat_scale(row: np.ndarray, percentile: float = 99.9) -> float:
    """Return the weight that gets the hottest colour, the same for all frames of one query."""
    return float(max(np.quantile(row, percentile / 100), 1e-12))
