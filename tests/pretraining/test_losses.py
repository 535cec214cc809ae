"""Losses and assignments against values worked out another way."""

import math

import numpy as np
import pytest
import torch

from bavos_core.pretraining.losses import cross_entropy, sinkhorn, view_loss


def logits(rows: int, columns: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).uniform(-1, 1, (rows, columns))).float()


def test_sinkhorn_is_alternate_scaling_in_plain_loops() -> None:
    given = logits(4, 3)
    matrix = [[math.exp(float(v) / 0.2) for v in row] for row in given]
    for _ in range(3):
        for column in range(3):
            total = sum(row[column] for row in matrix)
            for row in matrix:
                row[column] /= total
        matrix = [[v / sum(row) for v in row] for row in matrix]
    assert np.allclose(sinkhorn(given, 0.2), matrix, atol=1e-6)


def test_every_row_is_a_distribution_and_every_prototype_is_used() -> None:
    given = logits(64, 8)
    given[:, 0] += 1  # most prefer one
    found = sinkhorn(given, 0.1)
    assert torch.allclose(found.sum(1), torch.ones(64))
    assert (found.sum(0) > 4).all()  # 8 each were equal shares to the last digit
    assert given.softmax(1).sum(0)[0] > 16  # where the first would have had more


def test_sinkhorn_stands_logits_whose_exponentials_no_float_holds() -> None:
    found = sinkhorn(100 * logits(8, 4), 0.04)
    assert found.isfinite().all()
    assert torch.allclose(found.sum(1), torch.ones(8))


def test_cross_entropy_is_least_where_the_student_agrees() -> None:
    wanted = torch.tensor([[0.7, 0.2, 0.1]])
    agreeing = cross_entropy(wanted, 0.1 * wanted.log(), 0.1)
    assert agreeing.item() == pytest.approx(-sum(p * math.log(p) for p in (0.7, 0.2, 0.1)))
    assert (cross_entropy(wanted.flip(1), 0.1 * wanted.log(), 0.1) > agreeing).all()


def test_a_view_is_never_compared_with_itself() -> None:
    wanted = torch.eye(3)[:2].unsqueeze(1)  # (2, 1, 3): views 0 and 1 have classes 0 and 1
    seen = torch.full((3, 1, 3), -100.0)
    seen[0, 0, 1] = seen[1, 0, 0] = 100.0  # each large view foretells the other's class
    seen[2] = 0.0  # the small one knows nothing
    crossed = view_loss(wanted, seen, 1.0)
    assert crossed.item() == pytest.approx((0 + 0 + 2 * math.log(3)) / 4)
