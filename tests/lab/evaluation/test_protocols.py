"""Protocols: where they agree, and on what they differ."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bavos_lab.evaluation.protocols import (
    PROTOCOLS,
    best_cluster,
    measure,
    official,
    oracle_union,
    per_frame,
    score,
)

from .helpers import grid, truth_of

videos = st.integers(1, 3).flatmap(
    lambda frames: arrays(np.uint8, (2, frames, 6, 7), elements=st.integers(0, 3))
)


def test_official_and_per_frame_differ_when_identities_are_swapped() -> None:
    # Two objects that stay where they are; the proposals trade places in the second frame. The
    # reference's evaluator does not notice; the official one can match one frame only.
    truth = truth_of(grid("11.. 11.. ..22 ..22"), grid("11.. 11.. ..22 ..22"))
    labels = [grid("11.. 11.. ..22 ..22"), grid("22.. 22.. ..11 ..11")]
    measured = measure(truth, labels)
    assert per_frame(measured).jaccard.tolist() == [[1, 1], [1, 1]]
    once = official(measured).jaccard
    assert sorted(once.mean(0).tolist()) == [0, 1]  # one frame right, the other all wrong
    assert per_frame(measured).fg_ari_frame == official(measured).fg_ari_frame == 1.0
    assert official(measured).fg_ari_video < 1


def test_both_agree_when_identities_are_kept() -> None:
    truth = truth_of(grid("11.. 11.. ..22 ..22"), grid(".11. .11. ..22 ..22"))
    labels = [grid("33.. 3... ..11 ..11"), grid(".33. .33. ...1 ..11")]
    measured = measure(truth, labels)
    expected = [[3 / 4, 1], [1, 3 / 4]]
    for found in (official(measured), per_frame(measured)):
        assert found.jaccard.tolist() == expected
    assert official(measured).matches == ((3,), (1,))
    assert per_frame(measured).matches == ()


def test_official_matches_by_j_and_f_together() -> None:
    # Object of 4×4 pixels in a picture of 12×12 (tolerance one pixel). Proposal 1 is its left half
    # and the row beneath; whichever has the higher mean of J and F must win.
    truth = np.zeros((12, 12), np.uint8)
    truth[4:8, 4:8] = 1
    labels = np.zeros_like(truth)
    labels[4:8, 4:7] = 1
    labels[4:8, 7:8] = 2
    measured = measure(truth_of(truth), [labels])
    total = measured.jaccard[0, 0, :2] + measured.boundary[0, 0, :2]
    assert official(measured).matches == ((int(total.argmax()) + 1,),)


def test_official_admits_the_20_largest_proposals_and_per_frame_all() -> None:
    truth = np.zeros((8, 32), np.uint8)
    truth[7, 31] = 1  # one pixel
    labels = np.repeat(np.arange(1, 25, dtype=np.uint8), 8).reshape(-1, 8).T.copy()
    labels = np.pad(labels, ((0, 0), (0, 8)))
    labels[7, 31] = 25  # the proposal that fits is the smallest of 25
    measured = measure(truth_of(truth), [labels])
    assert per_frame(measured).jaccard.item() == 1.0
    assert official(measured).jaccard.item() == 0.0
    assert official(measured).matches[0] != (25,)


def test_objects_without_a_proposal_score_as_if_it_were_empty() -> None:
    # Two objects, one proposal; object 2 is absent from the second frame, where nothing is right.
    truth = truth_of(grid("11.. 11.. ..22 ..22"), grid("11.. 11.. .... ...."))
    labels = [grid("11.. 11.. .... ....")] * 2
    for found in (official(measure(truth, labels)), per_frame(measure(truth, labels))):
        assert found.jaccard.tolist() == [[1, 1], [0, 1]]
        assert found.boundary.tolist() == [[1, 1], [0, 1]]
    found = official(measure(truth, labels))
    assert found.matches == ((1,), ())
    assert (found.miou, found.mbo) == (0.5, 0.5)


def test_no_proposal_at_all_scores_nothing() -> None:
    truth, labels = truth_of(grid("11.. 11..")), [np.zeros((2, 4), np.uint8)]
    for protocol in PROTOCOLS:
        for found in score(protocol, measure(truth, labels), truth, labels):
            assert found.jaccard.tolist() == [[0.0]]
            assert found.miou in (None, 0.0)


def test_miou_is_one_to_one_and_mbo_is_not() -> None:
    # One proposal over both objects: 4 of its 8 pixels lie in each.
    truth, labels = truth_of(grid("1122 1122")), [grid("1111 1111")]
    found = official(measure(truth, labels))
    assert (found.miou, found.mbo) == (0.25, 0.5)


def test_overlap_is_of_the_video_under_official_and_of_frames_under_per_frame() -> None:
    # 8 pixels found of 8, then 1 of 2: 9 of 10 in the video; the mean of 1 and 1/2 over frames.
    truth = truth_of(grid("1111 1111"), grid("11.. ...."))
    labels = [grid("1111 1111"), grid("1... ....")]
    assert official(measure(truth, labels)).miou == pytest.approx(9 / 10)
    assert per_frame(measure(truth, labels)).miou == pytest.approx(3 / 4)


def test_overlap_per_frame_counts_objects_where_they_are() -> None:
    truth = truth_of(grid("11.. 11.."), grid(".... ...."))
    labels = [grid("11.. 11.."), grid("1111 1111")]
    assert per_frame(measure(truth, labels)).miou == 1.0
    assert official(measure(truth, labels)).miou == pytest.approx(4 / 12)


def test_best_cluster_and_oracle_union_worked_out_by_hand() -> None:
    # Foreground: two objects of 4 pixels. Proposals: 1 is the first object, 2 three quarters of the
    # second, 3 the rest and the whole background.
    truth = truth_of(grid("11.. 11.. ..22 ..22"))
    labels = [grid("1133 1133 3322 3323")]
    measured = measure(truth, labels)
    best = best_cluster(measured)
    assert (best.jaccard.item(), best.matches) == (4 / 8, ((1,),))
    union = oracle_union(measured, truth, labels)
    assert (union.jaccard.item(), union.matches) == (7 / 8, ((1, 2),))


def test_a_union_that_helps_nothing_is_not_made() -> None:
    truth, labels = truth_of(grid("11.. 11.. .... ....")), [grid("1122 1122 2222 2222")]
    measured = measure(truth, labels)
    union = oracle_union(measured, truth, labels)
    assert (union.jaccard.item(), union.boundary.item(), union.matches) == (1, 1, ((1,),))


@given(videos)
def test_what_holds_for_every_video(video: np.ndarray) -> None:
    frames, labels = video
    truth = truth_of(*frames)
    if not truth.objects:
        return
    found = {
        s.protocol: s
        for p in PROTOCOLS
        for s in score(p, measure(truth, list(labels)), truth, list(labels))
    }
    for s in found.values():
        for values in (s.jaccard, s.boundary):
            assert values.shape[1] == len(frames) and (values >= 0).all() and (values <= 1).all()
    # Matching anew in every frame can only help, in what is matched by.
    totals = [found[p].jaccard.sum() + found[p].boundary.sum() for p in ("per-frame", "official")]
    assert totals[0] >= totals[1] - 1e-9
    one, union = (found[f"single-object, {name}"] for name in ("best cluster", "oracle union"))
    assert union.jaccard.mean() >= one.jaccard.mean() - 1e-9
    assert found["official"].mbo >= found["official"].miou - 1e-9


@given(videos, st.permutations([1, 2, 3]))
def test_numbers_of_proposals_mean_nothing(video: np.ndarray, order: list[int]) -> None:
    frames, labels = video
    truth = truth_of(*frames)
    if not truth.objects:
        return
    renamed = np.array([0, *order], np.uint8)[labels]
    for protocol in ("official", "per-frame"):
        (one,) = score(protocol, measure(truth, list(labels)), truth, list(labels))
        (other,) = score(protocol, measure(truth, list(renamed)), truth, list(renamed))
        total = one.jaccard.sum() + one.boundary.sum()
        assert total == pytest.approx(other.jaccard.sum() + other.boundary.sum())
        assert one.fg_ari_video == pytest.approx(other.fg_ari_video)


def test_the_same_masks_score_one_everywhere() -> None:
    truth = truth_of(grid("11.. 11.. ..22 ..22"), grid(".11. .11. ..22 ..22"))
    labels = [grid("11.. 11.. ..22 ..22"), grid(".11. .11. ..22 ..22")]
    for protocol in PROTOCOLS:
        for found in score(protocol, measure(truth, labels), truth, labels):
            if "best" not in found.protocol:
                assert (found.jaccard == 1).all() and (found.boundary == 1).all()
