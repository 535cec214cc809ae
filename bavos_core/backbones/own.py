"""Vision Transformers that the project trains itself: their shape is in the file's metadata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from timm.models.vision_transformer import VisionTransformer

from ..errors import InputError
from ..files import weights_format
from .weights import load_checked, read_metadata, read_tensors

OWN_FORMAT = "bavos-vit-1"
OWN_MEAN = (0.47, 0.45, 0.41)  # of the input; about those of photographs
OWN_STD = (0.27, 0.27, 0.28)
_LARGEST = 4096  # what a file may say of any side, or of the width


@dataclass(frozen=True)
class Shape:
    """What a network of one's own looks like."""

    view: int  # pixels: side of the views that it was trained on, a multiple of the patch
    patch: int  # pixels
    width: int  # channels
    depth: int  # blocks
    heads: int

    def network(self) -> VisionTransformer:
        """A timm ViT of this shape, with random weights and without a head."""
        return VisionTransformer(
            img_size=self.view, patch_size=self.patch, embed_dim=self.width, depth=self.depth,
            num_heads=self.heads, num_classes=0, dynamic_img_size=True,
        )  # fmt: skip

    @property
    def sane(self) -> bool:
        """Whether such a network can be made."""
        sides = (self.view, self.patch, self.width, self.depth, self.heads)
        fits = all(1 <= side <= _LARGEST for side in sides)
        return fits and self.view % self.patch == 0 and self.width % self.heads == 0


def read_own(path: Path) -> VisionTransformer:
    """A network that `pretrain` wrote. Raises InputError for every other file."""
    tensors = read_tensors(path)  # says what is wrong with files that are absent or damaged
    about = read_metadata(path) if weights_format(path) == "safetensors" else {}
    shape = _shape(about)
    if shape is None:
        raise InputError(f"{path.name} is no network that pretrain wrote; name its backbone.")
    network = shape.network()
    load_checked(network, tensors, path.name)
    return network


def _shape(about: Mapping[str, str]) -> Shape | None:
    numbers = [about.get(field.name, "") for field in fields(Shape)]
    if about.get("format") != OWN_FORMAT or not all(n.isdecimal() and len(n) < 6 for n in numbers):
        return None
    shape = Shape(*map(int, numbers))
    return shape if shape.sane else None
