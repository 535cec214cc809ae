"""Objects and background: scenes drawn by hand, and the score worked out with plain loops."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bavos_core.roles import THRESHOLD, background, object_scores, seams

seeds = st.integers(0, 2**32 - 1)


def scene(*boxes: tuple[slice, slice], frames: int = 1) -> np.ndarray:
    """Labels (frames, 12, 16): scenery 0, with the given boxes on it as 1, 2, …"""
    labels = np.zeros((frames, 12, 16), int)
    for number, box in enumerate(boxes, 1):
        labels[(slice(None), *box)] = number
    return labels


def finer(labels: np.ndarray) -> np.ndarray:
    """The same scene on a grid of twice as many rows and columns."""
    return labels.repeat(2, axis=1).repeat(2, axis=2)


def frame_around(box: tuple[slice, slice]) -> np.ndarray:
    """Labels (1, 12, 16): a box 1 on scenery 0, and an outline 2 one patch wide around it."""
    rows, columns = box
    labels = scene(np.s_[rows.start - 1 : rows.stop + 1, columns.start - 1 : columns.stop + 1], box)
    return np.choose(labels, [0, 2, 1])


def plain_scores(labels: np.ndarray, clusters: int, saliency: np.ndarray | None) -> list[float]:
    """The score by its definition, patch by patch."""
    _, height, width = labels.shape
    places = list(np.ndindex(*labels.shape))
    near = {
        (y, x): math.exp(
            -(((y + 0.5) / height - 0.5) ** 2 + ((x + 0.5) / width - 0.5) ** 2) / (2 * 0.25**2)
        )
        for y in range(height)
        for x in range(width)
    }
    mean_near = sum(near.values()) / len(near)

    def solid(t: int, y: int, x: int) -> bool:
        sides = ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1))
        return all(
            labels[t, i, j] == labels[t, y, x]
            for i, j in sides
            if 0 <= i < height and 0 <= j < width
        )

    def more_than_the_rest(values: dict[tuple[int, ...], float], own: set) -> float:
        within = sum(values[p] for p in own) / len(own)
        others = [values[p] for p in places if p not in own]
        without = sum(others) / len(others) if others else 0
        return math.log(within + 0.01) - math.log(without + 0.01)

    middle = {(t, y, x): near[y, x] / mean_near for t, y, x in places}
    found = []
    for cluster in range(clusters):
        own = {p for p in places if labels[p] == cluster}
        if not own:
            found.append(-math.inf)
            continue
        score = more_than_the_rest(middle, own)
        score += 0.5 * math.log(sum(solid(*p) for p in own) / len(own) + 0.01)
        if saliency is not None:
            seen = {(t, y, x): saliency[t, y, x] / saliency[t].mean() for t, y, x in places}
            score += 0.5 * more_than_the_rest(seen, own)
        found.append(score)
    return found


def random_labels(seed: int) -> tuple[np.ndarray, int, np.ndarray]:
    """Boxes upon boxes, with one number that may be nowhere, and a saliency."""
    rng = np.random.default_rng(seed)
    clusters = int(rng.integers(1, 6))
    frames, height, width = (int(n) for n in rng.integers((1, 1, 1), (4, 9, 10)))
    labels = np.zeros((frames, height, width), int)
    for _ in range(6):
        top, left = rng.integers(0, height), rng.integers(0, width)
        down, across = rng.integers(1, height + 1), rng.integers(1, width + 1)
        frame = slice(None) if rng.random() < 0.5 else int(rng.integers(frames))
        labels[frame, top : top + down, left : left + across] = rng.integers(0, clusters)
    return labels, clusters + 1, rng.gamma(0.5, size=labels.shape) + 1e-3


# ---- the score ----------------------------------------------------------------------------------


@settings(max_examples=40)
@given(seeds, st.booleans())
def test_the_score_is_its_definition_patch_by_patch(seed: int, with_saliency: bool) -> None:
    labels, clusters, saliency = random_labels(seed)
    seen = saliency if with_saliency else None
    found = object_scores(labels, clusters, seen)
    assert (found.dtype, found.shape) == (np.float64, (clusters,))
    assert found == pytest.approx(plain_scores(labels, clusters, seen), abs=1e-9)


def test_a_score_worked_out_by_hand() -> None:
    # Four patches in a row, at -3/8, -1/8, 1/8 and 3/8 of the width; cluster 0 has the first.
    far, near = math.exp(-(0.375**2) / 0.125), math.exp(-(0.125**2) / 0.125)
    mean = (far + near) / 2
    inside, rest = far / mean, (2 * near + far) / 3 / mean
    # Cluster 0 has its one patch beside another cluster; two of the three others have only 1.
    first = math.log(inside + 0.01) - math.log(rest + 0.01) + 0.5 * math.log(0.01)
    second = math.log(rest + 0.01) - math.log(inside + 0.01) + 0.5 * math.log(2 / 3 + 0.01)
    found = object_scores(np.array([[[0, 1, 1, 1]]]), 2)
    assert found.tolist() == pytest.approx([first, second])
    # [CLS] attends to it 9 times as much as to each of the others: 3 against 1/3 of the mean.
    seen = object_scores(np.array([[[0, 1, 1, 1]]]), 2, np.array([[[9, 1, 1, 1]]]))
    gain = 0.5 * (math.log(3.01) - math.log(1 / 3 + 0.01))
    assert seen.tolist() == pytest.approx([first + gain, second - gain])


@settings(max_examples=60)
@given(seeds)
def test_mirrored_pictures_and_another_order_of_frames_change_no_score_and_no_role(seed) -> None:
    labels, clusters, saliency = random_labels(seed)
    scores, roles = (f(labels, clusters, saliency) for f in (object_scores, background))
    thin = seams(labels, roles)
    order = np.random.default_rng(seed).permutation(len(labels))
    for turn in (np.s_[:, ::-1], np.s_[:, :, ::-1], np.s_[:, ::-1, ::-1], np.s_[order]):
        turned = labels[turn], clusters, saliency[turn]
        assert object_scores(*turned) == pytest.approx(scores, abs=1e-9)
        assert (background(*turned) == roles).all()
        assert (seams(turned[0], roles) == thin).all()


@settings(max_examples=60)
@given(seeds, st.floats(0.01, 100))
def test_only_the_proportions_of_saliency_within_a_frame_count(seed: int, factor: float) -> None:
    labels, clusters, saliency = random_labels(seed)
    scores = object_scores(labels, clusters, saliency)
    factors = factor * np.random.default_rng(seed).uniform(0.1, 10, (len(labels), 1, 1))
    assert object_scores(labels, clusters, saliency * factors) == pytest.approx(scores, abs=1e-8)


@settings(max_examples=30)
@given(seeds)
def test_saliency_that_is_even_tells_no_cluster_from_another(seed: int) -> None:
    labels, clusters, _ = random_labels(seed)
    labels[0, 0, 0] = clusters  # so that no cluster has everything
    even = object_scores(labels, clusters + 1, np.full(labels.shape, 0.3))
    if labels.size > 1:
        assert even == pytest.approx(object_scores(labels, clusters + 1), abs=1e-9)


@settings(max_examples=60)
@given(seeds)
def test_numbers_do_not_matter(seed: int) -> None:
    labels, clusters, saliency = random_labels(seed)
    number = np.random.default_rng(seed).permutation(clusters)
    scores = object_scores(labels, clusters, saliency)
    found = object_scores(number[labels], clusters, saliency)
    assert found[number] == pytest.approx(scores)


# ---- roles --------------------------------------------------------------------------------------


CENTRE, LEFT, RIGHT = np.s_[4:8, 5:11], np.s_[3:7, 2:7], np.s_[5:9, 9:14]
SKY, FLOOR, POST = np.s_[:3, :], np.s_[9:, :], np.s_[:, 14:]
MOST, WIRE = np.s_[1:12, 2:14], np.s_[6:7, 2:14]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        pytest.param(scene(CENTRE), [True, False], id="solid-thing-in-the-middle"),
        pytest.param(scene(MOST), [True, False], id="thing-that-fills-most-of-the-frame"),
        pytest.param(finer(scene(LEFT, RIGHT)), [True, False, False], id="two-things"),
        pytest.param(scene(SKY, FLOOR, POST, CENTRE), [True] * 4 + [False], id="strips"),
        pytest.param(scene(WIRE, CENTRE), [True, True, False], id="wire-behind-a-thing"),
        pytest.param(frame_around(CENTRE), [True, False, True], id="outline"),
        pytest.param(scene(), [False], id="one-cluster"),
    ],
)
def test_what_is_solid_and_near_the_middle_is_an_object(labels, expected) -> None:
    assert background(labels, len(expected)).tolist() == expected


def test_a_thing_that_leaves_the_picture_in_few_frames_is_an_object() -> None:
    labels = scene(CENTRE, frames=8)
    labels[-1] = scene(np.s_[4:8, 13:16])
    assert background(labels, 2).tolist() == [True, False]


def test_what_cls_attends_to_is_an_object_even_at_the_border() -> None:
    labels = scene(np.s_[3:9, 12:16], CENTRE)
    seen = np.where(labels == 1, 8.0, 1.0)
    without, with_it = object_scores(labels, 3), object_scores(labels, 3, seen)
    assert without[1] < THRESHOLD < with_it[1]
    assert background(labels, 3).tolist() == [True, True, False]
    assert not background(labels, 3, seen)[1]


def test_what_cls_overlooks_is_background_even_near_the_middle() -> None:
    labels = finer(scene(LEFT, RIGHT))
    seen = np.where(labels == 1, 0.02, 1.0)
    assert background(labels, 3).tolist() == [True, False, False]
    assert background(labels, 3, seen).tolist() == [True, True, False]


@settings(max_examples=100)
@given(seeds)
def test_objects_are_above_the_threshold_and_there_is_always_one(seed: int) -> None:
    labels, clusters, saliency = random_labels(seed)
    scores, found = (f(labels, clusters, saliency) for f in (object_scores, background))
    held = np.isin(np.arange(clusters), labels)
    assert (found.dtype, found.shape) == (bool, (clusters,))
    assert found[~held].all()
    assert not found[held].all()
    if (scores > THRESHOLD).any():
        assert (found == (scores <= THRESHOLD)).all()
    else:
        assert (~found).sum() == 1


def test_where_no_score_is_high_size_helps_to_be_the_one_object() -> None:
    # Alternating columns: none has an inside. Of two that are as near, 0 is found more often.
    labels = np.tile([1, 0, 2, 0, 3, 0, 0, 1], (1, 6, 1))
    scores = object_scores(labels, 4)
    assert (scores < THRESHOLD).all()
    assert scores.argmax() == 3
    share = np.bincount(labels.ravel()) / labels.size
    assert (scores + np.log(share) / 2).argmax() == 0
    assert background(labels, 4).tolist() == [False, True, True, True]


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 1, 5), (3, 2, 2)])
def test_grids_too_small_to_have_a_middle_still_get_an_answer(shape) -> None:
    labels = np.arange(np.prod(shape)).reshape(shape) % 3
    clusters = int(labels.max()) + 1
    found = background(labels, clusters)
    assert np.isfinite(object_scores(labels, clusters)).all()
    assert found.shape == (clusters,)
    assert not found.all()


@settings(max_examples=60)
@given(seeds, st.integers(1, 4))
def test_cuts_that_agree_change_nothing_and_their_order_and_numbers_do_not_matter(seed, many):
    labels, clusters, saliency = random_labels(seed)
    alone = background(labels, clusters, saliency)
    assert (background(labels, clusters, saliency, [labels] * many) == alone).all()
    rng = np.random.default_rng(seed)
    coarser = [rng.integers(0, 3, clusters)[labels] for _ in range(many)]
    found = background(labels, clusters, saliency, coarser)
    assert found[~np.isin(np.arange(clusters), labels)].all()
    assert not found.all()
    renumbered = [rng.permutation(5)[cut] for cut in reversed(coarser)]
    assert (background(labels, clusters, saliency, renumbered) == found).all()


def test_what_only_one_cut_takes_for_an_object_is_background() -> None:
    # A box beside the thing stands alone in this cut; in the others it is one with the floor.
    labels = finer(scene(LEFT, RIGHT, FLOOR))
    with_floor = np.array([0, 1, 3, 3])[labels]
    assert background(labels, 4).tolist() == [True, False, False, True]
    assert background(with_floor, 4).tolist() == [True, False, True, True]
    ballot = [labels, with_floor, with_floor]
    assert background(labels, 4, None, ballot).tolist() == [True, False, True, True]
    assert background(labels, 4, None, ballot[:2]).tolist() == [True, False, True, True]  # a draw


def test_the_outline_of_a_thing_is_an_object_where_most_cuts_make_them_one() -> None:
    labels = frame_around(CENTRE)
    whole = np.array([0, 1, 1])[labels]
    assert background(labels, 3).tolist() == [True, False, True]
    assert background(labels, 3, None, [labels, whole, whole]).tolist() == [True, False, False]


def test_patches_of_one_cluster_vote_for_it_even_where_another_cut_divides_it() -> None:
    # Most of the cluster is a thing, a little of it floor, as a finer cut shows.
    labels = finer(scene(CENTRE))
    parts = labels.copy()
    parts[:, 14:16] *= 2  # the two lowest rows of the thing
    assert background(parts, 3, np.where(parts == 2, 1e-3, 1.0)).tolist() == [True, False, True]
    assert background(labels, 2, np.where(parts == 2, 1e-3, 1.0), [parts]).tolist() == [True, False]


def test_without_any_votes_the_highest_score_of_this_cut_makes_the_one_object() -> None:
    labels = np.tile([1, 0, 2, 0, 3, 0, 0, 1], (1, 6, 1))
    everything = np.where(labels == 0, 0, 1)
    assert background(labels, 4, None, [labels, everything]).tolist() == [False, True, True, True]


# ---- seams --------------------------------------------------------------------------------------


def test_the_outline_of_a_thing_is_a_seam_and_neither_thing_nor_scenery_nor_strip_is() -> None:
    labels = np.where(scene(SKY) == 1, 3, frame_around(np.s_[5:9, 5:11]))
    assert background(labels, 4).tolist() == [True, False, True, True]
    assert seams(labels, background(labels, 5)).tolist() == [
        False,
        False,
        True,
        False,
        False,
    ]  # 4 is empty


def test_a_thin_thing_that_cls_attends_to_is_no_seam() -> None:
    labels = frame_around(CENTRE)
    seen = np.where(labels == 2, 500.0, 1.0)
    assert not background(labels, 3, seen)[2]
    assert seams(labels, background(labels, 3)).tolist() == [False, False, True]
    assert not seams(labels, background(labels, 3, seen)).any()


def test_only_thin_scenery_along_a_thing_is_a_seam() -> None:
    scenery = np.array([True, True, False])
    assert seams(scene(np.s_[3:4, 5:11], CENTRE), scenery).tolist() == [False, True, False]
    assert not seams(scene(np.s_[2:3, 2:14], CENTRE), scenery).any()  # away from it


def test_scenery_between_a_thing_and_the_border_is_no_seam() -> None:
    assert not seams(scene(np.s_[2:, :]), np.array([True, False])).any()


@settings(max_examples=60)
@given(seeds)
def test_seams_are_background_that_is_a_tenth_inside_at_most_and_two_fifths_along_objects(
    seed: int,
) -> None:
    labels, clusters, saliency = random_labels(seed)
    scenery = background(labels, clusters, saliency)
    found = seams(labels, scenery)
    around = np.pad(labels, ((0, 0), (1, 1), (1, 1)), mode="edge")
    for cluster in range(clusters):
        own = np.argwhere(labels == cluster)
        sides = [
            [around[t, y + 1 + dy, x + 1 + dx] for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1))]
            for t, y, x in own
        ]
        inner = sum(all(side == cluster for side in four) for four in sides)
        along = sum(any(not scenery[side] for side in four) for four in sides)
        thin = inner < 0.1 * len(own) and along >= 0.4 * len(own)
        assert found[cluster] == (thin and scenery[cluster])
