"""Each scene holds the difficulty that it was made for, as its masks tell."""

import numpy as np
from scipy.ndimage import binary_dilation, label

from .helpers import EXAMPLES, SCENES, Clip, every, find


def frames_in_contact(clip: Clip, one: int, other: int) -> np.ndarray:
    """Numbers of the frames in which two objects are neighbours in the picture."""
    pairs = [(binary_dilation(ids == one), ids == other) for ids in clip.masks()]
    return np.flatnonzero([(grown & touched).any() for grown, touched in pairs])


def frames_at_the_border(clip: Clip, object_id: int) -> np.ndarray:
    """Numbers of the frames in which the picture's border cuts an object off."""
    seen = clip.masks() == object_id
    sides = [seen[:, 0], seen[:, -1], seen[..., 0], seen[..., -1]]
    return np.flatnonzero(np.any([side.any(axis=1) for side in sides], axis=0))


def large_pieces(mask: np.ndarray) -> int:
    """How many connected regions of a mask [H, W] hold more than a twentieth of it."""
    regions, _ = label(mask)
    return int((np.bincount(regions[mask]) > mask.sum() / 20).sum())


def test_scenes_are_no_examples():
    names = {clip.name for clip in SCENES}
    assert len(names) == len(SCENES) == 8
    assert not names & {clip.name for clip in EXAMPLES}


@every([clip for clip in SCENES if len(clip.ids) > 1])
def test_things_of_one_kind_look_alike(clip: Clip):
    assert min(clip.colours_in_common(clip.ids)) > 0.6


def test_one_ball_hides_the_other_and_they_part():
    clip = find(SCENES, "crossing")
    contact = frames_in_contact(clip, 1, 2)
    assert 5 < contact[0] and contact[-1] < clip.facts["frames"] - 5
    far = clip.shares(2)
    assert (far < 0.1 * far.max()).sum() >= 3
    assert clip.shares(1).min() > 0.09  # the near ball is never covered


def test_two_of_three_fish_touch_for_a_third_of_the_clip():
    clip = find(SCENES, "touching")
    contact = frames_in_contact(clip, 1, 2)
    assert clip.facts["frames"] / 4 < len(contact) < clip.facts["frames"] / 2
    assert np.all(np.diff(contact) == 1)
    assert 5 < contact[0] and contact[-1] < clip.facts["frames"] - 5
    assert not len(frames_in_contact(clip, 1, 3)) and not len(frames_in_contact(clip, 2, 3))


def test_a_top_leaves_at_the_right_and_returns_there():
    clip = find(SCENES, "leaving")
    away = clip.frames_out_of_sight(2)
    assert len(away) >= 5
    for frame in (away[0] - 1, away[-1] + 1):
        _, columns = np.nonzero(clip.masks()[frame] == 2)
        assert columns.max() == clip.facts["size"][0] - 1
    assert clip.shares(1).min() > 0.03


def test_a_fish_hides_behind_the_rock_and_comes_out_beyond():
    clip = find(SCENES, "behind-the-rock")
    hidden = clip.frames_out_of_sight(1)
    assert len(hidden) >= 5
    before, after = (
        np.nonzero(clip.masks()[frame] == 1)[1].mean() for frame in (hidden[0] - 1, hidden[-1] + 1)
    )
    assert before + 50 < after
    assert clip.shares(2).min() > 0.04


def test_a_fish_fills_more_than_half_of_every_picture():
    assert find(SCENES, "filling").shares(1).min() > 0.5


def test_a_car_is_cut_off_in_every_picture():
    clip = find(SCENES, "half-outside")
    assert len(frames_at_the_border(clip, 1)) == clip.facts["frames"]
    assert clip.shares(1).max() < 0.25


def test_marbles_are_small_and_never_touch_each_other_or_the_border():
    clip = find(SCENES, "marbles")
    for object_id in clip.ids:
        assert not len(frames_at_the_border(clip, object_id))
        assert 0.01 < clip.shares(object_id).min() < clip.shares(object_id).max() < 0.04
    assert all(label(ids)[1] == len(clip.ids) for ids in clip.masks())


def test_a_pole_cuts_the_ladybird_in_two_for_some_frames():
    masks = find(SCENES, "behind-a-pole").masks() == 1
    pieces = [large_pieces(mask) for mask in masks]
    assert pieces.count(2) >= 8
    assert pieces[0] == pieces[-1] == 1
    assert max(pieces) == 2
