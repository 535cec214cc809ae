"""Other blocks of the backbone, for looking: their attention, and their queries, keys and values.

T analysed frames, N patches a frame, H heads of d channels.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from torch import Tensor

from bavos_core import Analysis, InputError, backbones
from bavos_core.attention import centred_unit
from bavos_core.backbones import Backbone, ViTBackbone
from bavos_core.settings import Compute
from bavos_core.sources import Projection

from .compact import BUDGET, compact_part

Side = Literal["attention", "query", "key", "value"]


def blocks(backbone: Backbone) -> int:
    """Return the number of blocks that can be looked at: 0 for a backbone that is no ViT."""
    if not isinstance(backbone, ViTBackbone):
        return 0
    return len(backbone.model.get_submodule("blocks"))  # type: ignore[arg-type]


def own_block(backbone: Backbone) -> int:
    """Return the block whose queries and keys are used; -1 for a backbone that is no ViT."""
    return backbone.layer if isinstance(backbone, ViTBackbone) else -1


def block_part(
    analysis: Analysis, backbone: Backbone, block: int, side: Side, *, budget: int = BUDGET
) -> bytes:
    """Return one side of a block, computed anew for the analysed frames of an analysis.

    "attention": queries and keys of all heads, for attention within and across frames. "query",
    "key", "value": that vector of every patch, heads concatenated, mean-free and of unit length, so
    that products are cosine similarities; sent as queries that equal their keys.
    Raise InputError for a block that does not exist.
    """
    count = blocks(backbone)
    if not (isinstance(backbone, ViTBackbone) and 0 <= block < count):
        raise InputError(f"There is no block {block}; this backbone has {count} blocks.")
    compute = Compute.choose(replace(analysis.settings, device="cpu"))  # the GPU may be at work
    chosen = replace(backbone, layer=block).to(compute.device)
    images = backbones.to_images(analysis.frames, analysis.grid, chosen.patch)
    found = _projection(chosen, images, side, compute)
    return compact_part(
        found, f"block-{block}-{side}", framewise=side == "attention", budget=budget
    )


def _projection(backbone: ViTBackbone, images: Tensor, side: Side, compute: Compute) -> Projection:
    if side == "value":
        values = backbone.values(images, compute)
        if values is None:
            raise InputError("The values of this backbone cannot be read; choose queries or keys.")
    else:
        features = backbone.encode(images, compute)
        if side == "attention":
            return Projection(features.queries.cpu(), features.keys.cpu(), features.scale)
        values = features.queries if side == "query" else features.keys
    unit = centred_unit(values.cpu().transpose(1, 2).flatten(2))
    return Projection(unit, unit, 1.0)
