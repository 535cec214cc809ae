"""Adapting a block to one analysed clip."""

from dataclasses import replace

import pytest
import torch

from bavos_core.correlator import TrainedCorrelator
from bavos_core.errors import Cancelled, InputError
from bavos_lab.training import ADAPT, Step, adapt, adapting, frozen_copy
from bavos_lab.training.data import CachedClip
from bavos_lab.training.trainer import learn, new_learner

from .helpers import TINY, assert_same, lively_block, random_tokens, weights_of

GRID = (6, 10)
SETTINGS = replace(TINY, measure_every=0, steps=6)


@pytest.fixture
def tokens() -> torch.Tensor:
    return random_tokens(5, 60, channels=16)


def test_every_step_is_told_and_the_last_block_is_kept(tokens: torch.Tensor) -> None:
    seen: list[Step] = []
    result = adapt(tokens, GRID, settings=SETTINGS, on_step=seen.append)
    assert [step.step for step in seen] == [1, 2, 3, 4, 5, 6]
    assert {step.steps for step in seen} == {6}
    assert (result.steps, result.best_step, result.stopped) == (6, 6, False)
    assert (result.semantic, result.motion) == (seen[-1].semantic, seen[-1].motion)
    assert_same(weights_of(result.correlator.block), weights_of(seen[-1].correlator.block))
    assert not result.correlator.block.training
    queries, _ = seen[0].correlator.queries_keys(tokens)  # for a look while it learns
    assert queries.shape == (5, 8, 60, 2)


def test_it_takes_the_trainers_steps(tokens: torch.Tensor) -> None:
    result = adapt(tokens, GRID, settings=SETTINGS)
    clip = CachedClip("clip", GRID, tokens.half())
    learner = new_learner([clip], SETTINGS)
    assert len(list(learn(learner, [clip]))) == 6
    assert_same(weights_of(result.correlator.block), weights_of(learner.block))


def test_stopping_keeps_what_was_learned(tokens: torch.Tensor) -> None:
    def stop(step: Step) -> None:
        if step.step == 2:
            raise Cancelled

    result = adapt(tokens, GRID, settings=SETTINGS, on_step=stop)
    assert (result.steps, result.stopped) == (2, True)
    fresh = new_learner([CachedClip("clip", GRID, tokens.half())], SETTINGS)
    assert not torch.equal(result.correlator.block.attn.qkv.weight, fresh.block.attn.qkv.weight)


def test_steps_can_be_taken_one_by_one_and_looked_at(tokens: torch.Tensor) -> None:
    kept = [frozen_copy(step.correlator) for step in adapting(tokens, GRID, settings=SETTINGS)]
    assert len(kept) == 6
    assert not torch.equal(kept[0].block.attn.qkv.weight, kept[1].block.attn.qkv.weight)
    whole = adapt(tokens, GRID, settings=SETTINGS)
    assert_same(weights_of(kept[-1].block), weights_of(whole.correlator.block))


def test_bad_features_are_refused_before_the_first_step(tokens: torch.Tensor) -> None:
    with pytest.raises(InputError, match="2 frames were analysed"):
        adapting(tokens[:2], GRID, settings=SETTINGS)


def test_a_block_to_start_from_is_left_as_it_is(tokens: torch.Tensor) -> None:
    start = TrainedCorrelator(
        lively_block(16, heads=8).eval(), torch.full((16,), 0.5), torch.ones(16)
    )
    before = weights_of(start.block)
    result = adapt(tokens, GRID, settings=SETTINGS, steps=1, start=start)
    assert_same(weights_of(start.block), before)
    assert not start.block.training
    assert torch.equal(result.correlator.mean, start.mean)
    change = (result.correlator.block.attn.qkv.weight - before["attn.qkv.weight"]).abs().max()
    assert 0 < change < 2 * SETTINGS.lr * 1.2
    assert result.steps == 1


def test_it_works_inside_inference_mode_features() -> None:
    with torch.inference_mode():
        tokens = random_tokens(4, 60) + 0
    assert adapt(tokens, GRID, settings=SETTINGS, steps=1).steps == 1


@pytest.mark.parametrize(
    ("shape", "complaint"),
    [
        ((5, 59, 16), "not .frames, patches, channels. on a grid of 6×10"),
        ((5, 60), "not .frames, patches, channels."),
        ((2, 60, 16), "2 frames were analysed and a sample needs 3"),
        ((5, 60, 12), "12 channels, which cannot be divided among 8 heads"),
    ],
)
def test_features_that_do_not_fit(shape: tuple[int, ...], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        adapt(torch.zeros(shape), GRID, settings=SETTINGS)


def test_a_block_of_another_backbone_is_refused(tokens: torch.Tensor) -> None:
    start = TrainedCorrelator(lively_block(32, heads=8), torch.zeros(32), torch.ones(32))
    with pytest.raises(InputError, match="trained on 32 channels and these features have 16"):
        adapt(tokens, GRID, start=start)


def test_the_usual_adaptation_is_a_hundred_steps() -> None:
    assert ADAPT.steps == 100
    assert ADAPT.measure_every == 0
