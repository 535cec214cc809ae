"""Measures: cases worked out by hand, and others' implementations as oracles."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage
from sklearn.metrics import adjusted_rand_score

from bavos_lab.evaluation.metrics import (
    best_cluster_j,
    best_match,
    boundary_f,
    boundary_pixels,
    boundary_radius,
    count_pixels,
    dilated,
    fg_ari,
    foreground_table,
    statistics,
)

from .helpers import grid

maps = arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 3))


def masks_of(labels: np.ndarray) -> np.ndarray:
    return np.stack([labels == n for n in (1, 2, 3)])


# ---- J ------------------------------------------------------------------------------------------


def test_j_of_a_case_worked_out_by_hand() -> None:
    truth = grid("11.. 11.. .... ....")  # 4 pixels
    found = grid(".1.. .1.. .1.. 22..")  # 1: 3 pixels, 2 of them inside; 2: 2 pixels, none inside
    counts = count_pixels((truth == 1)[None], found, 2)
    assert counts.both.tolist() == [[2, 0]]
    assert counts.jaccard.tolist() == [[2 / 5, 0.0]]


def test_pixels_that_are_void_do_not_count() -> None:
    truth, found = grid("11.. 11.. .... ...."), grid("1111 1111 .... ....")
    void = grid("..11 ..11 .... ....") > 0
    assert count_pixels((truth == 1)[None], found, 1).jaccard.item() == 4 / 8
    assert count_pixels((truth == 1)[None], found, 1, void).jaccard.item() == 1.0


def test_nothing_covers_nothing_perfectly() -> None:
    empty = np.zeros((4, 4), np.uint8)
    assert count_pixels((empty > 0)[None], empty, 1).jaccard.item() == 1.0
    assert boundary_f((empty > 0)[None], empty, 1).item() == 1.0


@given(maps, st.randoms())
def test_j_is_the_plain_intersection_over_union(labels: np.ndarray, random) -> None:
    other = np.array([random.randrange(3) for _ in range(labels.size)]).reshape(labels.shape)
    jaccard = count_pixels(masks_of(labels), other, 2).jaccard
    for n in (1, 2, 3):
        for p in (1, 2):
            union = ((labels == n) | (other == p)).sum()
            expected = ((labels == n) & (other == p)).sum() / union if union else 1.0
            assert jaccard[n - 1, p - 1] == pytest.approx(expected)


# ---- F ------------------------------------------------------------------------------------------


def test_the_boundary_of_a_square_worked_out_by_hand() -> None:
    # A pixel belongs to it that differs from its right, lower or lower right neighbour; so it lies
    # half a pixel towards the upper left, and the last row and column have no such neighbour.
    found = boundary_pixels(grid(".... .11. .11. ....") > 0)
    assert found.tolist() == (grid("111. 1.1. 111. ....") > 0).tolist()


def test_a_mask_that_fills_the_picture_has_no_boundary() -> None:
    assert not boundary_pixels(np.ones((4, 4), bool)).any()


def test_f_of_a_case_worked_out_by_hand() -> None:
    # The tolerance of a 4×4 picture is one pixel. Upper half against upper row: boundaries are rows
    # 1 and 0, which lie one apart, so all is matched. Against the lower row alone, whose boundary
    # is row 2, too. Against the left column, whose boundary is column 0: three of its four pixels
    # (rows 0, 1, 2) lie near row 1; of row 1, columns 0 and 1 lie near column 0.
    truth = (grid("1111 1111 .... ....") > 0)[None]
    assert boundary_radius((4, 4)) == 1
    assert boundary_f(truth, grid("1111 .... .... ...."), 1).item() == 1.0
    assert boundary_f(truth, grid(".... .... .... 1111"), 1).item() == 1.0
    precision, recall = 3 / 4, 2 / 4
    expected = 2 * precision * recall / (precision + recall)
    assert boundary_f(truth, grid("1... 1... 1... 1..."), 1).item() == pytest.approx(expected)


def test_f_is_zero_when_only_one_has_a_boundary() -> None:
    truth = (grid("11.. 11.. .... ....") > 0)[None]
    assert boundary_f(truth, np.zeros((4, 4), np.uint8), 1).item() == 0.0
    assert boundary_f(~truth & False, grid("11.. 11.. .... ...."), 1).item() == 0.0


def test_the_boundary_of_void_pixels_is_that_of_the_rest() -> None:
    truth, found = grid("11.. 11.. .... ...."), grid("1111 1111 .... ....")
    void = grid("..11 ..11 .... ....") > 0
    assert boundary_f((truth == 1)[None], found, 1, void).item() == 1.0


@pytest.mark.parametrize(("size", "radius"), [((480, 854), 8), ((240, 432), 4), ((128, 128), 2)])
def test_the_tolerance_is_0_8_percent_of_the_diagonal_rounded_up(
    size: tuple[int, int], radius: int
) -> None:
    assert boundary_radius(size) == radius


@given(
    arrays(bool, st.tuples(st.integers(1, 14), st.integers(1, 14)), elements=st.booleans()),
    st.integers(1, 6),
)
def test_dilation_is_that_of_scipy_with_a_disk(line: np.ndarray, radius: int) -> None:
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disk = x * x + y * y <= radius * radius
    assert (dilated(line, radius) == ndimage.binary_dilation(line, disk)).all()


@given(maps, maps)
def test_f_does_not_depend_on_which_is_the_truth(one: np.ndarray, other: np.ndarray) -> None:
    shape = (min(one.shape[0], other.shape[0]), min(one.shape[1], other.shape[1]))
    one, other = (m[: shape[0], : shape[1]] for m in (one, other))
    f = boundary_f(masks_of(one), other, 3)
    assert f == pytest.approx(boundary_f(masks_of(other), one, 3).T)
    assert (f >= 0).all() and (f <= 1).all()
    assert np.diag(boundary_f(masks_of(one), one, 3)).tolist() == [1.0, 1.0, 1.0]


# ---- statistics over frames ---------------------------------------------------------------------


def test_mean_recall_and_decay_worked_out_by_hand() -> None:
    # Eight frames: the quarters of the official code begin at frames 0, 2, 4 and 5 (7/4 of a frame
    # apart, rounded) and share their ends, so the first is 0, 1, 2 and the last 5, 6, 7.
    values = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2])
    found = statistics(values)
    assert found.mean == pytest.approx(0.55)
    assert found.recall == 4 / 8  # 0.5 itself is not above 0.5
    assert found.decay == pytest.approx(0.8 - 0.3)


def test_one_frame_has_no_decay() -> None:
    assert vars(statistics(np.array([0.7]))) == {"mean": 0.7, "recall": 1.0, "decay": 0.0}


# ---- matching -----------------------------------------------------------------------------------


def test_matching_maximises_the_sum_and_takes_nothing_twice() -> None:
    scores = np.array([[0.9, 0.8], [0.8, 0.1]])
    assert best_match(scores).tolist() == [1, 0]  # 1.6 rather than 0.9 + 0.1
    assert best_match(scores[:, :1]).tolist() == [0, -1]
    assert best_match(np.zeros((2, 0))).tolist() == [-1, -1]


# ---- FG-ARI -------------------------------------------------------------------------------------


@given(maps, st.randoms())
def test_fg_ari_is_scikit_learns_on_the_foreground(labels: np.ndarray, random) -> None:
    other = np.array([random.randrange(4) for _ in range(labels.size)]).reshape(labels.shape)
    inside = labels > 0
    found = fg_ari(foreground_table(masks_of(labels), other, 3))
    if not inside.any():
        assert found is None
    else:
        assert found == pytest.approx(adjusted_rand_score(labels[inside], other[inside]), abs=1e-9)


def test_fg_ari_ignores_background_and_void() -> None:
    truth, void = grid("112. 112. .... ...."), grid(".... .... .... 1111") > 0
    found = grid("112. 1123 3333 3333")
    assert fg_ari(foreground_table(masks_of(truth), found, 3, void)) == 1.0
    wrong = grid("122. 1123 3333 3333")  # one pixel of object 1, which is made void below
    assert fg_ari(foreground_table(masks_of(truth), wrong, 3)) < 1
    void = grid(".1.. .... .... ....") > 0
    assert fg_ari(foreground_table(masks_of(truth), wrong, 3, void)) == 1.0


def test_pixels_of_two_objects_count_for_the_later_one() -> None:
    masks = np.stack([grid("11.. 11..") > 0, grid(".11. .11.") > 0])
    assert foreground_table(masks, grid("1111 1111"), 1).tolist() == [[0, 2], [0, 4]]


# ---- best cluster -------------------------------------------------------------------------------


def test_the_best_cluster_is_one_for_the_whole_video() -> None:
    labels = np.array([[[0, 1]], [[1, 0]]])  # two frames of two patches
    truth = np.zeros((2, 2, 4), bool)
    truth[0, :, 2:] = truth[1, :, 2:] = True  # cluster 1, then cluster 0
    assert best_cluster_j(labels, truth) == pytest.approx(0.5)
    assert best_cluster_j(np.array([[[0, 1]], [[0, 1]]]), truth) == pytest.approx(1.0)
