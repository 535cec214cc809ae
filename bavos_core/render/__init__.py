"""Pictures for people: the palettes, painted objects, heatmaps, the hierarchy as SVG."""

from .heatmap import heat_overlay, heat_scale, heats_overlay, mark_point
from .overlay import Style, cluster_paint, paint, patch_grid
from .palette import (
    BACKGROUND_GREY,
    MAX_PARTS,
    OBJECT_COLOURS,
    davis_palette,
    object_colour,
    query_colour,
)
from .tree import hierarchy_svg

__all__ = [
    "BACKGROUND_GREY",
    "MAX_PARTS",
    "OBJECT_COLOURS",
    "Style",
    "cluster_paint",
    "davis_palette",
    "heat_overlay",
    "heat_scale",
    "heats_overlay",
    "hierarchy_svg",
    "mark_point",
    "object_colour",
    "paint",
    "patch_grid",
    "query_colour",
]
