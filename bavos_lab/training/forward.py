"""The part of the correlator's output that the losses need.

T frames, N patches a frame, L = T·N, C channels, H heads of d channels, A = T·n anchors.
The reference computes and sorts the attention of all L patches, but uses only a part of it: the
anchors' rows, in which positives and negatives are found; the rows of these patches, for the motion
loss; their output tokens, for the semantic loss. Only these parts are computed here, the tokens by
fused attention, which stores no attention matrix. Without attention dropout the losses and
gradients equal those of the full computation. With it they only have the same distribution: rows
and tokens are dropped out independently, while the reference takes both from one matrix.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from bavos_core.correlator import TemporalCorrelator

from .losses import (
    Pairs,
    SetSizes,
    Weighting,
    anchor_places,
    entropy_weights,
    even_weights,
    mine_motion,
    mine_semantic,
    motion_loss,
    normalised,
    semantic_loss,
)


@dataclass(frozen=True)
class Losses:
    """The two losses of one sample, scalars."""

    semantic: Tensor
    motion: Tensor

    @property
    def total(self) -> Tensor:
        """The loss to minimise."""
        return self.semantic + self.motion


@dataclass(frozen=True)
class Projected:
    """A sample inside the block, before its attention."""

    tokens: Tensor  # (L, C) as they enter the block
    queries: Tensor  # (H, L, d)
    keys: Tensor  # (H, L, d)
    values: Tensor  # (H, L, d)

    @classmethod
    def of(cls, block: TemporalCorrelator, tokens: Tensor) -> Projected:
        """Project standardised tokens (T, N, C)."""
        flat = tokens.flatten(0, 1)
        return cls(flat, *block.attn.split(block.norm1(flat)))


def block_losses(
    block: TemporalCorrelator,
    tokens: Tensor,
    anchors: Tensor,
    *,
    weighting: Weighting = "motion",
    mine_before_dropout: bool = False,
    dtype: torch.dtype = torch.float32,
) -> Losses:
    """Return both losses of a sample, with gradients for all of the block's parameters.

    tokens (T, N, C) float32, standardised; anchors (n,) int64 patch positions in 0 … N-1, the same
    in all frames; dtype: of the block's matrix products, the losses themselves being float32.
    Raise ValueError for frames of fewer than two patches.
    """
    frames, patches = tokens.shape[:2]
    sizes = SetSizes.of_grid(patches)
    places = anchor_places(anchors, frames, patches)
    with torch.autocast(tokens.device.type, torch.bfloat16, enabled=dtype == torch.bfloat16):
        projected = Projected.of(block, tokens)
        rows, mined = anchor_rows(block, projected, places)
        motion = mine_motion(mined if mine_before_dropout else rows, frames, sizes)
        semantic = mine_semantic(mined if mine_before_dropout else rows, frames, sizes)
        motion_rows, motion_pairs = rows_of(block, projected, motion)
        outputs, own, semantic_pairs = outputs_of(block, projected, places, semantic)
    by_entropy = entropy_weights(rows, frames)
    weights = by_entropy if weighting == "both" else even_weights(rows)
    return Losses(
        semantic_loss(outputs, own, semantic_pairs, weights),
        motion_loss(motion_rows, rows, motion_pairs, by_entropy),
    )


@torch.no_grad()
def anchor_rows(
    block: TemporalCorrelator, projected: Projected, places: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the mean attention of anchors at places (A,), after and before dropout: (A, L).

    Without gradient: the losses only choose and weigh by these rows.
    """
    attention = _attention(block, projected.queries[:, places], projected.keys)
    return normalised(block.attn.attention_drop(attention).mean(0)), attention.mean(0)


def rows_of(block: TemporalCorrelator, projected: Projected, pairs: Pairs) -> tuple[Tensor, Pairs]:
    """Return the attention of the patches in pairs after dropout (U, L), and re-indexed pairs."""
    needed, (positives, negatives) = compact(pairs.positives, pairs.negatives)
    attention = _attention(block, projected.queries.index_select(1, needed), projected.keys)
    return block.attn.attention_drop(attention).mean(0), Pairs(positives, negatives)


def outputs_of(
    block: TemporalCorrelator, projected: Projected, places: Tensor, pairs: Pairs
) -> tuple[Tensor, Tensor, Pairs]:
    """Return output tokens (U, C) of the anchors and the patches in pairs, both re-indexed."""
    needed, (own, positives, negatives) = compact(places, pairs.positives, pairs.negatives)
    attn = block.attn
    mixed = F.scaled_dot_product_attention(
        projected.queries.index_select(1, needed).unsqueeze(0),
        projected.keys.unsqueeze(0),
        projected.values.unsqueeze(0),
        dropout_p=attn.attention_drop.p if block.training else 0.0,
        scale=block.scale,
    )  # (1, H, U, d)
    tokens = projected.tokens.index_select(0, needed)
    tokens = tokens + attn.drop(attn.proj(mixed[0].transpose(0, 1).flatten(1)))
    return tokens + block.mlp(block.norm2(tokens)), own, Pairs(positives, negatives)


def compact(*indices: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Return the unique indices (U,), rising, and each tensor as indices into those."""
    flat = torch.cat([part.flatten() for part in indices])
    needed, place = flat.unique(return_inverse=True)
    parts = place.split([part.numel() for part in indices])
    return needed, [new.view_as(old) for new, old in zip(parts, indices, strict=True)]


def _attention(block: TemporalCorrelator, queries: Tensor, keys: Tensor) -> Tensor:
    """Attend: queries (H, U, d), keys (H, L, d) → (H, U, L) float32, before dropout."""
    return (block.scale * queries @ keys.mT).softmax(-1, dtype=torch.float32)
