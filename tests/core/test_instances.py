"""Things that move, meet, hide and return keep their identity."""

import numpy as np
import pytest

from bavos_core.instances import instances

from .scenes import FRAMES, GRID, Scene, pieces

NOWHERE = (np.nan, np.nan)


def line(start: tuple[float, float], end: tuple[float, float], eased: bool = False) -> np.ndarray:
    """A path (T, 2): even, or slow at its ends."""
    share = np.linspace(0, 1, FRAMES)[:, None]
    share = share**2 * (3 - 2 * share) if eased else share
    return np.array(start) + share * (np.array(end) - np.array(start))


def together(*paths: np.ndarray) -> np.ndarray:
    """Places (T, K, 2)."""
    return np.stack(paths, axis=1)


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
