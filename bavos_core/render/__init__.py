"""Pictures for people: palettes, painted objects, heatmaps, the hierarchy as SVG."""

from .heatmap import heat_overlay, heat_scale, mark_point
from .overlay import Style, cluster_paint, paint
from .palette import BACKGROUND_GREY, MAX_PARTS, object_colour
from .tree import hierarchy_svg

__all__ = [
    "BACKGROUND_GREY", "MAX_PARTS", "Style", "cluster_paint", "heat_overlay", "heat_scale",
    "hierarchy_svg", "mark_point", "object_colour", "paint",
]  # fmt: skip
