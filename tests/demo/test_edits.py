"""What a person changes about objects: names, merges, hiding."""

import copy

import numpy as np
import pytest
from gradio.utils import deep_hash
from hypothesis import given
from hypothesis import strategies as st

from bavos_core import Segmentation
from demo.edits import Edits

CLUSTERS = 5
clusters = st.integers(0, CLUSTERS + 2)  # some of them beyond the cut


def cut() -> Segmentation:
    """Five clusters of one frame each, of 1, 2, 3, 4 and 5 patches; the last is background."""
    import torch

    labels = np.repeat(np.arange(CLUSTERS), np.arange(1, CLUSTERS + 1)).reshape(1, 3, 5)
    soft = torch.nn.functional.one_hot(torch.from_numpy(labels), CLUSTERS).permute(0, 3, 1, 2)
    background = np.arange(CLUSTERS) == CLUSTERS - 1
    return Segmentation(1.0, np.arange(CLUSTERS), labels, soft.float(), background)


@st.composite
def edits(draw: st.DrawFn) -> Edits:
    """Any sequence of changes."""
    made = Edits()
    for _ in range(draw(st.integers(0, 6))):
        match draw(st.sampled_from(["rename", "hide", "alone", "merge", "split"])):
            case "rename":
                made = made.rename(draw(clusters), draw(st.text(max_size=80)))
            case "hide":
                made = made.hide(draw(clusters))
            case "alone":
                made = made.show_alone(draw(clusters))
            case "merge":
                made = made.merge(draw(clusters), draw(clusters))
            case "split":
                made = made.split()
    return made


@given(edits())
def test_any_edits_can_be_applied_to_any_cut_and_lose_no_patch(made: Edits) -> None:
    applied = made.apply(cut())
    assert applied.clusters == CLUSTERS
    assert applied.labels.size == cut().labels.size
    np.testing.assert_allclose(applied.soft.sum(1).numpy(), 1)
    assert made.unseen(applied) <= set(range(CLUSTERS + 3))


@given(edits())
def test_edits_are_small_can_be_copied_and_have_a_lasting_hash(made: Edits) -> None:
    twin = copy.deepcopy(made)
    assert twin == made
    assert hash(twin) == hash(made)
    assert deep_hash(twin) == deep_hash(made)  # by which Gradio tells a change


@given(edits(), clusters)
def test_hiding_twice_and_alone_twice_change_nothing(made: Edits, cluster: int) -> None:
    assert made.hide(cluster).hide(cluster) == made
    if made.alone != cluster:
        assert made.show_alone(cluster).show_alone(cluster).alone is None


@given(st.text(max_size=200))
def test_a_name_is_one_line_of_at_most_60_characters(text: str) -> None:
    name = dict(Edits().rename(1, text).names).get(1, "")
    assert len(name) <= 60
    assert name == " ".join(text.split())[:60]
    assert len(name.splitlines()) <= 1


def test_an_empty_name_gives_the_old_one_back() -> None:
    named = Edits().rename(1, "Ball")
    assert named.apply(cut()).name(1) == "Ball"
    assert named.rename(1, "  ").apply(cut()).name(1) == "Object 2"


def test_a_merge_moves_all_patches_and_splitting_takes_it_back() -> None:
    merged = Edits().merge(0, 2)
    applied = merged.apply(cut())
    assert (applied.labels == 2).sum() == 1 + 3
    assert applied.objects == [1, 2, 3]
    assert merged.split().apply(cut()).objects == [0, 1, 2, 3]


def test_an_object_that_is_shown_alone_stays_seen_when_it_is_merged() -> None:
    made = Edits().show_alone(0).merge(0, 2)
    assert made.unseen(made.apply(cut())) == {0, 1, 3, 4}


def test_merging_with_itself_is_no_merge() -> None:
    assert Edits().merge(1, 1) == Edits()


@pytest.mark.parametrize("into", [CLUSTERS, CLUSTERS + 3])
def test_edits_of_clusters_that_a_cut_has_not_wait(into: int) -> None:
    made = Edits().merge(0, into).rename(into, "Later").show_alone(into)
    applied = made.apply(cut())
    assert applied.objects == [0, 1, 2, 3]
    assert into not in applied.names
    assert made.unseen(applied) == frozenset()
