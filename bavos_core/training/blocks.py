"""A fresh block, as training starts from it."""

from __future__ import annotations

import torch

from ..correlator import TemporalCorrelator
from ..errors import InputError
from .settings import TrainSettings

_NOISE = 0.01  # deviation of what is added to the identity, so that heads can drift apart
_SMALL = 0.1  # of the usual size: what the fresh block adds to its input


def new_block(channels: int, settings: TrainSettings) -> TemporalCorrelator:
    """A fresh block, the same for the same settings. Raises InputError if the heads do not fit.

    Near the identity, each head compares its own slice of the standardised channels, and the output
    is little more than the input. So attention starts as that of the features, sharp and sound,
    and learning refines it: a random start needs many more steps, and what little a small training
    set holds is spent on them.
    """
    if channels % settings.heads:
        raise InputError(
            f"The features have {channels} channels, which {settings.heads} heads cannot share "
            "evenly; give another number of heads."
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
            _start_near_identity(block, settings.gain)
    return block


@torch.no_grad()
def _start_near_identity(block: TemporalCorrelator, gain: float) -> None:
    queries, keys, _ = block.attn.qkv.weight.chunk(3)  # (C, C) each
    for part in (queries, keys):
        part.normal_(std=_NOISE).diagonal().add_(gain**0.5)
    for layer in (block.attn.proj, block.mlp.fc2):
        layer.weight.mul_(_SMALL)
        layer.bias.zero_()
