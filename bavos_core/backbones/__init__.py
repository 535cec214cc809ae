"""Backbones: the table of their names. To add a ViT of timm, add a line to `_TIMM`.

Weights are looked for in this order: the file or URL that is given, the local cache, the hub.
timm is imported when it is first needed, since that takes seconds.
"""

from __future__ import annotations

import pkgutil
from typing import Any

import torch

from bavos_io.download import FileOrUrl

from ..errors import InputError
from . import hub
from .base import FRAMES_AT_ONCE_ON_CPU, Backbone, Features, to_images
from .bundled import BUNDLED, TUNED_ON_SALIENCY, bundled_vit
from .timm_vit import TimmViT, check_timm_name
from .vit import ViTBackbone

__all__ = [
    "AUTO", "BUNDLED", "FRAMES_AT_ONCE_ON_CPU", "PAPER", "TUNED_ON_SALIENCY", "Backbone",
    "Features", "ViTBackbone", "canonical", "describe", "load", "names", "resolve", "to_images",
    "unreachable",
]  # fmt: skip

AUTO = "auto"  # the paper's backbone where its weights can be had, else the bundled one
PAPER = "dino-vits8"
_PAPER_TIMM = "vit_small_patch8_224.dino"
_ALIASES = {"builtin": BUNDLED}
_NOT_LABEL_FREE = (
    f"The bundled backbone is DINOv2 ViT-S/14 {TUNED_ON_SALIENCY}, so this result is not "
    "label-free; choose a DINO backbone for one that is."
)

# The reference normalises frames with these (Kinetics statistics), not with DINO's own.
_KINETICS: Any = {"mean": (0.43216, 0.394666, 0.37645), "std": (0.22803, 0.22145, 0.216989)}
_HALF: Any = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}

_TIMM = {
    BUNDLED: TimmViT("vit_small_patch14_dinov2", layer=10, source="cross-frame"),
    PAPER: TimmViT(_PAPER_TIMM, **_KINETICS),
    "dino-vits16": TimmViT("vit_small_patch16_224.dino", **_KINETICS),
    "dino-vitb8": TimmViT("vit_base_patch8_224.dino", **_KINETICS),
    "dino-vitb16": TimmViT("vit_base_patch16_224.dino", **_KINETICS),
    "dinov2-vits14": TimmViT("vit_small_patch14_dinov2.lvd142m"),
    "dinov2-vitb14": TimmViT("vit_base_patch14_dinov2.lvd142m"),
    "dinov3-vits16": TimmViT("vit_small_patch16_dinov3.lvd1689m"),
    # Trained with labels, so its last blocks know classes better than places: an earlier one.
    "vit_tiny_patch16_224": TimmViT("vit_tiny_patch16_224", layer=8, **_HALF),
}
_ADVICE = "choose one that `bavos segment --help` lists, or a ViT of timm"
# Backbones of bavos_lab, loaded when they are asked for.
LAB_BACKBONES = {"descriptors": "bavos_lab.descriptors:Descriptors"}


def names() -> tuple[str, ...]:
    """Return the registered names, `auto` first. Any ViT of timm may be named as well."""
    return (AUTO, *_TIMM, *LAB_BACKBONES)


def canonical(name: str) -> str:
    """Return the name that an alias stands for, and any other name as it is."""
    return _ALIASES.get(name, name)


def describe(name: str) -> str:
    """Return a name followed by what has to be said about it, if anything."""
    return f"{name} ({TUNED_ON_SALIENCY})" if canonical(name) == BUNDLED else name


def resolve(
    name: str, *, weights: FileOrUrl | None = None, may_wait: bool = True
) -> tuple[str, str]:
    """Return the name that `auto` or an alias stands for, and why if it is a substitute.

    `auto` is DINO ViT-S/8, the paper's, when its weights are given, cached, or sent by a hub that
    answers within three seconds; otherwise bundled-vits14 (tuned on saliency labels), and the
    sentence says why.
    may_wait: whether to wait for the hub; if not, the weights are fetched for the next time.
    """
    if name != AUTO:
        return canonical(name), ""
    if weights or hub.fetch(_PAPER_TIMM, wait=may_wait):
        return PAPER, ""
    return BUNDLED, unreachable(PAPER)


def unreachable(name: str) -> str:
    """Return the message that a backbone was unreachable and the bundled one was used."""
    return (
        f"The weights of {name} are not on this machine and could not be downloaded from the model "
        f"hub, so {describe(BUNDLED)} was used."
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
    layer: block of a ViT whose queries and keys are used, from 0; None for the backbone's choice.
    Raise InputError for unknown names and for files that do not arrive or fit,
    BackboneUnavailable when the hub would have to give the weights and cannot be reached.
    """
    name, _ = resolve(name, weights=weights)
    if weights and (name == BUNDLED or name in LAB_BACKBONES):
        raise InputError(f"The backbone {describe(name)} takes no weights file; name another.")
    backbone: Backbone
    if name in LAB_BACKBONES:
        backbone = pkgutil.resolve_name(LAB_BACKBONES[name])()
    elif name == BUNDLED:
        backbone = _TIMM[name].wrap(bundled_vit(), layer, note=_NOT_LABEL_FREE)
    else:
        if name not in _TIMM:
            check_timm_name(name, layer, _ADVICE, has_file=bool(weights))
        backbone = _TIMM.get(name, TimmViT(name)).build(name, weights, layer)
    return backbone.to(device or torch.device("cpu"))
