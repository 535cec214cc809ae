"""Results on disk: videos, palette PNGs, COCO, cut-outs for editors, NPZ, hierarchy, summary."""

from bavos_io.writing import write_frames

from .bundle import write_all
from .documents import (
    hierarchy_document,
    summary,
    write_attention,
    write_features,
    write_hierarchy,
    write_labels,
)  # fmt: skip
from .editors import CutOuts, write_cut_outs
from .masks import FrameMask, all_masks, analysed_mask, leaf_maps
from .videos import OPACITY, write_heatmap, write_overlay

__all__ = [
    "OPACITY", "CutOuts", "FrameMask", "all_masks", "analysed_mask", "hierarchy_document",
    "leaf_maps", "summary", "write_all", "write_attention", "write_cut_outs", "write_features",
    "write_frames", "write_heatmap", "write_hierarchy", "write_labels", "write_overlay",
]  # fmt: skip
