"""The registry of backbones: a name, one private builder, weights that are checked.

timm is imported when it is first needed, since that takes seconds.

`load("dino-vits8")` looks for weights in this order: what is given, the local cache, the hub.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..download import FileOrUrl, local_file
from ..errors import BackboneUnavailable, InputError
from ..settings import AttentionSource
from . import hub
from .base import FRAMES_AT_ONCE_ON_CPU, Backbone, Features, to_images
from .bundled import bundled_vit
from .descriptors import Descriptors
from .vit import REFERENCE_MEAN, REFERENCE_STD, ViTBackbone
from .weights import LoadReport, encoder_tensors, load_checked, read_tensors

__all__ = [
    "AUTO",
    "BUNDLED",
    "DESCRIPTORS",
    "FRAMES_AT_ONCE_ON_CPU",
    "PAPER",
    "Backbone",
    "Features",
    "LoadReport",
    "ViTBackbone",
    "canonical",
    "describe",
    "load",
    "names",
    "resolve",
    "to_images",
    "unreachable",
]

AUTO = "auto"  # the paper's backbone where its weights can be had, else the bundled one
PAPER = "dino-vits8"
BUNDLED = "bundled-vits14"
DESCRIPTORS = "descriptors"
_ALIASES = {"builtin": BUNDLED}
_WITHOUT_FILE = (BUNDLED, DESCRIPTORS)  # they take no weights

TUNED_ON_SALIENCY = "tuned on saliency labels"  # said wherever the bundled backbone is named
_BUNDLED_NOTE = (
    f"The bundled backbone is DINOv2 ViT-S/14 {TUNED_ON_SALIENCY}, so this result is not "
    "label-free; choose a DINO backbone for one that is."
)


@dataclass(frozen=True)
class _ViT:
    """A timm model and how the method uses it."""

    timm_name: str
    layer: int | None = None  # block whose keys are used; None: the last
    mean: tuple[float, ...] | None = None  # of the input; None: what timm says
    std: tuple[float, ...] | None = None
    source: AttentionSource = "key-similarity"  # of the attention that does best (docs/results.md)


def _dino(name: str) -> _ViT:
    return _ViT(name, mean=REFERENCE_MEAN, std=REFERENCE_STD)


_REGISTRY = {
    PAPER: _dino("vit_small_patch8_224.dino"),
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
_BUNDLED_VIT = _ViT("vit_small_patch14_dinov2", layer=10, source="cross-frame")


def names() -> tuple[str, ...]:
    """Return the registered names, `auto` first. Any ViT of timm may be named as well."""
    return (AUTO, BUNDLED, *_REGISTRY, DESCRIPTORS)


def canonical(name: str) -> str:
    """Return the name that an alias stands for, and any other name as it is."""
    return _ALIASES.get(name, name)


def describe(name: str) -> str:
    """Return a name with what has to be said beside it, if anything."""
    return f"{name} ({TUNED_ON_SALIENCY})" if canonical(name) == BUNDLED else name


def resolve(
    name: str, *, weights: FileOrUrl | None = None, may_wait: bool = True
) -> tuple[str, str]:
    """Return the name that `auto` or an alias stands for, and a sentence if it is a substitute.

    `auto` is DINO ViT-S/8, the paper's, when its weights are given, cached, or sent by a hub that
    answers within three seconds; otherwise bundled-vits14 (tuned on saliency labels), and the
    sentence says why.
    may_wait: whether to wait for the hub; if not, it is asked in the background, for the next time.
    """
    if name != AUTO:
        return canonical(name), ""
    timm_name = _REGISTRY[PAPER].timm_name
    if weights or hub.cached_weights(timm_name) or (may_wait and hub.fetch(timm_name)):
        return PAPER, ""
    if not may_wait:
        hub.fetch_in_background(timm_name)
    return BUNDLED, unreachable(PAPER)


def unreachable(name: str) -> str:
    """Return the sentence that says that the bundled backbone took the place of another."""
    return (
        f"The weights of {name} are not on this machine and have not come from the model hub, so "
        f"{describe(BUNDLED)} was used."
    )


def load(
    name: str,
    *,
    weights: FileOrUrl | None = None,
    layer: int | None = None,
    device: torch.device | None = None,
) -> Backbone:
    """Return a frozen backbone by name.

    weights: file or URL of a timm or DINO state dict, DINO's full checkpoint, or the reference's
    checkpoint.
    layer: block whose queries and keys are used, from 0; None for the backbone's own choice.
    Raise InputError for unknown names and for files that do not arrive or fit,
    BackboneUnavailable when the hub would have to give the weights and cannot be reached.
    """
    name, _ = resolve(name, weights=weights)
    if name in _WITHOUT_FILE and weights:
        raise InputError(f"The backbone {describe(name)} takes no weights file; name another.")
    if name == DESCRIPTORS:
        return Descriptors()
    if name == BUNDLED:
        return _wrap(bundled_vit(), _BUNDLED_VIT, layer, note=_BUNDLED_NOTE).to(device)
    entry = _REGISTRY.get(name) or _ViT(name)
    if weights:
        model, path = _create(name, entry.timm_name), local_file(weights)
        load_checked(model, encoder_tensors(read_tensors(path)), path.name)
    else:
        model = _pretrained(name, entry.timm_name)
    return _wrap(model, entry, layer).to(device)


def _wrap(model: nn.Module, entry: _ViT, layer: int | None, *, note: str = "") -> ViTBackbone:
    depth = len(model.blocks)  # type: ignore[arg-type]
    chosen = entry.layer if layer is None else layer
    chosen = depth - 1 if chosen is None else chosen
    if not 0 <= chosen < depth:
        raise InputError(f"There is no block {chosen}; give a layer from 0 to {depth - 1}.")
    config: dict[str, Any] = getattr(model, "pretrained_cfg", {})  # timm's own have one
    model.eval().requires_grad_(False)
    mean, std = entry.mean or config["mean"], entry.std or config["std"]
    return ViTBackbone(model, chosen, mean, std, note, entry.source)


def _create(name: str, timm_name: str, **more: Any) -> nn.Module:
    """Return a timm Vision Transformer without its head. Raise InputError for unknown names."""
    import timm
    from timm.models.eva import Eva
    from timm.models.vision_transformer import VisionTransformer

    options: dict[str, Any] = {"dynamic_img_size": True} if "dinov3" in timm_name else {}
    if not hub.is_known(timm_name):
        raise InputError(f"Unknown backbone {name!r}; choose one of {_described_names()}.")
    model = timm.create_model(timm_name, num_classes=0, **options, **more)
    if not isinstance(model, VisionTransformer | Eva):
        raise InputError(f"{name!r} is no Vision Transformer; choose one of {_described_names()}.")
    return model


def _described_names() -> str:
    return ", ".join(map(describe, names()))


def _pretrained(name: str, timm_name: str) -> nn.Module:
    """Return the model with weights from the local cache or the hub."""
    path = hub.fetch(timm_name)
    if path is None:
        _create(name, timm_name)  # raises for what is no Vision Transformer
        raise BackboneUnavailable(
            f"The weights of {name} are not on this machine and the model hub cannot be reached; "
            f"give a local file with --weights FILE, or use --backbone {describe(BUNDLED)}."
        )
    try:  # by its file, since timm would ask the hub even for what is cached
        return _create(name, timm_name, pretrained=True, pretrained_cfg_overlay={"file": str(path)})
    except InputError:
        raise
    except Exception as error:  # the file in the cache may be damaged in any way
        raise BackboneUnavailable(
            f"The weights of {name} in the local cache are damaged; delete them there, or give a "
            "local file with --weights FILE."
        ) from error
