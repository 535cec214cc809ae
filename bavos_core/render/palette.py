"""Colours of objects on screen."""

from __future__ import annotations

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
    """Return the colour of a cluster on screen, RGB 0 … 255; the same at any granularity."""
    return OBJECT_COLOURS[cluster % len(OBJECT_COLOURS)]
