"""The picture of a clip in the contact sheet: three frames with their objects, side by side."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image

from bavos_core import render
from bavos_core.analysis import Analysis
from bavos_core.export import OPACITY, analysed_mask
from bavos_core.segmentation import Segmentation

STRIPS = "sheet"  # the folder of the pictures
HEIGHT = 120  # pixels
_WIDEST = 240  # of one frame
_QUALITY = 80


def strip_name(key: str) -> str:
    """Return the place of a clip's picture, below OUT."""
    return f"{STRIPS}/{key[:2]}/{key}.jpg"


def strip_of(analysis: Analysis, segmentation: Segmentation) -> bytes:
    """Return the first, middle and last analysed frame (fewer if there are no three) as JPEG."""
    last = len(analysis.analysed) - 1
    paint = render.cluster_paint(
        segmentation.colours, segmentation.background, opacity=OPACITY, show_background=False
    )
    frames = [
        analysed_mask(analysis, segmentation, sample).painted(*paint)
        for sample in sorted({0, last // 2, last})
    ]
    height, width = frames[0].shape[:2]
    scale = min(HEIGHT / height, _WIDEST / width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = [np.asarray(Image.fromarray(frame).resize(size)) for frame in frames]
    buffer = BytesIO()
    Image.fromarray(np.concatenate(small, axis=1)).save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()
