"""The parts of frames: the picture, and the leaf of the tree at every pixel."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image

from bavos_core import Analysis
from bavos_core.export.masks import leaf_maps
from bavos_io.clip import resize

from .base import preview_size
from .parts import pack

_QUALITY = 80  # of JPEG


def frame_part(analysis: Analysis, clip_frame: int, frame: np.ndarray) -> bytes:
    """Return the part of one frame of the clip.

    frame (·, ·, 3) uint8 of any size; the larger, the nearer the leaves are to those of an export.
    """
    size = preview_size(analysis.size)
    leaf, solid = leaf_maps(analysis, frame, clip_frame, size)
    blobs = {
        "jpeg": _jpeg(resize(frame, size)),
        "leaf": leaf.astype(np.uint16),
        "solid": solid.astype(np.uint16),
    }
    return pack({"frame": clip_frame}, blobs)


def _jpeg(frame: np.ndarray) -> np.ndarray:
    buffer = BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", quality=_QUALITY)
    return np.frombuffer(buffer.getvalue(), np.uint8)
