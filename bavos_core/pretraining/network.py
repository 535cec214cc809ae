"""The Vision Transformer that learns, its head, and the file that its teacher is kept in.

B images, N = h·w patches, C channels, K prototypes. Files are safetensors under timm's names with
the network's shape in their metadata.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..backbones.own import OWN_FORMAT, OWN_MEAN, OWN_STD, Shape
from ..backbones.vit import ViTBackbone, resample_positions, run_blocks
from .settings import PretrainSettings

_HIDDEN = 512  # of the head
_BOTTLENECK = 128


class Head(nn.Module):
    """Tokens (…, C) → their likeness to every prototype (…, K), cosines in -1 … 1."""

    def __init__(self, channels: int, prototypes: int):
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(channels, _HIDDEN), nn.GELU(),
            nn.Linear(_HIDDEN, _HIDDEN), nn.GELU(),
            nn.Linear(_HIDDEN, _BOTTLENECK),
        )  # fmt: skip
        self.prototypes = nn.Parameter(torch.empty(prototypes, _BOTTLENECK))
        for layer in (module for module in self.mlp if isinstance(module, nn.Linear)):
            nn.init.trunc_normal_(layer.weight, std=layer.in_features**-0.5)
            nn.init.zeros_(layer.bias)
        nn.init.normal_(self.prototypes)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens (…, C) → (…, K)."""
        return F.normalize(self.mlp(tokens), dim=-1) @ F.normalize(self.prototypes, dim=-1).mT


class Network(nn.Module):
    """A timm ViT with a head for views and patches alike, and a token that hides patches."""

    def __init__(self, settings: PretrainSettings):
        super().__init__()
        self.vit: Any = shape_of(settings).network()
        self.hidden = nn.Parameter(torch.zeros(settings.width))
        nn.init.trunc_normal_(self.hidden, std=0.02)
        self.head = Head(settings.width, settings.prototypes)

    def forward(self, images: Tensor, masks: Tensor | None = None) -> Tensor:
        """images (B, 3, H, W) in 0 … 1 → tokens (B, 1 + N, C), that of the whole view first.

        masks (B, N) bool: patches that the network must not see.
        """
        mean, std = (images.new_tensor(v).view(3, 1, 1) for v in (OWN_MEAN, OWN_STD))
        patches = self.vit.patch_embed.proj((images - mean) / std)  # (B, C, h, w)
        grid = (patches.shape[2], patches.shape[3])
        patches = patches.flatten(2).mT  # (B, N, C)
        if masks is not None:
            patches = torch.where(masks.unsqueeze(-1), self.hidden.to(patches), patches)
        tokens = torch.cat([self.vit.cls_token.expand(len(images), -1, -1), patches], dim=1)
        tokens = tokens + resample_positions(self.vit.pos_embed, grid, 1)
        return self.vit.norm(run_blocks(self.vit.blocks, tokens, None))


def new_network(settings: PretrainSettings) -> Network:
    """A network before its first step, the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return Network(settings)


def shape_of(settings: PretrainSettings) -> Shape:
    """The shape of the settings' network."""
    return Shape(
        view=settings.view,
        patch=settings.patch,
        width=settings.width,
        depth=settings.depth,
        heads=settings.heads,
    )


def as_backbone(network: Network) -> ViTBackbone:
    """The network's ViT for use as it is now; it goes on changing with the network."""
    return ViTBackbone(network.vit, len(network.vit.blocks) - 1, OWN_MEAN, OWN_STD)


def file_of(
    network: Network, settings: PretrainSettings
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """What `backbones.load("own-vit", weights=FILE)` reads: tensors, float16, and metadata."""
    tensors = {name: tensor.half() for name, tensor in network.vit.state_dict().items()}
    shape = {name: str(value) for name, value in asdict(shape_of(settings)).items()}
    return tensors, shape | {"format": OWN_FORMAT}
