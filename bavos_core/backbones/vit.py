"""Vision Transformers from timm as sources of patch keys (paper, 3.1: DINO ViT-S/8, last block).

T frames, h×w patch grid, N = h·w patches, P prefix tokens (CLS, registers), L = P + N,
H heads of d channels, C = H·d.
"""

from __future__ import annotations

import contextlib
import copy
import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..settings import AttentionSource, Compute
from .base import FRAMES_AT_ONCE_ON_CPU, Features, on_device
from .eager_attention import EagerAttention, pays_off


def resample_positions(positions: Tensor, grid: tuple[int, int], prefix: int) -> Tensor:
    """Resample the position embedding of a square grid to another grid, as the DINO release does.

    positions (1, prefix + n², C) → (1, prefix + h·w, C). Bicubic without antialiasing, with the
    scale factor (side + 0.1) / n; timm's own resampling gives other features.
    """
    trained = math.isqrt(positions.shape[1] - prefix)
    if grid == (trained, trained):
        return positions
    image = positions[:, prefix:].unflatten(1, (trained, trained)).permute(0, 3, 1, 2)
    factors = tuple((side + 0.1) / trained for side in grid)
    image = F.interpolate(image.float(), scale_factor=factors, mode="bicubic", antialias=False)
    return torch.cat([positions[:, :prefix], image.flatten(2).mT.to(positions)], dim=1)


@dataclass(frozen=True)
class ViTBackbone:
    """Keys and queries of one block of a timm ViT (`VisionTransformer`, or `Eva` for DINOv3)."""

    model: nn.Module
    layer: int  # index of the block, from 0
    mean: tuple[float, ...]
    std: tuple[float, ...]
    note: str = ""
    source: AttentionSource = "key-similarity"
    framewise: bool = True

    def to(self, device: torch.device) -> ViTBackbone:
        """Return the backbone on a device: itself if it is there already, otherwise a copy."""
        model = on_device(self.model, device)
        return self if model is self.model else replace(self, model=model)

    @property
    def patch(self) -> int:
        """Side of one patch in pixels."""
        side: int = self.model.patch_embed.feat_ratio()  # type: ignore[union-attr, operator, assignment]
        return side

    @property
    def has_cls(self) -> bool:
        """Whether the first token is [CLS]."""
        return getattr(self.model, "cls_token", None) is not None

    @torch.inference_mode()
    def encode(self, images: Tensor, compute: Compute) -> Features:
        """Encode images (T, 3, H, W) float32 in 0 … 1, sides divisible by the patch."""
        batches = images.split(len(images) if compute.on_cuda else FRAMES_AT_ONCE_ON_CPU)
        return Features.joined([self._encode_batch(batch, compute) for batch in batches])

    @torch.inference_mode()
    def values(self, images: Tensor, compute: Compute) -> Tensor | None:
        """Return the values of the block for such images: (T, H, N, d) float32, or None."""
        batches = images.split(len(images) if compute.on_cuda else FRAMES_AT_ONCE_ON_CPU)
        found = [v for batch in batches if (v := self._project(batch, compute)[2]) is not None]
        return torch.cat(found)[:, :, self._prefix :] if found else None

    @property
    def _prefix(self) -> int:
        prefix: int = self.model.num_prefix_tokens  # type: ignore[assignment]
        return prefix

    def _encode_batch(self, images: Tensor, compute: Compute) -> Features:
        queries, keys, _ = self._project(images, compute)
        return Features(
            queries[:, :, self._prefix :],
            keys[:, :, self._prefix :],
            self._grid(images),
            queries.shape[-1] ** -0.5,
            attention_of_cls(queries, keys)[:, self._prefix :] if self.has_cls else None,
        )

    def _grid(self, images: Tensor) -> tuple[int, int]:
        return images.shape[2] // self.patch, images.shape[3] // self.patch

    def _project(self, images: Tensor, compute: Compute) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return queries, keys and values of all tokens, (T, H, L, d) float32 each."""
        model = with_positions(self.model, self._grid(images))
        with contextlib.ExitStack() as modes:
            if compute.precision == "bf16":
                modes.enter_context(torch.autocast(compute.device.type, torch.bfloat16))
            if pays_off(compute):
                modes.enter_context(EagerAttention())
            normalised = self.normalise(images.to(compute.device))
            queries, keys, values = projections(model, self.layer, normalised)
        return queries.float(), keys.float(), None if values is None else values.float()

    def normalise(self, images: Tensor) -> Tensor:
        """Map (T, 3, H, W) in 0 … 1 to the value range that the model was trained on."""
        mean = images.new_tensor(self.mean).view(3, 1, 1)
        return (images - mean) / images.new_tensor(self.std).view(3, 1, 1)


def attention_of_cls(queries: Tensor, keys: Tensor) -> Tensor:
    """Return the first token's attention, mean over heads: (T, H, L, d) each → (T, L)."""
    logits = queries[:, :, :1] @ keys.mT * queries.shape[-1] ** -0.5
    return logits.softmax(-1).mean(1).squeeze(1)


def with_positions(model: nn.Module, grid: tuple[int, int]) -> nn.Module:
    """Return the model with its position embedding resampled to a patch grid (h, w).

    A model that takes any image size by itself (`dynamic_img_size`) is returned as it is.
    """
    vit: Any = model
    if vit.dynamic_img_size or vit.pos_embed is None:
        return model
    embed = _variant(vit.patch_embed)
    embed.strict_img_size = False
    variant = _variant(model, patch_embed=embed)
    positions = resample_positions(
        vit.pos_embed, grid, 0 if vit.no_embed_class else vit.num_prefix_tokens
    )
    variant._parameters["pos_embed"] = nn.Parameter(positions, requires_grad=False)
    return variant


def projections(
    model: nn.Module, layer: int, images: Tensor
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return queries, keys and values (T, H, L, d) of one block for normalised images (T, 3, H, W).

    Queries and keys are read where the block normalises them, which is before DINOv3 rotates them:
    they say what a patch is, not where it is. The blocks above are not computed. Values are None
    for models of timm whose queries have a bias of their own.
    """
    vit: Any = model
    attn = vit.blocks[layer].attn
    queries, keys = _Probe(attn.q_norm), _Probe(attn.k_norm, last=True)
    linear = "v_proj" if attn.qkv is None else "qkv"
    values = _Probe(getattr(attn, linear))
    read = {linear: values} if getattr(attn, "q_bias", None) is None else {}
    block = _variant(vit.blocks[layer], attn=_variant(attn, q_norm=queries, k_norm=keys, **read))
    probed: Any = _variant(model, blocks=_variant(vit.blocks, **{str(layer): block}))
    with contextlib.suppress(_Reached):
        probed.forward_features(images)
    if not read:
        return queries.output, keys.output, None
    heads, d = keys.output.shape[1], keys.output.shape[3]
    own = values.output[..., -heads * d :]  # of qkv, the last third
    return queries.output, keys.output, own.unflatten(-1, (heads, d)).transpose(1, 2)


def _variant(module: nn.Module, **parts: nn.Module) -> Any:
    """Return a module with some parts replaced; the rest is shared with the original.

    The original stays as it is, for other threads may be using it.
    """
    variant = copy.copy(module)
    variant._parameters = dict(module._parameters)
    variant._modules = {**module._modules, **parts}
    return variant


class _Reached(Exception):
    """Raised to end a forward pass once the keys are known."""


class _Probe(nn.Module):
    """Keep the output of a module; the last probe then ends the forward pass."""

    output: Tensor

    def __init__(self, inner: nn.Module, *, last: bool = False):
        super().__init__()
        self.inner = inner
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        self.output = self.inner(x)
        if self.last:
            raise _Reached
        return self.output
