"""The temporal correlator: one spatio-temporal Transformer block on frozen features (paper, 3.2).

T frames, N patches a frame, C channels, H heads of d = C / H channels.
Parameter names are the reference code's (`temporal_transformer.0.*`), so its files load.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from bavos_io.weights import read_metadata, read_tensors

from .backbones.base import on_device
from .backbones.weights import load_checked
from .errors import InputError

HEADS = 8
FORMAT = "bavos-correlator-1"
_BLOCK = "temporal_transformer.0."  # prefix in the reference's files
_MEAN, _STD = "features.mean", "features.std"


class Attention(nn.Module):
    """The layers of multi-head self-attention, without bias on `qkv`."""

    def __init__(self, channels: int, heads: int, *, dropout: float, attention_dropout: float):
        super().__init__()
        self.heads = heads
        self.scale = (channels // heads) ** -0.5
        self.qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.proj = nn.Linear(channels, channels)
        self.drop = nn.Dropout(dropout)
        self.attention_drop = nn.Dropout(attention_dropout)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values of x (..., L, C): three tensors (..., H, L, d)."""
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1))  # (..., L, 3, H, d)
        queries, keys, values = qkv.unbind(-3)
        return queries.transpose(-3, -2), keys.transpose(-3, -2), values.transpose(-3, -2)


class TemporalCorrelator(nn.Module):
    """Pre-norm block over all patches of all frames: 8 heads, MLP ratio 4 (paper, 3.2).

    Only `norm1` and the query and key parts of `attn.qkv` are used at inference, so the whole pass
    is a matter of the training (`bavos_lab.training.forward`).
    """

    def __init__(
        self,
        channels: int,
        *,
        heads: int = HEADS,
        dropout: float = 0.1,
        attention_dropout: float = 0.4,
    ):
        super().__init__()
        if channels % heads:
            raise ValueError(f"{channels} channels cannot be split evenly into {heads} heads.")
        self.norm1 = nn.LayerNorm(channels, eps=1e-5)
        self.attn = Attention(channels, heads, dropout=dropout, attention_dropout=attention_dropout)
        self.norm2 = nn.LayerNorm(channels, eps=1e-5)
        layers = OrderedDict(
            fc1=nn.Linear(channels, 4 * channels),
            gelu=nn.GELU(),
            drop1=nn.Dropout(dropout),
            fc2=nn.Linear(4 * channels, channels),
            drop2=nn.Dropout(dropout),
        )
        self.mlp = nn.Sequential(layers)

    @torch.no_grad()
    def queries_keys(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Map features (T, N, C) to queries and keys, each (T, H, N, d), in the block's dtype."""
        queries, keys, _ = self.attn.split(self.norm1(features))
        return queries, keys

    @property
    def scale(self) -> float:
        """The softmax scale, d^-1/2."""
        return self.attn.scale


def untrained(channels: int, *, seed: int) -> TemporalCorrelator:
    """Return a correlator with random weights (paper, Fig. 1c), the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TemporalCorrelator(channels).eval()


@dataclass(frozen=True, eq=False)
class TrainedCorrelator:
    """A correlator and the statistics of the features that it was trained on.

    Its interface is the correlator's own, `queries_keys` and `scale`; features are standardised
    first.
    """

    block: TemporalCorrelator
    mean: Tensor  # (C,) float32
    std: Tensor  # (C,) float32, above 0
    about: Mapping[str, str] = field(default_factory=dict)  # metadata of its file

    @property
    def channels(self) -> int:
        """Number of channels C."""
        return len(self.mean)

    @property
    def metadata(self) -> dict[str, str]:
        """Metadata of a file that holds it."""
        return {**self.about, "format": FORMAT, "heads": str(self.block.attn.heads)}

    @property
    def scale(self) -> float:
        """The softmax scale, d^-1/2."""
        return self.block.scale

    def standardised(self, features: Tensor) -> Tensor:
        """Standardise features (…, C) of the backbone for the block: (…, C) float32."""
        return (features.float() - self.mean) / self.std

    def queries_keys(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Map features (T, N, C) of the backbone to queries and keys, each (T, H, N, d)."""
        return self.block.queries_keys(self.standardised(features))

    def to(self, device: torch.device) -> TrainedCorrelator:
        """Return the correlator on a device; this one stays where it is."""
        block = on_device(self.block, device)
        return replace(self, block=block, mean=self.mean.to(device), std=self.std.to(device))


def state_of(trained: TrainedCorrelator) -> dict[str, Tensor]:
    """Return all tensors of a trained correlator under the names of its file."""
    tensors = {_BLOCK + name: tensor for name, tensor in trained.block.state_dict().items()}
    return tensors | {_MEAN: trained.mean, _STD: trained.std}


def read_correlator(path: Path) -> TrainedCorrelator:
    """Read a file of `write_correlator`, or the correlator of a reference checkpoint.

    The latter holds no feature statistics, so features are not standardised.
    Raise InputError for absent and damaged files, naming the first tensors that are missing.
    """
    tensors = read_tensors(path, option="--correlator")
    return correlator_from(tensors, read_metadata(path), path.name)


def correlator_from(
    tensors: Mapping[str, Tensor], about: Mapping[str, str], name: str
) -> TrainedCorrelator:
    """Build a trained correlator from tensors; name: of their file, for messages.

    Raise InputError as `read_correlator` does.
    """
    part = {k.removeprefix(_BLOCK): v for k, v in tensors.items() if k.startswith(_BLOCK)}
    weights = part or tensors
    channels = len(weights["norm1.weight"]) if "norm1.weight" in weights else HEADS
    heads = int(about.get("heads", HEADS))
    if channels % heads:
        raise InputError(
            f"{name} is not a trained correlator: {channels} channels do not fit {heads} heads; "
            "give a file made by bavos train."
        )
    block = TemporalCorrelator(channels, heads=heads)
    load_checked(block, weights, name)
    mean, std = _read_statistics(name, tensors, channels, required=about.get("format") == FORMAT)
    return TrainedCorrelator(block.eval().requires_grad_(False), mean, std, about)


def _read_statistics(
    name: str, tensors: Mapping[str, Tensor], channels: int, *, required: bool
) -> tuple[Tensor, Tensor]:
    if not required and _MEAN not in tensors and _STD not in tensors:
        return torch.zeros(channels), torch.ones(channels)
    mean, std = (tensors.get(key, torch.empty(0)).float() for key in (_MEAN, _STD))
    if mean.shape != (channels,) or std.shape != (channels,) or not (std > 0).all():
        raise InputError(
            f"{name} is not a trained correlator: {_MEAN} and {_STD} must hold {channels} numbers "
            "each, those of the latter above 0; train it again."
        )
    return mean, std
