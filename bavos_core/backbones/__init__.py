"""The registry of backbones: a name, one private builder, weights that are checked.

`load("dino-vits8")` looks for weights in this order: what is given, the local cache, the hub.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import timm
import torch
from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from ..download import FileOrUrl, local_file
from ..errors import BackboneUnavailable, InputError
from .base import FRAMES_AT_ONCE_ON_CPU, Backbone, Features, to_images
from .builtin import Builtin
from .descriptors import Descriptors
from .own import OWN_MEAN, OWN_STD, read_own
from .vit import REFERENCE_MEAN, REFERENCE_STD, ViTBackbone
from .weights import LoadReport, encoder_tensors, load_checked, read_tensors

__all__ = [
    "BUILTIN",
    "DESCRIPTORS",
    "FRAMES_AT_ONCE_ON_CPU",
    "Backbone",
    "Features",
    "LoadReport",
    "ViTBackbone",
    "load",
    "names",
    "reachable",
    "to_images",
]

BUILTIN = "builtin"
DESCRIPTORS = "descriptors"  # what the embedded one is made of, without anything learned
_EMBEDDED = (BUILTIN, DESCRIPTORS)
_OWN = "own-vit"  # what `pretrain` writes; always with a file of weights
_HUB_SECONDS = 5.0  # how long to wait for a sign of life from the model hub


@dataclass(frozen=True)
class _ViT:
    """A timm model and how the method uses it."""

    timm_name: str
    layer: int | None = None  # block whose keys are used; None: the last
    mean: tuple[float, ...] | None = None  # of the input; None: what timm says
    std: tuple[float, ...] | None = None


def _dino(name: str) -> _ViT:
    return _ViT(name, mean=REFERENCE_MEAN, std=REFERENCE_STD)


_REGISTRY = {
    "dino-vits8": _dino("vit_small_patch8_224.dino"),
    "dino-vits16": _dino("vit_small_patch16_224.dino"),
    "dino-vitb8": _dino("vit_base_patch8_224.dino"),
    "dino-vitb16": _dino("vit_base_patch16_224.dino"),
    "dinov2-vits14": _ViT("vit_small_patch14_dinov2.lvd142m"),
    "dinov2-vitb14": _ViT("vit_base_patch14_dinov2.lvd142m"),
    "dinov3-vits16": _ViT("vit_small_patch16_dinov3.lvd1689m"),
    # Trained with labels, so its last blocks know classes better than places: an earlier one.
    "vit_tiny_patch16_224": _ViT(
        "vit_tiny_patch16_224", layer=8, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
    ),
}


def names() -> tuple[str, ...]:
    """Registered names, the embedded backbones first. Any ViT of timm may be named as well.

    Not listed: `own-vit`, what `pretrain` writes.
    """
    return (*_EMBEDDED, *_REGISTRY)


def load(
    name: str,
    *,
    weights: FileOrUrl | None = None,
    layer: int | None = None,
    device: torch.device | None = None,
) -> Backbone:
    """A frozen backbone by name.

    weights: file or URL of a timm or DINO state dict, DINO's full checkpoint, or the reference's
    checkpoint.
    layer: block whose queries and keys are used, from 0; None for the backbone's own choice.
    Raises InputError for unknown names and for files that do not arrive or fit,
    BackboneUnavailable when the hub would have to give the weights and cannot be reached.
    """
    if name in _EMBEDDED:
        if weights:
            raise InputError(f"The {name} backbone takes no weights file; name another backbone.")
        return Builtin.load().to(device) if name == BUILTIN else Descriptors()
    if name == _OWN:
        if not weights:
            raise InputError(f"{_OWN} is what pretrain wrote; give its file with --weights FILE.")
        own = _ViT(name, mean=OWN_MEAN, std=OWN_STD)
        return _wrap(read_own(local_file(weights)), own, layer).to(device)
    entry = _REGISTRY.get(name) or _ViT(name)
    model = _create(name, entry.timm_name)
    if weights:
        path = local_file(weights)
        load_checked(model, encoder_tensors(read_tensors(path)), path.name)
    else:
        model = _pretrained(name, entry.timm_name)
    return _wrap(model, entry, layer).to(device)


def _wrap(model: nn.Module, entry: _ViT, layer: int | None) -> ViTBackbone:
    depth = len(model.blocks)  # type: ignore[arg-type]
    chosen = entry.layer if layer is None else layer
    chosen = depth - 1 if chosen is None else chosen
    if not 0 <= chosen < depth:
        raise InputError(f"There is no block {chosen}; give a layer from 0 to {depth - 1}.")
    config: dict[str, Any] = getattr(model, "pretrained_cfg", {})  # timm's own have one
    model.eval().requires_grad_(False)
    return ViTBackbone(model, chosen, entry.mean or config["mean"], entry.std or config["std"])


def _create(name: str, timm_name: str, *, pretrained: bool = False) -> nn.Module:
    """A timm Vision Transformer without its head. Raises InputError for unknown names."""
    options: dict[str, Any] = {"dynamic_img_size": True} if "dinov3" in timm_name else {}
    if not timm.is_model(timm_name.split(".")[0]):
        raise InputError(f"Unknown backbone {name!r}; choose one of {', '.join(names())}.")
    model = timm.create_model(timm_name, pretrained=pretrained, num_classes=0, **options)
    if not isinstance(model, VisionTransformer | Eva):
        raise InputError(f"{name!r} is no Vision Transformer; choose one of {', '.join(names())}.")
    return model


def _pretrained(name: str, timm_name: str) -> nn.Module:
    """The model with weights from the local cache or the hub."""
    failure = BackboneUnavailable(
        f"The weights of {name} are not on this machine and the model hub cannot be reached; "
        "give a local file with --weights FILE, or use --backbone builtin."
    )
    if not reachable(name):
        raise failure
    try:
        return _create(name, timm_name, pretrained=True)
    except InputError:
        raise
    except Exception as error:  # a download can break off in any layer below
        raise failure from error


@functools.lru_cache(maxsize=32)
def reachable(name: str) -> bool:
    """Whether weights for `name` are cached here or the hub answers within five seconds.

    The answer is kept for the life of the process, so a machine without network waits only once.
    """
    if name in _EMBEDDED:
        return True
    entry = _REGISTRY.get(name) or _ViT(name)
    config = timm.get_pretrained_cfg(entry.timm_name, allow_unregistered=False)
    repo = config.hf_hub_id if config else None
    if not repo:
        return False
    repo = f"timm/{entry.timm_name}" if repo == "timm/" else repo
    cached = (try_to_load_from_cache(repo, f) for f in ("model.safetensors", "pytorch_model.bin"))
    if any(isinstance(path, str) for path in cached):
        return True
    if constants.HF_HUB_OFFLINE:
        return False
    try:
        get_hf_file_metadata(hf_hub_url(repo, "config.json"), timeout=_HUB_SECONDS)
    except Exception:  # every network library in between has its own errors; all mean "no"
        return False
    return True
