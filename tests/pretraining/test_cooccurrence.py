"""Pairs of patches: what is drawn, what is told apart, and that a network learns to tell it."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from bavos_core.backbones.cooccurrence import CHANNELS, MEASURED, Cooccurrence, related
from bavos_core.errors import InputError
from bavos_core.pretraining import CooccurrenceSettings, Pictures
from bavos_core.pretraining.cooccurrence import (
    CooccurrenceLearner,
    draw_batch,
    measure_pictures,
    pair_logits,
)

from .helpers import PAIRS

SHAPES = ((3, MEASURED, 19, 14), (9, MEASURED, 14, 19))


def nothing(_share: float) -> None:
    pass


def test_pictures_are_measured_in_their_own_shape(pictures: Pictures) -> None:
    heard: list[float] = []
    aspects = np.array([0.5, 0.9, 1.1, 1.2, 2.0, 3.0] + 8 * [1.0], np.float32)
    shelves = measure_pictures(replace(pictures, aspects=aspects), PAIRS, heard.append)
    assert [tuple(shelf.shape) for shelf in shelves] == [
        (1, MEASURED, 5, 4), (10, MEASURED, 4, 4), (3, MEASURED, 4, 5),
    ]  # fmt: skip
    assert all(shelf.isfinite().all() for shelf in shelves)
    assert heard == sorted(heard)
    assert heard[-1] == 1


def test_pairs_are_near_each_other_within_the_crop() -> None:
    settings = CooccurrenceSettings(reach=2, crop=10, batch=40)
    for step in range(30):
        batch = draw_batch(SHAPES, step, settings)
        number, _, height, width = SHAPES[batch.shelf]
        assert 0 <= batch.pictures.min() <= batch.pictures.max() < number
        sides = [part.stop - part.start for part in (batch.rows, batch.columns)]
        assert 10 <= sides[0] <= height and 10 <= sides[1] <= width
        assert 0 <= batch.rows.start and batch.rows.stop <= height
        assert 0 <= batch.columns.start and batch.columns.stop <= width
        for places in (batch.first, batch.second):
            assert (places >= 0).all() and (places < sides).all()
        assert np.abs(batch.first - batch.second).max() == 2


def test_a_batch_follows_from_seed_and_step_alone() -> None:
    settings = CooccurrenceSettings()
    one, again = (draw_batch(SHAPES, 5, settings) for _ in range(2))
    assert np.array_equal(one.first, again.first) and one.rows == again.rows
    for other in (
        draw_batch(SHAPES, 6, settings),
        draw_batch(SHAPES, 5, replace(settings, seed=1)),
    ):
        assert not np.array_equal(one.first, other.first)


def test_logits_are_likenesses_and_near_places_of_one_picture_are_left_out() -> None:
    rng = np.random.default_rng(0)
    alike = rng.standard_normal((3, 7, 6, 8)).astype(np.float32)
    first, second = (rng.integers(0, (6, 8), (3, 4, 2)) for _ in range(2))
    found = pair_logits(*map(torch.from_numpy, (alike, first, second)), PAIRS)
    for i in range(12):
        for j in range(12):
            (b, y, x), (c, v, u) = (
                (k // 4, *p[k // 4, k % 4]) for k, p in ((i, first), (j, second))
            )
            near = b == c and math.hypot(y - v, x - u) < PAIRS.apart
            wanted = alike[b, :, y, x] @ alike[c, :, v, u] / PAIRS.temperature
            assert float(found[i, j]) == (
                -math.inf if near and i != j else pytest.approx(wanted, rel=1e-4, abs=1e-4)
            )


def test_the_network_learns_to_tell_pairs_and_its_input_is_standardised(
    pictures: Pictures,
) -> None:
    learner = CooccurrenceLearner(replace(PAIRS, steps=80, batch=8, lr=3e-3))
    shelves = learner.material(pictures, nothing)
    inputs = torch.cat([related(s.float()).transpose(0, 1).flatten(1) for s in shelves], 1)
    assert torch.allclose(learner.network.mean.flatten(), inputs.mean(1), atol=1e-3)
    steps = [learner.take_step(shelves) for _ in range(80)]
    pairs, found = (
        [np.mean([getattr(s, name) for s in part]) for part in (steps[:10], steps[-10:])]
        for name in ("pairs", "found")
    )
    assert pairs[1] < pairs[0] - 0.5
    assert found[1] > found[0] + 0.1


def test_every_patch_has_a_direction_whatever_the_grid() -> None:
    network = Cooccurrence().eval()
    for height, width in ((1, 1), (1, 7), (6, 8)):
        maps = torch.randn(2, MEASURED, height, width)
        found = network(maps)
        assert found.shape == (2, CHANNELS, height, width)
        assert torch.allclose(found.norm(dim=1), torch.ones(2, height, width), atol=1e-5)


def test_a_crop_larger_than_the_grid_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        CooccurrenceSettings(crop=15)
    assert str(caught.value) == "Crop is 15; give at most the 14 of the grid."
