"""Where a block starts, and what belongs to it."""

from dataclasses import replace

import pytest
import torch

from bavos_core.errors import InputError
from bavos_core.trained import TrainedBlock
from bavos_core.training.blocks import new_block

from .helpers import TINY, lively_block, random_tokens, weights_of


def test_near_the_identity_every_head_compares_its_own_slice() -> None:
    block = new_block(32, TINY).eval()
    features = random_tokens(2, 50, channels=32)
    queries, keys = block.queries_keys(features)
    slices = torch.nn.functional.layer_norm(features, (32,)).unflatten(2, (8, 4)).transpose(1, 2)
    torch.testing.assert_close(queries, slices, rtol=0, atol=0.3)
    torch.testing.assert_close(keys, slices, rtol=0, atol=0.3)
    assert (queries - slices).abs().mean() < 0.06
    assert not torch.equal(queries, keys)


def test_near_the_identity_little_is_added_to_the_input() -> None:
    tokens = random_tokens(1, 40, channels=32)
    added = {
        init: (new_block(32, replace(TINY, init=init)).eval()(tokens)[0] - tokens).norm()
        for init in ("identity", "random")
    }
    assert added["identity"] < 0.2 * added["random"]
    assert added["identity"] < 0.1 * tokens.norm()


def test_gain_multiplies_the_first_logits() -> None:
    features = random_tokens(1, 30, channels=32)

    def logits(gain: float) -> torch.Tensor:
        queries, keys = new_block(32, replace(TINY, gain=gain)).queries_keys(features)
        return queries @ keys.mT

    ratio = logits(4.0).std() / logits(1.0).std()
    assert ratio == pytest.approx(4, rel=0.05)


def test_the_seed_decides_and_nothing_else_changes() -> None:
    state = torch.get_rng_state()
    first, second, other = (new_block(16, replace(TINY, seed=seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.attn.qkv.weight, second.attn.qkv.weight)
    assert not torch.equal(first.attn.qkv.weight, other.attn.qkv.weight)


def test_settings_reach_the_block() -> None:
    block = new_block(24, replace(TINY, heads=3, dropout=0.3, attention_dropout=0.4))
    assert block.attn.heads == 3
    assert block.attn.drop.p == block.mlp.drop.p == 0.3
    assert block.attn.attention_drop.p == 0.4


def test_heads_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="10 channels, which 8 heads cannot share"):
        new_block(10, TINY)


def test_features_are_standardised_on_the_way_in() -> None:
    block, features = lively_block(16).eval(), random_tokens(2, 10)
    mean, std = torch.arange(16.0), torch.arange(1.0, 17.0)
    trained = TrainedBlock(block, mean, std)
    queries, keys = trained.queries_keys(features * std + mean)
    plain_queries, plain_keys = block.queries_keys(features)
    torch.testing.assert_close(queries, plain_queries, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(keys, plain_keys, rtol=1e-3, atol=1e-4)
    assert trained.scale == block.scale
    assert trained.channels == 16


def test_a_frozen_copy_stays_as_it_is() -> None:
    trained = TrainedBlock(lively_block(16), torch.zeros(16), torch.ones(16))
    copy = trained.frozen_copy()
    before = weights_of(copy.block)
    with torch.no_grad():
        trained.block.attn.qkv.weight.zero_()
    assert torch.equal(copy.block.attn.qkv.weight, before["attn.qkv.weight"])
    assert not copy.block.training
    assert not any(p.requires_grad for p in copy.block.parameters())
    assert torch.equal(trained.frozen_copy(before).block.attn.qkv.weight, before["attn.qkv.weight"])
