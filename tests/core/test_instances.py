"""Instances: discs on a patch grid that move, cross, vanish and touch, and keep their identity."""

from itertools import pairwise, permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.distance import pdist

from bavos_core.instances import everywhere, instances, patch_looks

from .helpers import same_partition

GRID = (20, 32)
FRAMES = 24
OUTSIDE, SHARED = -1, -2  # in the truth: in no disc, in several
NOWHERE = (np.nan, np.nan)

seeds = st.integers(0, 2**32 - 1)


class Scene:
    """Discs with places (T, K, 2), row and column, NaN where absent, and their looks.

    alike: whether all look the same but for noise.
    """

    def __init__(self, places: np.ndarray, radii: list[float], *, alike=False, seed=0):
        rng = np.random.default_rng(seed)
        self.places = np.asarray(places, float)
        rows, columns = np.indices(GRID)
        away = np.hypot(
            rows - self.places[..., :1, None], columns - self.places[..., 1:, None]
        )  # (T, K, h, w)
        discs = away <= np.array(radii)[:, None, None]
        self.inside = discs.any(1)
        self.truth = np.where(self.inside, discs.argmax(1), OUTSIDE)
        self.truth[discs.sum(1) > 1] = SHARED
        own = rng.normal(size=(len(radii), 11))
        own[1:] = own[0] if alike else own[1:]
        self.looks = rng.normal(scale=0.15, size=(*self.inside.shape, 11)).astype(np.float32)
        clear = self.truth >= 0
        self.looks[clear] += own[self.truth[clear]]
        self.looks[self.truth == SHARED] += own[0]  # the first is in front

    def found(self) -> np.ndarray:
        """What `instances` makes of it, which must be several."""
        found = instances(self.inside, self.looks)
        assert found is not None
        return found

    def share_right(self, found: np.ndarray, frames: slice = np.s_[:]) -> float:
        """Share of the patches in just one disc that have the instance of that disc."""
        clear = self.truth[frames] >= 0
        truth, labels = self.truth[frames][clear], found[frames][clear]
        number = identities(self, found)
        return float((number[truth] == labels).mean())


def identities(scene: Scene, found: np.ndarray) -> np.ndarray:
    """The instance of every disc, one to one, so that most patches of the clip are right."""
    clear = scene.truth >= 0
    count = scene.places.shape[1]
    assert found.max() + 1 == count
    return max(
        map(np.array, permutations(range(count))),
        key=lambda number: (number[scene.truth[clear]] == found[clear]).sum(),
    )


def line(start: tuple[float, float], end: tuple[float, float], eased: bool = False) -> np.ndarray:
    """A path (T, 2): even, or slow at its ends."""
    share = np.linspace(0, 1, FRAMES)[:, None]
    share = share**2 * (3 - 2 * share) if eased else share
    return np.array(start) + share * (np.array(end) - np.array(start))


def together(*paths: np.ndarray) -> np.ndarray:
    """Places (T, K, 2)."""
    return np.stack(paths, axis=1)


def pieces(inside: np.ndarray) -> np.ndarray:
    """Connected pieces of every frame (T,)."""
    return np.array([ndimage.label(frame)[1] for frame in inside])


# ---- how many -----------------------------------------------------------------------------------


@pytest.mark.parametrize("radius", [1.0, 3.0, 6.0])
def test_one_thing_that_moves_is_one(radius: float) -> None:
    scene = Scene(together(line((9, 7), (11, 25))), [radius])
    assert instances(scene.inside, scene.looks) is None


def test_nothing_at_all_and_everything_are_no_instances() -> None:
    looks = np.random.default_rng(0).normal(size=(3, *GRID, 11)).astype(np.float32)
    assert instances(np.zeros((3, *GRID), bool), looks) is None
    assert instances(np.ones((3, *GRID), bool), looks) is None


@pytest.mark.parametrize("count", [2, 3, 4])
def test_things_that_lie_apart_are_told_apart_however_alike(count: int) -> None:
    places = together(*(line((6 + 2 * k, 4 + 8 * k), (10, 3 + 8 * k)) for k in range(count)))
    scene = Scene(places, [3.0] * count, alike=True)
    assert (pieces(scene.inside) == count).all()
    assert scene.share_right(scene.found()) == 1


def test_specks_next_to_a_large_thing_are_no_instances() -> None:
    scene = Scene(together(line((9, 8), (9, 20))), [6.0])
    scene.inside[:, 1, 1:3] = scene.inside[:, 18, 28:30] = True  # of 2 patches, in every frame
    assert (pieces(scene.inside) == 3).all()
    assert instances(scene.inside, scene.looks) is None


def test_a_piece_of_a_quarter_of_the_largest_counts_and_a_smaller_one_does_not() -> None:
    inside = np.zeros((8, *GRID), bool)
    inside[:, 2:12, 2:12] = True  # 100 patches
    inside[:, 15, 3:28] = True  # 25
    looks = np.random.default_rng(0).normal(size=(8, *GRID, 11)).astype(np.float32)
    found = instances(inside, looks)
    assert found is not None
    assert (found[:, 2:12, 2:12] == 0).all()
    assert (found[:, 15, 3:28] == 1).all()
    inside[:, 15, 27] = False
    assert instances(inside, looks) is None


@pytest.mark.parametrize(("cut_frames", "several"), [(5, False), (6, True)])
def test_a_thing_cut_in_two_is_one_unless_it_is_so_in_a_quarter_of_the_frames(cut_frames, several):
    scene = Scene(together(line((10, 15), (10, 17))), [7.0])
    scene.inside[:cut_frames, :, 15:17] = False  # an occluder
    assert (pieces(scene.inside) == 2).sum() == cut_frames
    assert (instances(scene.inside, scene.looks) is not None) == several


# ---- identity -----------------------------------------------------------------------------------


def crossing(eased: bool, alike: bool, angle: float) -> Scene:
    """Two discs that cross in the middle, one over the other, with paths at some angle."""
    down, across = 9 * np.sin(angle), 11 * np.cos(angle)
    first = line((9.5 - down, 15.5 - across), (9.5 + down, 15.5 + across), eased)
    second = line((9.5 - down, 15.5 + across), (9.5 + down, 15.5 - across), eased)
    return Scene(together(first, second), [3.0, 3.0], alike=alike)


@pytest.mark.parametrize("eased", [False, True])
@pytest.mark.parametrize("alike", [False, True])
@pytest.mark.parametrize("angle", [0.0, 0.3, 0.5])
def test_things_that_cross_keep_their_identity_though_they_are_one_piece_for_a_while(
    eased: bool, alike: bool, angle: float
) -> None:
    scene = crossing(eased, alike, angle)
    merged = np.flatnonzero(pieces(scene.inside) == 1)
    assert 3 <= len(merged) < FRAMES / 2
    found = scene.found()
    for frames in (np.s_[: merged[0]], np.s_[merged[-1] + 1 :]):
        assert scene.share_right(found, frames) == 1


def test_things_that_look_unlike_bounce_off_each_other_with_their_looks() -> None:
    approach, back = line((9, 4), (9, 26))[: FRAMES // 2], line((9, 4), (9, 26))[FRAMES // 2 :]
    first = np.concatenate([approach, approach[::-1]])
    second = np.concatenate([back[::-1], back]) + np.array((0.5, 1))
    scene = Scene(together(first, second), [3.0, 3.0])
    assert (pieces(scene.inside) == 1).sum() > 2
    found = scene.found()
    apart = pieces(scene.inside) == 2
    for t in np.flatnonzero(apart):
        assert scene.share_right(found, np.s_[t : t + 1]) == 1


@pytest.mark.parametrize("alike", [False, True])
def test_a_thing_that_is_hidden_for_a_third_of_the_clip_is_the_same_when_it_is_back(alike) -> None:
    hidden = line((14, 8), (15, 26))
    hidden[8:16] = NOWHERE
    scene = Scene(together(line((4, 8), (5, 13)), hidden), [3.0, 3.0], alike=alike)
    assert (pieces(scene.inside) == 1).sum() == 8
    assert scene.share_right(scene.found()) == 1


@pytest.mark.parametrize("alike", [False, True])
def test_a_thing_that_leaves_at_the_side_and_returns_is_the_same(alike: bool) -> None:
    out, back = line((6, 26), (6, 46))[: FRAMES // 2], line((6, 46), (6, 26))[FRAMES // 2 :]
    there = np.concatenate([out, back])
    scene = Scene(together(line((12, 5), (13, 13)), there), [4.0, 3.0], alike=alike)
    assert 4 <= (pieces(scene.inside) == 1).sum() <= 12
    assert scene.share_right(scene.found()) > 0.99


@pytest.mark.parametrize("alike", [False, True])
@pytest.mark.parametrize("tilt", [0.0, 0.4, 1.5])
def test_things_that_touch_are_divided_near_their_border(alike: bool, tilt: float) -> None:
    gap = np.full(FRAMES, 3.4)
    gap[8:16] = 6.5
    way = gap[:, None] * (np.sin(tilt), np.cos(tilt))
    middle = line((9.5, 14), (9.5, 17))
    scene = Scene(together(middle - way, middle + way), [3.5, 3.5], alike=alike)
    touching = np.r_[0:8, 16:FRAMES]
    assert (pieces(scene.inside)[touching] == 1).all()
    assert (pieces(scene.inside)[8:16] == 2).all()
    found = scene.found()
    assert scene.share_right(found, np.s_[8:16]) == 1
    assert scene.share_right(found, np.s_[:8]) > 0.85
    assert scene.share_right(found, np.s_[16:]) > 0.85


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


@settings(max_examples=60)
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
