"""Results on disk: overlay and heatmap videos, palette PNGs, COCO RLE, NPZ, hierarchy, summary."""

from .bundle import write_all
from .documents import hierarchy_document, summary, write_hierarchy, write_labels
from .masks import FrameMask, all_masks, analysed_mask, mask_png
from .videos import OPACITY, write_frames, write_heatmap, write_overlay

__all__ = [
    "OPACITY",
    "FrameMask",
    "all_masks",
    "analysed_mask",
    "hierarchy_document",
    "mask_png",
    "summary",
    "write_all",
    "write_frames",
    "write_heatmap",
    "write_hierarchy",
    "write_labels",
    "write_overlay",
]
