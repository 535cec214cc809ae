"""A trained block: the correlator, how its features are standardised, and its file.

C channels, H heads of d = C / H channels, T frames, N patches a frame. Files are safetensors under
the reference's names, with metadata. No pickle.
"""

from __future__ import annotations

import copy
import functools
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from .backbones.weights import (
    correlator_tensors,
    load_checked,
    read_metadata,
    read_tensors,
    write_tensors,
)
from .correlator import HEADS, TemporalCorrelator
from .errors import InputError
from .files import weights_format

FORMAT = "bavos-correlator-1"
_BLOCK = "temporal_transformer.0."  # the reference's name of the block
_MEAN, _STD = "features.mean", "features.std"


@dataclass(frozen=True, eq=False)
class TrainedBlock:
    """A correlator and the statistics of the features that it was trained on.

    `queries_keys` and `scale` are the correlator's own interface, so that one takes the place of
    the other; features are standardised on the way in.
    """

    block: TemporalCorrelator
    mean: Tensor  # (C,) float32
    std: Tensor  # (C,) float32, above 0
    about: Mapping[str, str] = field(default_factory=dict)  # what the file says about its making

    @property
    def channels(self) -> int:
        """C."""
        return len(self.mean)

    @property
    def metadata(self) -> dict[str, str]:
        """What a file must say about it, beside its tensors."""
        return {**self.about, "format": FORMAT, "heads": str(self.block.attn.heads)}

    @property
    def scale(self) -> float:
        """The softmax scale, d^-1/2."""
        return self.block.scale

    def standardised(self, features: Tensor) -> Tensor:
        """Features (…, C) of the backbone → what enters the block, (…, C) float32."""
        return (features.float() - self.mean) / self.std

    def queries_keys(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """features (T, N, C) of the backbone → queries and keys, each (T, H, N, d)."""
        return self.block.queries_keys(self.standardised(features))

    def to(self, device: torch.device) -> TrainedBlock:
        """The same on a device; the block itself moves along."""
        return replace(
            self, block=self.block.to(device), mean=self.mean.to(device), std=self.std.to(device)
        )

    def frozen_copy(self, weights: Mapping[str, Tensor] | None = None) -> TrainedBlock:
        """A copy on its own for use, with its weights or with others of the same shapes."""
        block = copy.deepcopy(self.block).eval().requires_grad_(False)
        block.load_state_dict(weights or self.block.state_dict())
        return replace(self, block=block)


def block_tensors(trained: TrainedBlock) -> dict[str, Tensor]:
    """All tensors of a trained block under the names of its file."""
    tensors = {_BLOCK + name: tensor for name, tensor in trained.block.state_dict().items()}
    return tensors | {_MEAN: trained.mean, _STD: trained.std}


def write_trained(path: Path, trained: TrainedBlock) -> None:
    """Write a block, its feature statistics and what is known about it to one file.

    The file appears under its name only when it is whole.
    """
    write_tensors(path, block_tensors(trained), trained.metadata)


def read_trained(path: Path) -> TrainedBlock:
    """A block written by `write_trained`, or the block of a reference checkpoint, ready for use.

    A file of another origin holds no feature statistics; its features enter as they are.
    Raises InputError for absent and damaged files and names the first tensors that are missing.
    """
    tensors = read_tensors(path, option="--correlator")
    about = read_metadata(path) if weights_format(path) == "safetensors" else {}
    return block_from(tensors, about, path.name)


def block_from(tensors: Mapping[str, Tensor], about: Mapping[str, str], name: str) -> TrainedBlock:
    """A trained block from its tensors; name says in messages where they are from.

    Raises InputError as `read_trained` does.
    """
    weights = correlator_tensors(tensors)
    channels = len(weights["norm1.weight"]) if "norm1.weight" in weights else HEADS
    heads = int(about.get("heads", HEADS))
    if channels % heads:
        raise InputError(
            f"{name} is no trained block: {channels} channels do not fit {heads} heads; "
            "give a file made by bavos_core train."
        )
    block = TemporalCorrelator(channels, heads=heads)
    load_checked(block, weights, name)
    mean, std = _read_statistics(name, tensors, channels, required=about.get("format") == FORMAT)
    return TrainedBlock(block.eval().requires_grad_(False), mean, std, about)


def _read_statistics(
    name: str, tensors: Mapping[str, Tensor], channels: int, *, required: bool
) -> tuple[Tensor, Tensor]:
    missing = [name for name in (_MEAN, _STD) if name not in tensors]
    if len(missing) == 2 and not required:
        return torch.zeros(channels), torch.ones(channels)
    if missing:
        raise InputError(f"{name} is not whole: {missing[0]} is missing; train it again.")
    mean, std = tensors[_MEAN].float(), tensors[_STD].float()
    if mean.shape != (channels,) or std.shape != (channels,) or not (std > 0).all():
        raise InputError(
            f"{name} is no trained block: {_MEAN} and {_STD} must hold {channels} numbers "
            "each, those of the latter above 0; train it again."
        )
    return mean, std


@functools.lru_cache(maxsize=1)
def git_revision() -> str:
    """Commit of the source tree that this code runs from, or "" for an installed package."""
    root = Path(__file__).resolve().parents[1]
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        return ""
    done = subprocess.run([git, "-C", str(root), "rev-parse", "HEAD"], capture_output=True)
    return done.stdout.decode().strip()
