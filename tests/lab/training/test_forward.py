"""The losses from a few rows are the losses from all of them."""

import pytest
import torch
from core.helpers import whole_pass
from torch import Tensor

from bavos_core.correlator import TemporalCorrelator
from bavos_lab.training.forward import (
    Losses,
    Projected,
    anchor_rows,
    block_losses,
    compact,
    outputs_of,
    rows_of,
)
from bavos_lab.training.losses import (
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

from .helpers import lively_block, random_tokens

SHAPES = [(1, 2), (2, 7), (3, 24), (3, 120), (4, 33)]


def full_losses(
    block: TemporalCorrelator, tokens: Tensor, anchors: Tensor, weighting: str
) -> Losses:
    """As the reference does it: the whole attention, every output token."""
    frames, patches = tokens.shape[:2]
    outputs, attention = whole_pass(block, tokens.flatten(0, 1).unsqueeze(0))
    attention = attention[0].mean(0)
    places = anchor_places(anchors, frames, patches)
    rows = normalised(attention[places].detach())
    sizes = SetSizes.of_grid(patches)
    by_entropy = entropy_weights(rows, frames)
    weights = by_entropy if weighting == "both" else even_weights(rows)
    return Losses(
        semantic_loss(outputs[0], places, mine_semantic(rows, frames, sizes), weights),
        motion_loss(attention, rows, mine_motion(rows, frames, sizes), by_entropy),
    )


def gradients(block: TemporalCorrelator, losses: Losses) -> dict[str, Tensor]:
    block.zero_grad()
    losses.total.backward()
    return {name: p.grad.clone() for name, p in block.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(("frames", "patches"), SHAPES)
@pytest.mark.parametrize("weighting", ["motion", "both"])
def test_gathered_is_full(frames: int, patches: int, weighting: str) -> None:
    block, tokens = lively_block(), random_tokens(frames, patches)
    anchors = torch.randperm(patches, generator=torch.Generator().manual_seed(0))[:5]
    full = full_losses(block, tokens, anchors, weighting)
    gathered = block_losses(block, tokens, anchors, weighting=weighting)
    torch.testing.assert_close(gathered.semantic, full.semantic, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gathered.motion, full.motion, rtol=1e-5, atol=1e-6)
    expected, found = gradients(block, full), gradients(block, gathered)
    assert found.keys() == expected.keys() == dict(block.named_parameters()).keys()
    for name, gradient in expected.items():
        scale = gradient.abs().max().item()
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-5 * max(scale, 1.0))


def test_every_parameter_learns() -> None:
    block = lively_block()
    found = gradients(block, block_losses(block, random_tokens(3, 40), torch.arange(4)))
    assert [name for name, gradient in found.items() if not gradient.abs().sum() > 0] == []


def test_only_what_is_needed_is_formed() -> None:
    block, tokens = lively_block(), random_tokens(3, 100)
    projected = Projected.of(block, tokens)
    places = anchor_places(torch.tensor([5, 50]), 3, 100)
    rows, _ = anchor_rows(block, projected, places)
    assert rows.shape == (6, 300)
    sizes = SetSizes.of_grid(100)
    motion, semantic = mine_motion(rows, 3, sizes), mine_semantic(rows, 3, sizes)
    mined, _ = rows_of(block, projected, motion)
    assert len(mined) == len(torch.cat([motion.positives, motion.negatives], 1).unique()) < 300
    outputs, own, _ = outputs_of(block, projected, places, semantic)
    assert len(outputs) < 300
    whole = whole_pass(block, tokens.flatten(0, 1).unsqueeze(0))[0][0]
    torch.testing.assert_close(outputs[own], whole[places], rtol=1e-4, atol=1e-5)


def test_compact_keeps_what_indices_mean() -> None:
    first, second = torch.tensor([[7, 2], [2, 9]]), torch.tensor([9, 4])
    needed, (new_first, new_second) = compact(first, second)
    assert needed.tolist() == [2, 4, 7, 9]
    assert torch.equal(needed[new_first], first)
    assert torch.equal(needed[new_second], second)


def test_mining_before_dropout_sees_clean_attention() -> None:
    block, tokens = lively_block(attention_dropout=0.6).train(), random_tokens(3, 30)
    places = anchor_places(torch.tensor([3, 8]), 3, 30)
    projected = Projected.of(block, tokens)
    dropped, clean = anchor_rows(block, projected, places)
    whole = whole_pass(block, tokens.flatten(0, 1).unsqueeze(0))[1][0].mean(0)  # before dropout
    torch.testing.assert_close(clean, whole[places])
    assert not torch.equal(dropped, clean)
    torch.testing.assert_close(dropped.sum(1), torch.ones(6))


def test_the_option_decides_where_sets_are_mined() -> None:
    block, tokens, anchors = (
        lively_block(attention_dropout=0.6),
        random_tokens(3, 30),
        torch.tensor([4]),
    )

    def losses(before: bool) -> Losses:
        torch.manual_seed(0)
        return block_losses(block, tokens, anchors, mine_before_dropout=before)

    with torch.random.fork_rng(devices=[]):
        assert losses(True).semantic != losses(False).semantic
        block.eval()  # without dropout there is nothing to choose
        assert losses(True).total == losses(False).total


def test_weights_reach_the_semantic_loss_if_asked() -> None:
    block, tokens, anchors = lively_block(), random_tokens(2, 30), torch.tensor([1, 2, 3])
    motion, both = (block_losses(block, tokens, anchors, weighting=w) for w in ("motion", "both"))
    assert motion.motion == both.motion
    assert motion.semantic != both.semantic


def test_bfloat16_is_near() -> None:
    block, tokens, anchors = lively_block(), random_tokens(3, 60), torch.tensor([1, 22, 43])
    exact = block_losses(block, tokens, anchors)
    rounded = block_losses(block, tokens, anchors, dtype=torch.bfloat16)
    assert rounded.total.dtype == torch.float32
    assert rounded.semantic.item() == pytest.approx(exact.semantic.item(), rel=0.1)
    assert rounded.motion.item() == pytest.approx(exact.motion.item(), rel=0.1)


def test_pairs_of_one_patch_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 patches"):
        block_losses(lively_block(), random_tokens(3, 1), torch.tensor([0]))
