"""Where a block starts, and what belongs to it."""

from dataclasses import replace

import pytest
import torch
from core.helpers import whole_pass

from bavos_core.correlator import TrainedCorrelator
from bavos_core.errors import InputError
from bavos_core.settings import Settings
from bavos_core.sources import project_keys
from bavos_lab.training.blocks import frozen_copy, keys_gain, new_block
from bavos_lab.training.data import CachedClip
from bavos_lab.training.trainer import new_learner

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
        init: (
            whole_pass(new_block(32, replace(TINY, init=init)).eval(), tokens)[0] - tokens
        ).norm()
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


@pytest.mark.parametrize("heads", [1, 2, 8])
def test_without_a_gain_rows_start_as_wide_as_those_of_keys(heads: int) -> None:
    clip = CachedClip("clip", (6, 10), (3 * random_tokens(8, 60, channels=32)).half())
    settings = replace(TINY, heads=heads, gain=None, standardise="common")
    trained = frozen_copy(new_learner([clip], settings).correlator)
    tokens = clip.tokens(range(4))
    queries, keys = trained.queries_keys(tokens)
    ours = mean_perplexity(queries, keys, trained.scale)
    plain = project_keys(tokens, Settings(key_ratio=1))
    assert ours == pytest.approx(mean_perplexity(plain.queries, plain.keys, plain.scale), rel=0.05)


def test_with_one_head_a_fresh_block_attends_as_keys_do() -> None:
    clip = CachedClip("clip", (6, 10), (3 * random_tokens(4, 60, channels=64)).half())
    settings = replace(TINY, heads=1, gain=None, standardise="common")
    trained = frozen_copy(new_learner([clip], settings).correlator)
    tokens = clip.tokens(range(4))
    queries, keys = trained.queries_keys(tokens)
    ours = trained.scale * (queries.flatten(0, 2) @ keys.flatten(0, 2).mT)
    plain = project_keys(tokens, Settings(key_ratio=1))
    theirs = plain.scale * (plain.queries.flatten(0, 2) @ plain.keys.flatten(0, 2).mT)
    pair = torch.stack([ours.flatten(), theirs.flatten()])
    assert torch.corrcoef(pair)[0, 1] > 0.95


def test_a_given_gain_is_kept() -> None:
    assert keys_gain([random_tokens(2, 30, channels=16)], 8) != pytest.approx(3, rel=0.1)
    clip = CachedClip("clip", (6, 10), random_tokens(4, 60, channels=16).half())
    learner = new_learner([clip], replace(TINY, gain=3.0))
    fresh = new_block(16, replace(TINY, gain=3.0))
    assert torch.equal(learner.block.attn.qkv.weight, fresh.attn.qkv.weight)


def mean_perplexity(queries: torch.Tensor, keys: torch.Tensor, scale: float) -> float:
    """exp of the mean entropy of rows over all keys, mean over heads."""
    logits = scale * queries.transpose(0, 1).flatten(1, 2) @ keys.transpose(0, 1).flatten(1, 2).mT
    rows = logits.double().softmax(-1).mean(0)
    return float(torch.exp(-(rows * rows.log()).sum(1).mean()))


def test_the_seed_decides_and_nothing_else_changes() -> None:
    state = torch.get_rng_state()
    first, second, other = (new_block(16, replace(TINY, seed=seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.attn.qkv.weight, second.attn.qkv.weight)
    assert not torch.equal(first.attn.qkv.weight, other.attn.qkv.weight)


def test_settings_reach_the_block() -> None:
    block = new_block(24, replace(TINY, heads=3, dropout=0.3, attention_dropout=0.4))
    assert block.attn.heads == 3
    assert block.attn.drop.p == block.mlp.drop1.p == 0.3
    assert block.attn.attention_drop.p == 0.4


def test_heads_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="10 channels, which cannot be divided among 8 heads"):
        new_block(10, TINY)


def test_features_are_standardised_on_the_way_in() -> None:
    block, features = lively_block(16).eval(), random_tokens(2, 10)
    mean, std = torch.arange(16.0), torch.arange(1.0, 17.0)
    trained = TrainedCorrelator(block, mean, std)
    queries, keys = trained.queries_keys(features * std + mean)
    plain_queries, plain_keys = block.queries_keys(features)
    torch.testing.assert_close(queries, plain_queries, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(keys, plain_keys, rtol=1e-3, atol=1e-4)
    assert trained.scale == block.scale
    assert trained.channels == 16


def test_a_frozen_copy_stays_as_it_is() -> None:
    trained = TrainedCorrelator(lively_block(16), torch.zeros(16), torch.ones(16))
    copy = frozen_copy(trained)
    before = weights_of(copy.block)
    with torch.no_grad():
        trained.block.attn.qkv.weight.zero_()
    assert torch.equal(copy.block.attn.qkv.weight, before["attn.qkv.weight"])
    assert not copy.block.training
    assert not any(p.requires_grad for p in copy.block.parameters())
    assert torch.equal(
        frozen_copy(trained, before).block.attn.qkv.weight, before["attn.qkv.weight"]
    )
