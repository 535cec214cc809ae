"""Colour maps for heatmaps: tables in `data/colour-maps`, each with its authors and licence."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

COLOUR_MAPS = ("inferno", "viridis", "magma", "turbo", "gray")
_TABLES = Path(__file__).parents[1] / "data" / "colour-maps"


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
