"""The training step."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from bavos_core.errors import InputError
from bavos_lab.training.data import CachedClip, TrainingData
from bavos_lab.training.learner import adamw, learning_rate, seeded_torch
from bavos_lab.training.trainer import learn, new_learner
from bavos_lab.training.workers import Workers

from .helpers import TINY, assert_same, lively_block, random_tokens, weights_of


def test_the_rate_falls_along_a_cosine() -> None:
    settings = replace(TINY, steps=100, lr=2e-3, final_lr=0.25)
    rates = [learning_rate(step, settings) for step in range(101)]
    assert rates[0] == 2e-3
    assert rates[50] == pytest.approx(2e-3 * 0.625)
    assert rates[100] == pytest.approx(5e-4)
    assert all(now > then for now, then in pairwise(rates))


def test_only_matrices_decay() -> None:
    block = lively_block()
    decayed, kept = adamw(block, TINY).param_groups
    assert decayed["weight_decay"] == 0.1
    assert kept["weight_decay"] == 0
    names = {id(p): name for name, p in block.named_parameters()}
    assert {names[id(p)] for p in decayed["params"]} == {
        "attn.qkv.weight", "attn.proj.weight", "mlp.fc1.weight", "mlp.fc2.weight",
    }  # fmt: skip
    assert len(decayed["params"]) + len(kept["params"]) == len(names)


def test_steps_repeat_to_the_bit_and_leave_the_global_generator(data: TrainingData) -> None:
    def after(steps: int) -> dict[str, torch.Tensor]:
        learner = new_learner(data.clips, TINY)
        for _ in range(steps):
            learner.take_step(data.clips)
            torch.rand(3)  # what others draw meanwhile does not matter
        return weights_of(learner.block)

    first = after(3)
    assert_same(first, after(3))
    state = torch.get_rng_state()
    with seeded_torch(np.random.default_rng(0), torch.device("cpu")):
        torch.rand(3)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_batch_is_the_mean_of_its_samples(data: TrainingData) -> None:
    learner = new_learner(data.clips, replace(TINY, batch=2))
    two = learner.take_step(data.clips)
    gradients = {name: p.grad.clone() for name, p in learner.block.named_parameters()}
    single = new_learner(data.clips, TINY)
    losses = [single.accumulate_gradients(data.clips, Workers(rank, 2)) for rank in (0, 1)]
    for name, parameter in single.block.named_parameters():
        torch.testing.assert_close(parameter.grad / 2, gradients[name], rtol=1e-5, atol=1e-7)
    mean = (losses[0] + losses[1]) / 2
    assert [two.semantic, two.motion] == pytest.approx(mean.tolist())


def test_learning_lowers_the_loss() -> None:
    rng = np.random.default_rng(0)
    kinds = rng.normal(size=(3, 32))
    tokens = kinds[np.arange(60) // 20 * np.ones((6, 1), int)] + rng.normal(size=(6, 60, 32))
    clip = CachedClip("a", (6, 10), torch.tensor(tokens).half())
    settings = replace(TINY, init="random", dropout=0.0, steps=40, columns=None)
    totals = [step.semantic + step.motion for step in learn(new_learner([clip], settings), [clip])]
    assert np.mean(totals[-5:]) < 0.7 * np.mean(totals[:5])


def test_a_rate_far_too_high_is_told() -> None:
    clip = CachedClip("a", (6, 10), random_tokens(6, 60, 32).half())
    learner = new_learner([clip], replace(TINY, lr=1e30))
    with pytest.raises(InputError, match=r"diverged at step \d+; give a lower --lr"):
        list(learn(learner, [clip]))


def test_bfloat16_learns_too() -> None:
    clip = CachedClip("a", (6, 10), random_tokens(6, 60, 32).half())
    steps = list(learn(new_learner([clip], replace(TINY, precision="bf16")), [clip]))
    assert len(steps) == 12
    assert all(math.isfinite(step.semantic + step.motion) for step in steps)
    assert steps[-1].correlator.block.attn.qkv.weight.dtype == torch.float32


def test_of_equals_the_one_that_learned_longer_is_the_best(data: TrainingData) -> None:
    learner = new_learner(data.clips, TINY)
    for score in (0.5, 0.7, 0.7, 0.2):
        learner.take_step(data.clips)
        learner.keep_if_best(score)
    assert learner.best is not None
    assert (learner.best.step, learner.best.score) == (3, 0.7)
    assert not torch.equal(learner.best.weights["attn.qkv.weight"], learner.block.attn.qkv.weight)
