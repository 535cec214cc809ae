"""The embedded backbone: hand-made descriptors, and what a small trained network makes of them."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..errors import InputError
from ..settings import Compute
from .base import Features
from .cooccurrence import Cooccurrence, measured_maps
from .descriptors import as_features, combine, patch_maps, unit_on_average
from .weights import load_checked, read_tensors

WEIGHTS = Path(__file__).resolve().parents[2] / "assets" / "backbones" / "builtin.safetensors"
_LEARNED_WEIGHT = 0.7  # of the network's channels, beside components of unit length in all


@dataclass(frozen=True, eq=False)
class Builtin:
    """What serves where no weights can be downloaded. Its results are a demonstration."""

    network: Cooccurrence
    patch: int = 8
    framewise: bool = False  # channels are weighed by how much they vary over the clip
    note: str = (
        "Made with the small built-in backbone, which needs no download. "
        "It does not reach the paper's accuracy; choose a DINO backbone for that."
    )

    @classmethod
    def load(cls, weights: Path = WEIGHTS) -> Builtin:
        """The one that comes along. Raises InputError when its file is absent or damaged."""
        if not weights.is_file():
            raise InputError(
                f"The built-in backbone's file {weights.name} is missing; get the whole project "
                "again, or use --backbone descriptors."
            )
        network = Cooccurrence()
        load_checked(network, read_tensors(weights), weights.name)
        return cls(network.eval().requires_grad_(False))

    def to(self, device: torch.device | None) -> Builtin:
        """The same, its network on a device."""
        self.network.to(device)
        return self

    @torch.inference_mode()
    def encode(self, images: Tensor, compute: Compute) -> Features:
        """images (T, 3, h·8, w·8) float32 RGB in 0 … 1 → one head of C = 40 channels."""
        measured = patch_maps(images.to(compute.device), self.patch)
        learned = self.network(measured_maps(measured))
        learned = learned - learned.mean((0, 2, 3), keepdim=True)
        learned = _LEARNED_WEIGHT * unit_on_average(learned)
        return as_features(torch.cat([combine(measured), learned], dim=1))

    def on_cpu(self) -> Builtin:
        """A copy on the CPU; this one stays where it is."""
        return Builtin(copy.deepcopy(self.network).cpu())
