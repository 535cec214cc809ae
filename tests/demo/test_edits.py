"""What a person changes about objects: names, roles, merges, splits, and what is only hidden."""

import copy

import pytest
from gradio.utils import deep_hash
from hypothesis import given
from hypothesis import strategies as st

from bavos_core import Analysis, Edit, Segmentation
from demo.edits import Edits

CUTS = (3, 5)  # numbers of clusters that a person looks at
CHANGES = ("name", "role", "merge", "split", "undo", "redo", "hide", "alone")
ROLES = ("object", "background")


@pytest.fixture(scope="module")
def cut(tiny_analysis: Analysis) -> Segmentation:
    """Five clusters; only the first is an object."""
    found = tiny_analysis.segment(n_clusters=5)
    assert found.objects == [0]
    return found


def applied(analysis: Analysis, made: Edits, clusters: int = 5) -> Segmentation:
    return analysis.edited(*made.edits).segment(n_clusters=clusters)


def changed(data: st.DataObject, analysis: Analysis, changes: int = 6) -> Edits:
    """Any sequence of changes, each to what the ones before it left, at one cut or another."""
    made = Edits()
    for _ in range(data.draw(st.integers(0, changes))):
        cut = applied(analysis, made, data.draw(st.sampled_from(CUTS)))
        cluster, other = (data.draw(st.sampled_from(cut.present)) for _ in range(2))
        match data.draw(st.sampled_from(CHANGES)):
            case "name":
                made = made.rename(cut, cluster, data.draw(st.text(max_size=80)))
            case "role":
                made = made.take_for(cut, cluster, data.draw(st.sampled_from(ROLES)))
            case "merge" if cluster != other:
                made = made.merge(cut, cluster, other)
            case "split":
                made = made.split(cut, cluster)
            case "undo":
                made = made.undo()
            case "redo":
                made = made.redo()
            case "hide":
                made = made.hide(cut, cluster)
            case "alone":
                made = made.show_alone(cut, cluster)
    return made


@given(data=st.data(), clusters=st.sampled_from((*CUTS, 4)))
def test_any_edits_can_be_applied_to_any_cut_and_lose_no_patch(
    tiny_analysis, data, clusters
) -> None:
    made = changed(data, tiny_analysis)
    found = applied(tiny_analysis, made, clusters)
    assert found.labels.size == tiny_analysis.nearest[..., 0].size
    assert made.unseen(found) <= set(range(found.clusters))
    alone = applied(tiny_analysis, Edits(made.concerning(found)), clusters)
    assert (alone.labels == found.labels).all()
    assert (alone.background == found.background).all()
    assert alone.names == found.names


@given(data=st.data())
def test_edits_can_be_copied_and_have_a_lasting_hash(tiny_analysis, data) -> None:
    made = changed(data, tiny_analysis)
    twin = copy.deepcopy(made)
    assert twin == made
    assert hash(twin) == hash(made)
    assert deep_hash(twin) == deep_hash(made)  # by which Gradio tells a change


@given(data=st.data())
def test_undo_takes_back_one_edit_after_the_other_and_redo_brings_all_back(
    tiny_analysis, data
) -> None:
    made = changed(data, tiny_analysis)
    back = made
    for count in range(len(made.edits), 0, -1):
        assert back.edits == made.edits[:count]
        back = back.undo()
    assert back.edits == ()
    assert back.undo() == back
    for _ in made.edits:
        back = back.redo()
    assert back == made


def test_a_new_edit_leaves_nothing_to_redo(cut) -> None:
    undone = Edits().rename(cut, 0, "Ball").rename(cut, 1, "Sky").undo()
    assert undone.undone == (Edit.name(1, "Sky"),)
    assert undone.take_for(cut, 1, "object").undone == ()
    assert undone.hide(cut, 0).undone == undone.undone  # which is no edit


@given(data=st.data())
def test_hiding_twice_and_alone_twice_change_nothing(tiny_analysis, cut, data) -> None:
    made, cluster = changed(data, tiny_analysis), data.draw(st.integers(0, 4))
    assert made.hide(cut, cluster).hide(cut, cluster) == made
    if not made.is_alone(cut, cluster):
        assert made.show_alone(cut, cluster).show_alone(cut, cluster).alone is None


@given(st.text(max_size=200))
def test_a_name_is_one_line_of_at_most_60_characters(text: str) -> None:
    sent = {"action": "name", "cluster": 1, "value": text}
    for edit in (Edit.name(1, text), Edit.from_dict(sent)):
        assert edit.value == " ".join(text.split())[:60]
        assert len(edit.value.splitlines()) <= 1


def test_an_empty_name_gives_the_usual_one_back(tiny_analysis, cut) -> None:
    named = Edits().rename(cut, 1, "Ball")
    assert applied(tiny_analysis, named).name(1) == "Ball"
    assert applied(tiny_analysis, named.rename(cut, 1, "  ")).name(1) == "Background 2"


def test_an_object_that_is_shown_alone_stays_seen_when_it_is_merged(tiny_analysis, cut) -> None:
    made = Edits().take_for(cut, 2, "object").show_alone(cut, 0).merge(cut, 0, 2)
    assert made.unseen(applied(tiny_analysis, made)) == {0, 1, 3, 4}


def test_what_became_background_is_neither_hidden_nor_alone(tiny_analysis, cut) -> None:
    scenery = Edits().take_for(cut, 0, "background")
    for made in (scenery.hide(cut, 0), scenery.show_alone(cut, 0)):
        assert made.unseen(applied(tiny_analysis, made)) == frozenset()


# ---- at which cuts -----------------------------------------------------------------------------


def test_edits_of_whole_clusters_hold_at_every_cut(cut) -> None:
    made = Edits().rename(cut, 0, "Ball").take_for(cut, 1, "object").merge(cut, 2, 0)
    assert [edit.at for edit in made.edits] == [None] * 3


def test_a_split_and_what_concerns_its_parts_hold_at_its_cut_only(tiny_analysis, cut) -> None:
    divided = Edits().split(cut, 0)
    parts = applied(tiny_analysis, divided)
    assert parts.splits == {0: (0, 5)}
    for made in (
        divided.rename(parts, 5, "Ball"),
        divided.take_for(parts, 0, "background"),  # the part that keeps the number
        divided.merge(parts, 5, 1),
        divided.merge(parts, 1, 5),
    ):
        assert [edit.at for edit in made.edits] == [5, 5]
        whole = tiny_analysis.segment(n_clusters=4)
        assert made.concerning(whole) == ()
        assert (applied(tiny_analysis, made, 4).labels == whole.labels).all()
    assert divided.rename(parts, 1, "Sky").edits[-1].at is None


def test_a_hidden_part_hides_nothing_at_another_cut(tiny_analysis, cut) -> None:
    divided = Edits().split(cut, 0)
    parts = applied(tiny_analysis, divided)
    hidden = divided.hide(parts, 5)
    assert hidden.unseen(parts) == {5}
    finer = Edits(edits=(Edit.role(5, "object"),), hidden=hidden.hidden)
    assert 5 in applied(tiny_analysis, finer, 8).objects
    assert finer.unseen(applied(tiny_analysis, finer, 8)) == frozenset()


def test_edits_of_clusters_that_a_cut_has_not_wait(tiny_analysis, cut) -> None:
    fine = tiny_analysis.segment(n_clusters=9)
    made = Edits().merge(fine, 0, 8).rename(fine, 8, "Later").show_alone(fine, 8)
    found = applied(tiny_analysis, made)
    assert (found.labels == cut.labels).all()
    assert found.names == {}
    assert made.unseen(found) == frozenset()
    assert made.concerning(found) == ()
