"""Palette PNG, the format of DAVIS annotations."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image


def palette_png(values: np.ndarray) -> bytes:
    """Return values (H, W) uint8 as an 8-bit palette PNG in DAVIS colours."""
    image = Image.fromarray(values, mode="P")
    image.putpalette(davis_palette().tobytes())
    buffer = BytesIO()
    image.save(buffer, "PNG", compress_level=3)  # labels shrink well at any level
    return buffer.getvalue()


def davis_palette() -> np.ndarray:
    """Return the palette of DAVIS (and PASCAL VOC) annotation files, (256, 3) uint8.

    Colour i takes the bits of i, three at a time, as the high bits of red, green and blue.
    """
    index = np.arange(256)
    palette = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        place, channel = divmod(bit, 3)
        palette[:, channel] |= (((index >> bit) & 1) << (7 - place)).astype(np.uint8)
    return palette
