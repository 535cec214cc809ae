"""The losses of the correlator (paper, 3.2; reference code).

T frames, N patches a frame, L = T·N patches of a sample, C channels, A anchors: the same few patch
positions in each of the T frames, in frame-major order. A row is an anchor's attention over all L
patches. U ≤ L patches take part in a loss: those that some anchor mined.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Weighting = Literal["motion", "both"]

_LIKE = 0.9  # cosine that positives are pulled up to
_UNLIKE = 0.1  # cosine that negatives are pushed down to
MARGIN = 1.0  # nats by which positives should beat negatives
_EPS = 1e-10  # keeps the log of a dropped probability finite


@dataclass(frozen=True, kw_only=True)
class SetSizes:
    """The numbers of patches of a frame that an anchor takes as positives and negatives."""

    semantic_positives: int
    semantic_negatives: int
    motion_positives: int
    motion_negatives: int

    @classmethod
    def of_grid(cls, patches: int) -> SetSizes:
        """Return the paper's shares of a frame: 30, 200, 10, 50 at N = 1152 (24×48), at least 1.

        Raise ValueError for a frame of fewer than two patches, which holds no pair.
        """
        if patches < 2:
            raise ValueError(f"a frame needs at least 2 patches, not {patches}")

        def share(count: int) -> int:
            return max(1, round(count * patches / 1152))

        return cls(
            semantic_positives=share(30),
            semantic_negatives=share(200),
            motion_positives=share(10),
            motion_negatives=share(50),
        )


@dataclass(frozen=True)
class Pairs:
    """Positive and negative patches of every anchor, as indices into a list of patches."""

    positives: Tensor  # (A, P) int64
    negatives: Tensor  # (A, Q) int64


def anchor_places(anchors: Tensor, frames: int, patches: int) -> Tensor:
    """Repeat positions (n,) in 0 … N-1 in every frame: (A = T·n,) in 0 … L-1."""
    starts = patches * torch.arange(frames, device=anchors.device)
    return (starts[:, None] + anchors).flatten()


def mine_semantic(rows: Tensor, frames: int, sizes: SetSizes) -> Pairs:
    """Find the patches that each anchor attends to most and least in every frame: rows (A, L)."""
    per_frame = rows.unflatten(1, (frames, -1))  # (A, T, N)
    starts = per_frame.shape[2] * torch.arange(frames, device=rows.device)
    found = _extremes(per_frame, sizes.semantic_positives, sizes.semantic_negatives)
    positives, negatives = ((starts[:, None] + side).flatten(1) for side in found)
    return Pairs(positives, negatives)


def mine_motion(rows: Tensor, frames: int, sizes: SetSizes) -> Pairs:
    """Find the same in the anchor's own frame only: rows (A, L) in frame-major order."""
    per_frame = rows.unflatten(0, (frames, -1)).unflatten(2, (frames, -1))  # (T, n, T, N)
    own = per_frame.diagonal(dim1=0, dim2=2).permute(2, 0, 1)  # (T, n, N)
    starts = own.shape[2] * torch.arange(frames, device=rows.device)
    found = _extremes(own, sizes.motion_positives, sizes.motion_negatives)
    positives, negatives = ((starts[:, None, None] + side).flatten(0, 1) for side in found)
    return Pairs(positives, negatives)


def _extremes(values: Tensor, most: int, least: int) -> tuple[Tensor, Tensor]:
    """Return the indices of the largest and the smallest of the last dimension.

    One order gives both, so that ties cannot put a patch on either side.
    """
    if most + least > values.shape[-1]:
        raise ValueError(
            f"{most} positives and {least} negatives do not fit into {values.shape[-1]} patches"
        )
    order = values.argsort(dim=-1, descending=True)
    return order[..., :most], order[..., -least:]


def entropy_weights(rows: Tensor, frames: int) -> Tensor:
    """Return the weights of anchors (A,), sum 1, higher for rows (A, L) of low entropy.

    A softmax of the negative entropies over the anchors of each frame, every frame counting alike.
    """
    rows = rows.detach()
    negative_entropy = (rows * (rows + _EPS).log()).sum(1)  # (A,)
    return negative_entropy.unflatten(0, (frames, -1)).softmax(1).flatten() / frames


def even_weights(rows: Tensor) -> Tensor:
    """Return equal weights (A,), sum 1."""
    return rows.new_full((len(rows),), 1 / len(rows))


def semantic_loss(tokens: Tensor, anchors: Tensor, pairs: Pairs, weights: Tensor) -> Tensor:
    """Pull output tokens of positives towards the anchor's and push those of negatives away.

    tokens (U, C); anchors (A,) and pairs are indices into them; weights (A,) → scalar ≥ 0.
    """
    unit = F.normalize(tokens, dim=-1)
    cosines = unit[anchors] @ unit.T  # (A, U)
    pull = (_LIKE - cosines.gather(1, pairs.positives)).relu().mean(1)
    push = (cosines.gather(1, pairs.negatives) - _UNLIKE).relu().mean(1)
    return (weights * (pull + push)).sum()


def motion_loss(
    rows: Tensor, anchors: Tensor, pairs: Pairs, weights: Tensor, margin: Tensor | float = MARGIN
) -> Tensor:
    """Make positives' attention explain the anchor's better than negatives' by a margin in nats.

    rows (U, L) of the mined patches, into which pairs are indices; anchors (A, L) rows of the
    anchors, which get no gradient; weights (A,); margin (A, 1, 1) or the same for all → scalar ≥ 0.
    Rows need not sum to 1, since attention dropout may have set entries to 0.
    """
    evidence = normalised(anchors).detach() @ (normalised(rows) + _EPS).log().T  # (A, U)
    positive = evidence.gather(1, pairs.positives)
    negative = evidence.gather(1, pairs.negatives)
    hinges = (negative[:, None, :] - positive[:, :, None] + margin).relu()  # (A, P, Q)
    return (weights * hinges.mean((1, 2))).sum()


def normalised(rows: Tensor) -> Tensor:
    """Divide each non-negative row (…, L) by its sum."""
    return F.normalize(rows, p=1, dim=-1)
