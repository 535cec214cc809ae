"""Pictures for people: palettes, painted objects, heatmaps, the hierarchy as SVG."""

from .heatmap import heat_overlay, heat_scale, mark_point, spread_heat
from .overlay import Style, cluster_paint, paint
from .palette import BACKGROUND_GREY, MAX_PARTS, davis_palette, object_colour
from .tree import TreeLayout, hierarchy_svg

__all__ = [
    "BACKGROUND_GREY",
    "MAX_PARTS",
    "Style",
    "TreeLayout",
    "cluster_paint",
    "davis_palette",
    "heat_overlay",
    "heat_scale",
    "hierarchy_svg",
    "mark_point",
    "object_colour",
    "paint",
    "spread_heat",
]
