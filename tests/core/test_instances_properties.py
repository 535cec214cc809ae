"""Properties of instances on random scenes, and the looks that divide them."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from scipy import ndimage
from scipy.spatial.distance import pdist

from bavos_core.instances import everywhere, instances, patch_looks

from .helpers import same_partition, seeds
from .scenes import FRAMES, GRID, Scene, pieces

# ---- properties ---------------------------------------------------------------------------------


def random_scene(seed: int) -> Scene:
    """Two to four discs of several sizes on smooth random paths, absent now and then."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 5))
    time = np.linspace(0, 1, FRAMES)[:, None, None]
    start, speed, sway = rng.uniform((2, 2), (18, 30), (3, count, 2))
    places = start + time * (speed - start) + np.sin(3 * time) * (sway - start) * 0.3
    for k in range(count):
        if rng.random() < 0.3:
            first = int(rng.integers(FRAMES))
            places[first : first + 6, k] = np.nan
    return Scene(places, rng.uniform(1.5, 4, count).tolist(), alike=rng.random() < 0.5, seed=seed)


@settings(max_examples=30)
@given(seeds)
def test_a_clip_played_backwards_has_the_same_instances(seed: int) -> None:
    scene = random_scene(seed)
    forwards = instances(scene.inside, scene.looks)
    backwards = instances(scene.inside[::-1], scene.looks[::-1])
    assert (forwards is None) == (backwards is None)
    if forwards is not None:
        assert same_partition(forwards, backwards[::-1])


@settings(max_examples=30)
@given(seeds)
def test_a_mirrored_clip_has_the_same_instances(seed: int) -> None:
    scene = random_scene(seed)
    found = instances(scene.inside, scene.looks)
    for turn in (np.s_[:, ::-1], np.s_[:, :, ::-1]):
        turned = instances(scene.inside[turn], scene.looks[turn])
        assert (found is None) == (turned is None)
        if found is not None:
            assert same_partition(found[turn], turned)


@settings(max_examples=40)
@given(seeds)
def test_instances_cover_the_cluster_and_the_largest_is_the_first(seed: int) -> None:
    scene = random_scene(seed)
    before = scene.inside.copy(), scene.looks.copy()
    found = instances(scene.inside, scene.looks)
    assert (scene.inside == before[0]).all()
    assert (scene.looks == before[1]).all()
    if found is None:
        return
    assert found.dtype == np.int64
    assert ((found >= 0) == scene.inside).all()
    sizes = np.bincount(found[scene.inside])
    assert (sizes > 0).all()
    assert all(more >= fewer for more, fewer in pairwise(sizes))
    again = instances(scene.inside, scene.looks)
    assert (again == found).all()


@settings(max_examples=40)
@given(seeds)
def test_a_frame_that_shows_all_of_them_apart_shows_each_as_one_whole_piece(seed: int) -> None:
    scene = random_scene(seed)
    found = instances(scene.inside, scene.looks)
    if found is None:
        return
    counts = scene.inside.sum((1, 2))
    least = max(3, np.median(counts[counts > 0]) / 30)
    for inside, frame in zip(scene.inside, found, strict=True):
        labels, number = ndimage.label(inside)
        areas = np.bincount(labels[inside])[1:]
        if number == found.max() + 1 and areas.min() >= max(areas.max() / 4, least):
            assert same_partition(labels, frame)


def test_a_thing_inside_a_ring_is_told_from_the_ring() -> None:
    rows, columns = np.indices(GRID)
    away = np.hypot(rows - 10, columns - 15)
    inside = np.broadcast_to((away < 4) | ((away > 5) & (away < 8)), (6, *GRID))
    looks = np.random.default_rng(0).normal(size=(6, *GRID, 11)).astype(np.float32)
    looks[:, away < 4] += 2  # place does not tell one from the other
    found = instances(inside, looks)
    assert found is not None
    assert (found[:, away < 4] == 1).all()
    assert (found[:, (away > 5) & (away < 8)] == 0).all()


@settings(max_examples=40)
@given(seeds)
def test_there_are_as_many_as_a_quarter_of_the_frames_show_apart(seed: int) -> None:
    scene = random_scene(seed)
    found = instances(scene.inside, scene.looks)
    present = scene.inside.any((1, 2)).sum()
    shown = pieces(scene.inside)
    if found is None:
        return
    count = found.max() + 1
    assert (shown >= count).sum() >= present / 4


# ---- looks --------------------------------------------------------------------------------------


def test_looks_are_mean_colours_and_then_principal_components() -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (3, 24, 40, 3), np.uint8)
    tokens = torch.from_numpy(rng.normal(size=(3, 15, 48)).astype(np.float32))
    looks = patch_looks(frames, tokens, (3, 5))
    assert (looks.dtype, looks.shape) == (np.float32, (3, 3, 5, 35))
    means = frames.reshape(3, 3, 8, 5, 8, 3).mean((2, 4)) / 255
    np.testing.assert_allclose(looks[..., :3], means, atol=1.01 / 255)  # rounded twice
    values = tokens.reshape(45, 48).double().numpy()
    values -= values.mean(0)
    left, strength, _ = np.linalg.svd(values, full_matrices=False)
    expected = pdist(left[:, :32] * strength[:32])  # distances, since signs are free
    np.testing.assert_allclose(pdist(looks[..., 3:].reshape(45, 32)), expected, rtol=1e-4)


@pytest.mark.parametrize("channels", [1, 24, 32])
def test_features_of_few_channels_keep_all_their_distances(channels: int) -> None:
    tokens = torch.randn(2, 6, channels, generator=torch.Generator().manual_seed(0)).half()
    looks = patch_looks(np.zeros((2, 8, 12, 3), np.uint8), tokens, (2, 3))
    assert (looks.dtype, looks.shape) == (np.float32, (2, 2, 3, 3 + channels))
    found = pdist(looks[..., 3:].reshape(12, -1))
    np.testing.assert_allclose(found, pdist(tokens.flatten(0, 1).double().numpy()), rtol=1e-4)


def test_looks_of_one_colour_and_features_of_one_value_give_an_answer() -> None:
    tokens = torch.zeros(2, 6, 24)
    tokens[..., 0] = 1e-20
    looks = patch_looks(np.zeros((2, 8, 12, 3), np.uint8), tokens, (2, 3))
    assert (looks == 0).all()
    inside = np.zeros((2, 2, 3), bool)
    inside[:, :, [0, 2]] = True
    assert instances(inside, looks) is None  # pieces of two patches are too small
    for seed in range(40):  # channels from full strength down to nothing at all
        rng = np.random.default_rng(seed)
        strength = 10.0 ** -rng.uniform(0, 30, 24)
        tokens = torch.from_numpy((rng.normal(size=(1, 8, 24)) * strength).astype(np.float32))
        assert np.isfinite(patch_looks(np.zeros((1, 8, 8, 3), np.uint8), tokens, (2, 4))).all()


@settings(max_examples=40)
@given(seeds)
def test_everywhere_gives_what_is_outside_to_the_nearest_part_of_its_frame(seed: int) -> None:
    rng = np.random.default_rng(seed)
    parts = rng.integers(-1, 3, (4, 6, 7))
    parts[rng.random(parts.shape) < 0.7] = -1
    parts[1] = -1
    filled = everywhere(parts)
    assert (filled[1] == 0).all()
    assert (filled[parts >= 0] == parts[parts >= 0]).all()
    for t, y, x in np.argwhere(parts < 0):
        held = np.argwhere(parts[t] >= 0)
        if len(held):
            away = ((held - (y, x)) ** 2).sum(1)
            nearest = held[away == away.min()]
            assert filled[t, y, x] in parts[t][tuple(nearest.T)]
