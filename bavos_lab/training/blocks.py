"""The correlator blocks that training starts from and returns."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from bavos_core.attention import perplexity_scale
from bavos_core.correlator import TemporalCorrelator, TrainedCorrelator
from bavos_core.errors import InputError

from .settings import TrainSettings

_NOISE = 0.01  # deviation of what is added to the identity, so that heads can drift apart
_SMALL = 0.1  # of the usual size: what the fresh block adds to its input


def new_block(
    channels: int, settings: TrainSettings, *, gain: float | None = None
) -> TemporalCorrelator:
    """Return a new block, the same for the same settings. Raise InputError if heads do not fit.

    gain: instead of the settings'; 1 if neither gives one.

    Near the identity, each head compares its own slice of the standardised channels, and the output
    is close to the input. So training refines the attention of the features; a random start needs
    many more steps, which a small training set does not allow.
    """
    if channels % settings.heads:
        raise InputError(
            f"The features have {channels} channels, which cannot be divided among "
            f"{settings.heads} heads; give another number of heads."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        block = TemporalCorrelator(
            channels,
            heads=settings.heads,
            dropout=settings.dropout,
            attention_dropout=settings.attention_dropout,
        )
        if settings.init == "identity":
            _start_near_identity(block, gain or settings.gain or 1.0)
    return block


def frozen_copy(
    trained: TrainedCorrelator, weights: Mapping[str, Tensor] | None = None
) -> TrainedCorrelator:
    """Return a frozen copy, with its own weights or with others of the same shapes."""
    block = copy.deepcopy(trained.block).eval().requires_grad_(False)
    block.load_state_dict(weights or trained.block.state_dict())
    return replace(trained, block=block)


def keys_gain(windows: Sequence[Tensor], heads: int) -> float:
    """Return the gain at which a new block's rows are as sharp as those of key similarity.

    windows: standardised features (T, N, C), at least one; the mean over them. Without it, few
    channels per head give flat rows, and flat rows give a single cluster.
    """
    gains = []
    for tokens in windows:
        slices = F.layer_norm(tokens, tokens.shape[-1:]).unflatten(2, (heads, -1)).transpose(1, 2)
        gains.append(perplexity_scale(slices, slices) * slices.shape[-1] ** 0.5)
    return sum(gains) / len(gains)


@torch.no_grad()
def _start_near_identity(block: TemporalCorrelator, gain: float) -> None:
    queries, keys, _ = block.attn.qkv.weight.chunk(3)  # (C, C) each
    for part in (queries, keys):
        part.normal_(std=_NOISE).diagonal().add_(gain**0.5)
    for layer in ("attn.proj", "mlp.fc2"):
        block.get_parameter(f"{layer}.weight").mul_(_SMALL)
        block.get_parameter(f"{layer}.bias").zero_()
