"""Building timm's Vision Transformers, with weights from a file, the local cache or the hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bavos_io.download import FileOrUrl, local_file
from bavos_io.weights import read_tensors

from ..errors import BackboneUnavailable, InputError, echo
from ..progress import checkpoint
from ..settings import AttentionSource
from . import hub
from .bundled import BUNDLED, TUNED_ON_SALIENCY
from .vit import ViTBackbone
from .weights import encoder_tensors, load_checked


@dataclass(frozen=True)
class TimmViT:
    """A timm model and how the method uses it."""

    timm_name: str
    layer: int | None = None  # block whose keys are used; None: the last
    mean: tuple[float, ...] | None = None  # of the input; None: timm's own
    std: tuple[float, ...] | None = None
    source: AttentionSource = "key-similarity"  # the attention that does best (docs/results.md)

    def build(self, name: str, weights: FileOrUrl | None, layer: int | None) -> ViTBackbone:
        """Return the backbone, frozen, on the CPU. name: the backbone's name in error messages.

        Raise InputError and BackboneUnavailable as `load` does.
        """
        if weights:
            model, path = create(self.timm_name), local_file(weights)
            load_checked(model, encoder_tensors(read_tensors(path)), path.name)
        else:
            model = _pretrained(name, self.timm_name)
        return self.wrap(model, layer)

    def wrap(self, model: nn.Module, layer: int | None, *, note: str = "") -> ViTBackbone:
        """Freeze a model. Raise InputError when it has no such layer."""
        blocks: Any = model.blocks
        depth = len(blocks)
        chosen = self.layer if layer is None else layer
        chosen = depth - 1 if chosen is None else chosen
        if not 0 <= chosen < depth:
            raise InputError(f"There is no block {chosen}; give a layer from 0 to {depth - 1}.")
        for block in blocks:
            block.register_forward_pre_hook(lambda *_: checkpoint())
        config: dict[str, Any] = getattr(model, "pretrained_cfg", {})  # timm's own have one
        model.eval().requires_grad_(False)
        mean, std = self.mean or config["mean"], self.std or config["std"]
        return ViTBackbone(model, chosen, mean, std, note, self.source)


def create(timm_name: str, **options: Any) -> nn.Module:
    """Return a timm model without its head, for images of any size."""
    import timm
    from timm.models import model_entrypoint

    arch = timm_name.partition(".")[0]
    if model_entrypoint(arch).__module__ == "timm.models.eva":  # its rotations follow the grid
        options["dynamic_img_size"] = True
    return timm.create_model(timm_name, num_classes=0, **options)


def check_timm_name(name: str, layer: int | None, advice: str, *, has_file: bool = True) -> None:
    """Raise InputError, ending in advice, unless timm has such a ViT and its keys can be read.

    It is built on torch's meta device, without memory; where that fails, once it has weights.
    """
    from timm.models.eva import Eva
    from timm.models.vision_transformer import VisionTransformer

    if not hub.is_known(name):
        raise InputError(f"Unknown backbone {echo(name)}; {advice}.")
    try:
        with torch.device("meta"):
            model = create(name)
    except RuntimeError:  # older versions of timm need a device with memory
        if not has_file:
            _reached(name, name)
        model = create(name)
    if not isinstance(model, VisionTransformer | Eva):
        raise InputError(f"{echo(name)} is not a Vision Transformer; {advice}.")
    backbone = TimmViT(name).wrap(model, layer)
    if not hasattr(getattr(model.blocks[backbone.layer], "attn", None), "k_norm"):
        raise InputError(f"The layout of attention in {echo(name)} is not supported; {advice}.")


def _reached(name: str, timm_name: str) -> Path:
    """Return the file of weights in the local cache, from the hub if need be."""
    path = hub.fetch(timm_name)
    if path is None:
        raise BackboneUnavailable(
            f"The weights of {name} are not on this machine and the model hub cannot be reached; "
            f"give a local file with --weights FILE, or use --backbone {BUNDLED} "
            f"({TUNED_ON_SALIENCY})."
        )
    return path


def _pretrained(name: str, timm_name: str) -> nn.Module:
    """Return the model with its weights; it is built when these are there."""
    path = _reached(name, timm_name)
    try:  # by its file, since timm would ask the hub even for what is cached
        return create(timm_name, pretrained=True, pretrained_cfg_overlay={"file": str(path)})
    except Exception as error:  # the file in the cache may be damaged in any way
        raise BackboneUnavailable(
            f"The weights of {name} in the local cache are damaged; delete them there, or give a "
            "local file with --weights FILE."
        ) from error
