"""The block that begins as the backbone's attention, and its losses."""

import pytest
import torch

from bavos_core.correlator import untrained
from bavos_lab.training.forward import Projected, block_losses
from bavos_lab.training.losses import SetSizes
from experiments.learning import CrossFrame
from experiments.own_block import OwnBlock, consensus_loss, followed, losses

HEADS, CHANNELS, GRID = 2, 16, (6, 8)
PATCHES = GRID[0] * GRID[1]


def features(seed: int, channels: int) -> torch.Tensor:
    return torch.randn(3, PATCHES, channels, generator=torch.Generator().manual_seed(seed))


def test_before_the_first_step_its_attention_is_the_backbones() -> None:
    seen = 3 * features(0, 2 * CHANNELS) + 1
    block = OwnBlock(seen.mean((0, 1)), seen.std((0, 1)), HEADS, dropout=0, attention_dropout=0)
    expected = CrossFrame(HEADS, block.scale).queries_keys(seen)
    for found, given in zip(block.queries_keys(seen), expected, strict=True):
        torch.testing.assert_close(found, given)
    assert block.scale == (CHANNELS // HEADS) ** -0.5


@pytest.mark.parametrize("both", [False, True])
def test_the_losses_of_the_paper_are_those_of_training(both: bool) -> None:
    block, tokens = untrained(CHANNELS, seed=0), features(1, CHANNELS)
    anchors = torch.tensor([3, 17, 40])
    expected = block_losses(block, tokens, anchors, weighting="both" if both else "motion")
    found = losses(block, Projected.of(block, tokens), anchors, GRID, "paper", both=both)
    torch.testing.assert_close(found.semantic, expected.semantic)
    torch.testing.assert_close(found.motion, expected.motion)


def test_an_anchor_is_followed_to_where_its_features_went() -> None:
    ground = features(2, CHANNELS)[0]  # each patch of a still scene looks like no other
    tokens = torch.stack([ground, ground.roll(2, 0), ground.roll(4, 0)])  # two columns to the right
    projected = Projected(tokens.flatten(0, 1), *(torch.zeros(1),) * 3)
    rows = torch.rand(3, 3 * PATCHES, generator=torch.Generator().manual_seed(3))
    places = torch.tensor([9, PATCHES + 11, 2 * PATCHES + 13])  # the same patch in all frames
    pairs, sure = followed(projected, places, rows, GRID, SetSizes.of_grid(PATCHES))
    assert sure.tolist() == [1, 1, 1]
    for anchor, (frame, went) in enumerate([(1, 11), (2, 13), (0, 9)]):
        for places_of, near in ((pairs.positives, True), (pairs.negatives, False)):
            inside = places_of[anchor] - frame * PATCHES
            assert ((inside >= 0) & (inside < PATCHES)).all()
            apart = torch.maximum((inside // 8 - went // 8).abs(), (inside % 8 - went % 8).abs())
            assert (apart <= 1.2 if near else apart >= 2.4).all()


def test_the_consensus_is_that_of_a_plain_version() -> None:
    rows = torch.rand(HEADS, 10, 10, generator=torch.Generator().manual_seed(4))
    rows = rows / rows.sum(2, keepdim=True)
    own = rows.mean(0)
    expected = 0.0
    for row in own:
        shares = [((row * other).sqrt().sum() / 0.05).exp() for other in own]
        target = sum(share * other for share, other in zip(shares, own, strict=True)) / sum(shares)
        target = target**1.5 / (target**1.5).sum()
        expected += float((target * (target / row).log()).sum()) / len(own)
    assert float(consensus_loss(rows)) == pytest.approx(expected, rel=1e-4)


def test_rows_of_two_things_that_tell_them_apart_are_at_their_consensus() -> None:
    things = torch.block_diag(torch.full((4, 4), 0.25), torch.full((6, 6), 1 / 6))[None]
    assert float(consensus_loss(things)) == pytest.approx(0, abs=1e-5)
