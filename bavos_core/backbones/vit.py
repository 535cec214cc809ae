"""Vision Transformers from timm as sources of patch keys (paper, 3.1: DINO ViT-S/8, last block).

T frames, h×w patch grid, N = h·w patches, P prefix tokens (CLS, registers), L = P + N,
H heads of d channels, C = H·d.
"""

from __future__ import annotations

import copy
import math
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..settings import AttentionSource, Compute
from .base import FRAMES_AT_ONCE_ON_CPU, Features
from .eager_attention import EagerAttention, pays_off

# The reference normalises frames with these (Kinetics statistics), not with DINO's own.
REFERENCE_MEAN = (0.43216, 0.394666, 0.37645)
REFERENCE_STD = (0.22803, 0.22145, 0.216989)


def resample_positions(positions: Tensor, grid: tuple[int, int], prefix: int) -> Tensor:
    """Position embedding of a trained square grid for another grid, as the DINO release does it.

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

    def to(self, device: torch.device | None) -> ViTBackbone:
        """The same backbone with its model on `device`."""
        self.model.to(device or torch.device("cpu"))
        return self

    def on_cpu(self) -> ViTBackbone:
        """A copy of it on the CPU; this one stays where it is."""
        model = self.model
        on_cpu: dict[int, Any] = {id(b): b.detach().cpu() for b in model.buffers()}
        on_cpu |= {
            id(p): nn.Parameter(p.detach().cpu(), p.requires_grad) for p in model.parameters()
        }
        # What a copy is made of is looked up first, so no second model is made on a full GPU.
        return replace(self, model=copy.deepcopy(model, on_cpu))

    @property
    def patch(self) -> int:
        """Side of one patch in pixels."""
        side: int = self.model.patch_embed.patch_size[0]  # type: ignore[union-attr, index, assignment]
        return side

    @torch.inference_mode()
    def encode(self, images: Tensor, compute: Compute) -> Features:
        """images (T, 3, H, W) float32 in 0 … 1, sides divisible by the patch → Features."""
        batches = images.split(len(images) if compute.on_cuda else FRAMES_AT_ONCE_ON_CPU)
        parts = [self._encode_batch(batch, compute) for batch in batches]
        return Features.joined(parts)

    def _encode_batch(self, images: Tensor, compute: Compute) -> Features:
        low = torch.autocast(
            compute.device.type, torch.bfloat16, enabled=compute.precision == "bf16"
        )
        with low, EagerAttention() if pays_off(compute) else nullcontext():
            tokens, rope = self.embed(self.normalise(images.to(compute.device)))
            tokens = run_blocks(self.blocks[: self.layer], tokens, rope)
            queries, keys = queries_keys(self.blocks[self.layer], tokens)
        queries, keys = queries.float(), keys.float()
        prefix: int = self.model.num_prefix_tokens  # type: ignore[assignment]
        return Features(
            queries[:, :, prefix:],
            keys[:, :, prefix:],
            (images.shape[2] // self.patch, images.shape[3] // self.patch),
            queries.shape[-1] ** -0.5,
            attention_of_cls(queries, keys)[:, prefix:] if self.has_cls else None,
        )

    @property
    def has_cls(self) -> bool:
        """Whether its first token is [CLS]."""
        return getattr(self.model, "cls_token", None) is not None

    @property
    def blocks(self) -> nn.ModuleList:
        """All Transformer blocks."""
        blocks: nn.ModuleList = self.model.blocks  # type: ignore[assignment]
        return blocks

    def normalise(self, images: Tensor) -> Tensor:
        """(T, 3, H, W) in 0 … 1 → the values that the model was trained on."""
        mean = images.new_tensor(self.mean).view(3, 1, 1)
        return (images - mean) / images.new_tensor(self.std).view(3, 1, 1)

    def embed(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Normalised images → tokens (T, L, C) before the first block, and DINOv3's rotation."""
        model: Any = self.model
        if hasattr(model, "rope"):
            tokens, rope = model._pos_embed(model.patch_embed(images))
            return model.norm_pre(tokens) if hasattr(model, "norm_pre") else tokens, rope
        patches = model.patch_embed.proj(images)  # (T, C, h, w)
        grid = (patches.shape[2], patches.shape[3])
        patches = patches.flatten(2).mT  # (T, N, C)
        prefix = [t.expand(len(images), -1, -1) for t in (model.cls_token, model.reg_token)
                  if t is not None]  # fmt: skip
        if model.no_embed_class:  # registers: positions belong to the patches alone
            patches = patches + resample_positions(model.pos_embed, grid, 0)
            tokens = torch.cat([*prefix, patches], dim=1)
        else:
            tokens = torch.cat([*prefix, patches], dim=1)
            tokens = tokens + resample_positions(model.pos_embed, grid, len(prefix))
        return model.norm_pre(tokens), None


def attention_of_cls(queries: Tensor, keys: Tensor) -> Tensor:
    """Return what the first token attends to, mean over heads: (T, H, L, d) each → (T, L)."""
    logits = queries[:, :, :1] @ keys.mT * queries.shape[-1] ** -0.5
    return logits.softmax(-1).mean(1).squeeze(1)


def run_blocks(blocks: nn.ModuleList, tokens: Tensor, rope: Tensor | None) -> Tensor:
    """tokens (T, L, C) → (T, L, C)."""
    for block in blocks:
        tokens = block(tokens) if rope is None else block(tokens, rope=rope)
    return tokens


def queries_keys(block: nn.Module, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Queries and keys (T, H, L, d) of one block for tokens (T, L, C).

    DINOv3's are taken before their rotation: what a patch is, not where it is.
    """
    attn: Any = block.attn
    x = block.norm1(tokens)  # type: ignore[operator]
    if attn.qkv is None:
        queries, keys = attn.q_proj(x), attn.k_proj(x)  # (T, L, C)
    else:
        queries, keys, _ = attn.qkv(x).chunk(3, dim=-1)
        if getattr(attn, "q_bias", None) is not None:
            queries = queries + attn.q_bias
    return tuple(  # type: ignore[return-value]
        norm(side.unflatten(-1, (attn.num_heads, -1))).transpose(1, 2)
        for side, norm in ((queries, attn.q_norm), (keys, attn.k_norm))
    )
