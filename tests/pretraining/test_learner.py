"""One step after another: what moves, what follows, what chance depends on."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from bavos_core.errors import InputError
from bavos_core.pretraining import Pictures
from bavos_core.pretraining.distillation import (
    Distillation,
    draw_batch,
    draw_masks,
    momentum,
)
from bavos_core.pretraining.settings import learning_rate

from .helpers import TINY


def test_teacher_and_student_start_alike_and_the_teacher_is_the_students_running_mean(
    pictures: Pictures,
) -> None:
    settings = replace(TINY, lr=1e-2)
    learner = Distillation(settings)
    mean = copy.deepcopy(learner.student.state_dict())
    assert all(torch.equal(v, learner.teacher.state_dict()[k]) for k, v in mean.items())
    for step in range(3):
        learner.take_step(pictures)
        kept = 1 - (1 - settings.momentum) * (1 + math.cos(math.pi * step / settings.steps)) / 2
        for name, tensor in learner.student.state_dict().items():
            mean[name] = kept * mean[name] + (1 - kept) * tensor
    found = learner.teacher.state_dict()
    assert all(torch.allclose(found[name], mean[name], atol=1e-6) for name in mean)
    assert not torch.allclose(found["vit.pos_embed"], learner.student.vit.pos_embed)


def test_every_weight_of_the_student_moves_and_none_of_the_teacher_has_a_gradient(
    pictures: Pictures,
) -> None:
    learner = Distillation(TINY)
    before = copy.deepcopy(dict(learner.student.named_parameters()))
    learner.take_step(pictures)
    after = dict(learner.student.named_parameters())
    assert [name for name in before if torch.equal(before[name], after[name])] == []
    assert all(p.grad is None for p in learner.teacher.parameters())


def test_losses_fall_and_views_do_not_collapse(pictures: Pictures) -> None:
    learner = Distillation(replace(TINY, steps=60, batch=8, lr=3e-3, small_views=1, masked=0.25))
    losses = [learner.take_step(pictures) for _ in range(60)]
    first, last = losses[:10], losses[-10:]
    for name in ("views", "patches"):
        means = [np.mean([getattr(each, name) for each in part]) for part in (first, last)]
        assert means[1] < means[0] - 0.1
    assert np.mean([each.spread for each in last]) > TINY.prototypes / 2


def test_masks_hide_the_same_number_of_patches_in_every_view() -> None:
    masks = draw_masks(6, 4, TINY, np.random.default_rng(0))
    assert masks.sum(1).tolist() == [round(0.3 * 16)] * 6
    assert len({row.tobytes() for row in masks}) > 1


def test_without_masks_there_is_no_loss_of_patches(pictures: Pictures) -> None:
    assert Distillation(replace(TINY, masked=0.0)).take_step(pictures).patches == 0


def test_there_may_be_photographs_alone_or_clips_alone_and_no_small_views(
    pictures: Pictures,
) -> None:
    for kept in (pictures.photographs, pictures.of_clips[:5]):
        shift = kept[0]
        some = replace(
            pictures, pixels=pictures.pixels[kept], aspects=pictures.aspects[kept],
            first=pictures.first[kept] - shift, last=pictures.last[kept] - shift,
        )  # fmt: skip
        assert math.isfinite(Distillation(replace(TINY, small_views=0)).take_step(some).views)


def test_a_batch_follows_from_seed_and_step_alone(pictures: Pictures) -> None:
    one, again = (draw_batch(pictures, 5, TINY) for _ in range(2))
    assert np.array_equal(one.large.places, again.large.places)
    assert np.array_equal(one.masks, again.masks)
    for other in (draw_batch(pictures, 6, TINY), draw_batch(pictures, 5, replace(TINY, seed=1))):
        assert not np.array_equal(one.large.places, other.large.places)


def test_the_rate_rises_and_falls_and_the_teacher_slows_to_a_stop() -> None:
    settings = replace(TINY, steps=100, lr=1.0, warm_up=0.1, final_lr=0.1)
    rates = [learning_rate(step, settings) for step in range(101)]
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[10] == pytest.approx(1)
    assert rates[55] == pytest.approx(0.55)
    assert rates[100] == pytest.approx(0.1)
    assert [momentum(s, settings) for s in (0, 50, 100)] == pytest.approx([0.99, 0.995, 1.0])


def test_a_run_that_diverges_says_so(pictures: Pictures) -> None:
    learner = Distillation(TINY)
    with torch.no_grad():
        learner.student.vit.pos_embed.fill_(math.nan)
    with pytest.raises(InputError, match=r"diverged at step 1; give a lower --lr\."):
        learner.take_step(pictures)
