"""Results on disk: overlay and heatmap videos, palette PNGs, COCO RLE, NPZ, hierarchy, summary."""

from .bundle import write_all
from .documents import (
    hierarchy_document,
    masks_document,
    summary,
    write_hierarchy,
    write_labels,
)
from .masks import (
    MAX_PNG_CLUSTERS,
    FrameMask,
    all_masks,
    analysed_clip,
    analysed_mask,
    label_runs,
    mask_annotations,
    mask_png,
    png_values,
    rle_counts,
)
from .videos import OPACITY, write_frames, write_heatmap, write_overlay

__all__ = [
    "MAX_PNG_CLUSTERS",
    "OPACITY",
    "FrameMask",
    "all_masks",
    "analysed_clip",
    "analysed_mask",
    "hierarchy_document",
    "label_runs",
    "mask_annotations",
    "mask_png",
    "masks_document",
    "png_values",
    "rle_counts",
    "summary",
    "write_all",
    "write_frames",
    "write_heatmap",
    "write_hierarchy",
    "write_labels",
    "write_overlay",
]
