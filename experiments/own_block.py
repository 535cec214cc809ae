"""A correlator that begins as the backbone's own attention, and its losses.

The block's queries and keys are those of the backbone's block plus a learned part that begins at
zero, so that before the first step its attention is the backbone's own, across frames. Values,
output and MLP are as in `TemporalCorrelator`.

T frames, N patches, C channels, H heads of d channels, L = T·N, A = T·n anchors.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from bavos_core.correlator import TemporalCorrelator
from bavos_lab.training.forward import Losses, Projected, anchor_rows, outputs_of, rows_of
from bavos_lab.training.losses import (
    MARGIN,
    Pairs,
    SetSizes,
    anchor_places,
    entropy_weights,
    even_weights,
    mine_motion,
    mine_semantic,
    motion_loss,
    normalised,
    semantic_loss,
)

Objective = Literal["paper", "entropy-margin", "other-frames", "consensus"]

_SHARE = 0.5  # of what an anchor's row tells beyond a uniform one: the margin of "entropy-margin"
_NEAR = 0.15  # of the frame's longer side: patches that belong to the place where an anchor went
_FAR = 0.3  # and patches that do not
_SHARPNESS = 0.05  # of the shares in a consensus, in Bhattacharyya coefficients
_POWER = 1.5  # that a consensus is raised to, so that rows do not blur


class OwnBlock(TemporalCorrelator):
    """A block on the backbone's queries and keys."""

    mean: Tensor
    std: Tensor

    def __init__(
        self, mean: Tensor, std: Tensor, heads: int, *, dropout: float, attention_dropout: float
    ):
        """mean, std: (2C,), of queries and keys over the training clips."""
        super().__init__(
            len(mean) // 2, heads=heads, dropout=dropout, attention_dropout=attention_dropout
        )
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        with torch.no_grad():
            self.attn.qkv.weight[: 2 * self.channels].zero_()
            for layer in (self.attn.proj, self.mlp.fc2):
                layer.weight.mul_(0.1)
                layer.bias.zero_()

    @property
    def channels(self) -> int:
        """Number of channels C."""
        return len(self.mean) // 2

    def project(self, features: Tensor) -> Projected:
        """Project queries and keys (T, N, 2C) of the backbone."""
        flat = features.flatten(0, 1)
        standard = (flat - self.mean) / self.std
        seen_q, seen_k = standard.chunk(2, -1)
        for_q, for_k, for_v = self.attn.qkv.weight.chunk(3)
        learned = torch.cat((F.linear(seen_q, for_q), F.linear(seen_k, for_k)), -1) * self.std
        queries, keys = (flat + learned).chunk(2, -1)
        parts = (queries, keys, F.linear(seen_k, for_v))
        by_head = (part.unflatten(-1, (self.attn.heads, -1)).transpose(0, 1) for part in parts)
        return Projected(seen_k, *by_head)

    @torch.no_grad()
    def queries_keys(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Map features (T, N, 2C) to queries and keys, each (T, H, N, d)."""
        found = self.project(features)
        queries, keys = (
            side.transpose(0, 1).unflatten(0, features.shape[:2]).transpose(1, 2)
            for side in (found.queries, found.keys)
        )
        return queries, keys


def losses(
    block: TemporalCorrelator,
    projected: Projected,
    anchors: Tensor,
    grid: tuple[int, int],
    objective: Objective,
    *,
    both: bool = False,
) -> Losses:
    """Return both losses of a sample; grid (h, w) of its crop; both: weigh both by entropy.

    objective: how the motion loss is made; "consensus" is another loss, in place of both.
    """
    if objective == "consensus":
        loss = consensus_loss((block.scale * projected.queries @ projected.keys.mT).softmax(-1))
        return Losses(loss, loss.new_zeros(()))
    patches = grid[0] * grid[1]
    frames = len(projected.tokens) // patches
    sizes = SetSizes.of_grid(patches)
    places = anchor_places(anchors, frames, patches)
    rows, _ = anchor_rows(block, projected, places)
    outputs, own, pairs = outputs_of(block, projected, places, mine_semantic(rows, frames, sizes))
    weights = entropy_weights(rows, frames)
    semantic = semantic_loss(outputs, own, pairs, weights if both else even_weights(rows))
    mined = mine_motion(rows, frames, sizes)
    if objective == "other-frames":
        mined, sure = followed(projected, places, rows, grid, sizes)
        weights = weights * sure / (weights * sure).sum().clamp_min(1e-6)
    around, mined = rows_of(block, projected, mined)
    margin = MARGIN if objective == "paper" else informed_margin(rows)
    return Losses(semantic, motion_loss(around, rows, mined, weights, margin))


def followed(
    projected: Projected, places: Tensor, rows: Tensor, grid: tuple[int, int], sizes: SetSizes
) -> tuple[Pairs, Tensor]:
    """Find pairs in the next frame, by where an anchor went; and whether that is sure, (A,) 0 or 1.

    An anchor went to the patch with the most similar features. It is sure if the patch most similar
    to that one, back in the anchor's frame, is at most a patch away from the anchor. Positives lie
    around the place in the next frame and have the highest attention there; negatives lie far from
    it and have the highest attention, too: they look alike and are something else.
    """
    patches = grid[0] * grid[1]
    frames = len(projected.tokens) // patches
    unit = F.normalize(projected.tokens.detach(), dim=-1).unflatten(0, (frames, patches))
    own, spot = places // patches, places % patches
    other = (own + 1) % frames
    went = (unit[own, spot][:, None] @ unit[other].mT).squeeze(1).argmax(1)  # (A,)
    back = (unit[other, went][:, None] @ unit[own].mT).squeeze(1).argmax(1)
    sure = _apart(back, spot, grid[1]) <= 1
    everywhere = torch.arange(patches, device=places.device)
    apart = _apart(went[:, None], everywhere[None], grid[1])  # (A, N)
    attention = rows.unflatten(1, (frames, patches))[torch.arange(len(places)), other]  # (A, N)
    side = max(grid)
    inside = attention.masked_fill(apart > _NEAR * side, -1)
    outside = attention.masked_fill(apart < _FAR * side, -1)
    start = (patches * other)[:, None]
    positives = inside.topk(sizes.motion_positives).indices + start
    negatives = outside.topk(sizes.motion_negatives).indices + start
    return Pairs(positives, negatives), sure.float()


def _apart(first: Tensor, second: Tensor, width: int) -> Tensor:
    """Return how many patches lie between places, the larger of rows and columns."""
    rows, columns = first // width - second // width, first % width - second % width
    return torch.maximum(rows.abs(), columns.abs())


def informed_margin(anchors: Tensor) -> Tensor:
    """Return half of what each anchor's row (A, L) tells beyond a uniform one: (A, 1, 1) nats."""
    given = normalised(anchors)
    told = (given * (given + 1e-10).log()).sum(1) + math.log(given.shape[1])
    return _SHARE * told.clamp_min(0)[:, None, None]


def consensus_loss(rows: Tensor) -> Tensor:
    """Return the divergence of rows (H, L, L) from the mean of similar rows, in nats.

    Each row's target is the mean of all rows, weighted by their similarity (Bhattacharyya), and
    sharpened: the first step of the paper's clustering, learned.
    """
    own = rows.mean(0)
    with torch.no_grad():
        roots = own.sqrt()
        alike = (roots @ roots.T / _SHARPNESS).softmax(1)
        target = normalised((alike @ own) ** _POWER)
    return (target * ((target + 1e-10).log() - (own + 1e-10).log())).sum(1).mean()
