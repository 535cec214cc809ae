"""Colours of objects on screen."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from bavos_io.colour import lab

_DISTINCT = 8  # colours that people with colour-blindness tell apart
_FIRST = 1e3  # what objects count beside background, which is seldom painted
MAX_PARTS = 255  # clusters that a person can look at, and an 8-bit mask can number
BACKGROUND_GREY = (150, 150, 150)  # background clusters, when they are shown

# Eight hues that people with colour-blindness tell apart (Okabe and Ito 2008, without black), then
# lighter and darker relatives.
OBJECT_COLOURS = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66),
    (0, 114, 178), (213, 94, 0), (204, 121, 167), (148, 103, 189),
    (255, 187, 120), (174, 225, 255), (120, 220, 180), (255, 245, 157),
    (90, 140, 255), (255, 127, 80), (255, 182, 218), (197, 176, 213),
    (166, 86, 40), (23, 190, 207), (127, 188, 65), (188, 128, 20),
)  # fmt: skip


def object_colour(cluster: int) -> tuple[int, int, int]:
    """Return the usual colour of a cluster on screen, RGB 0 … 255; the same at any granularity."""
    return OBJECT_COLOURS[cluster % len(OBJECT_COLOURS)]


def usual_colours() -> np.ndarray:
    """Return the usual colours of the clusters by number, (255, 3) uint8."""
    return np.array([object_colour(i) for i in range(MAX_PARTS)], np.uint8)


def contrasting_colours(
    labels: np.ndarray, background: np.ndarray, patches: np.ndarray
) -> np.ndarray:
    """Return colours of the clusters by number, (255, 3) uint8, unlike the pixels below.

    labels (T, h, w): clusters of a cut, background (C,) bool, patches (T, h, w, 3) uint8: their
    colours. Objects get hues that are as far from the pixels below (CIELAB) as can be, none nearer
    than its usual colour; background gets what is left.
    """
    usual = np.array(OBJECT_COLOURS, np.uint8)
    count = min(len(background), len(usual))
    pixels, colours = lab(patches), lab(usual)
    away = np.zeros((count, len(colours)))
    for cluster in np.unique(labels[labels < count]).tolist():
        below = pixels[labels == cluster][:, None]
        away[cluster] = np.linalg.norm(below - colours, axis=2).mean(0)
    own = np.eye(*away.shape, dtype=bool)
    fit = own | ((away > away.diagonal()[:, None]) & (np.arange(len(colours)) < _DISTINCT))
    value = np.where(background[:count, None], away, np.where(fit, _FIRST * away, -(_FIRST**2)))
    chosen = linear_sum_assignment(value, maximize=True)[1].tolist()
    order = [*chosen, *(i for i in range(len(usual)) if i not in chosen)]
    return usual[np.resize(order, MAX_PARTS)]
