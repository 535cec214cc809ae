"""What a student learns from its teacher (DINO, iBOT; Sinkhorn centring as in SwAV and DINOv2).

B samples, K prototypes.
"""

from __future__ import annotations

import torch
from torch import Tensor

_ROUNDS = 3


@torch.no_grad()
def sinkhorn(logits: Tensor, temperature: float) -> Tensor:
    """Assignments in which every prototype has an equal share: logits (B, K) → (B, K), rows sum 1.

    Columns and rows are scaled in turn. Without equal shares all views would end at one prototype,
    which any teacher foretells well.
    """
    logs = logits / temperature  # logarithms, since shares would leave a float's range
    for _ in range(_ROUNDS):
        logs = logs - logs.logsumexp(0)
        logs = logs - logs.logsumexp(1, keepdim=True)
    return logs.exp()


def cross_entropy(wanted: Tensor, logits: Tensor, temperature: float) -> Tensor:
    """Of the student's logits (B, K) against the teacher's assignments (B, K): (B,)."""
    return -(wanted * (logits / temperature).log_softmax(-1)).sum(-1)


def view_loss(wanted: Tensor, logits: Tensor, temperature: float) -> Tensor:
    """Every view against every large view of the same sample but itself; a scalar.

    wanted (2, B, K): the teacher's of the large views; logits (V, B, K): the student's of all
    views, the large ones first.
    """
    pairs = [(large, view) for large in range(2) for view in range(len(logits)) if large != view]
    losses = [
        cross_entropy(wanted[large], logits[view], temperature).mean() for large, view in pairs
    ]
    return torch.stack(losses).mean()
