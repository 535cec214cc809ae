"""What a person changes: edits that make sense, how they compose, and how they are undone."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bavos_core import Analysis, ClusterTree, InputError, Segmentation
from bavos_core.edits import Edit

from .helpers import check_message, same_partition

EDITS = [
    Edit.name(2, "dog"),
    Edit.name(0, "", at=3),
    Edit.role(1, "object"),
    Edit.role(1, "background", at=4),
    Edit.merge(3, 0),
    Edit.merge(0, 3, at=6),
    Edit.split(1, at=6),
]


def assert_same(first: Segmentation, second: Segmentation) -> None:
    """To the bit."""
    for name in ("leaf_cluster", "labels", "background"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    for name in ("tau", "cut", "names", "splits"):
        assert getattr(first, name) == getattr(second, name)


# ---- single edits -------------------------------------------------------------------------------


@pytest.mark.parametrize("edit", EDITS, ids=str)
def test_an_edit_comes_back_from_json(edit: Edit) -> None:
    assert Edit.from_dict(json.loads(json.dumps(edit.to_dict()))) == edit


NONSENSE = [
    ("paint", 0, None, None),
    ("", 0, None, None),
    (None, 0, None, None),
    ("name", 0, None, None),
    ("name", 0, 7, None),
    ("name", -1, "dog", None),
    ("name", "0", "dog", None),
    ("name", 1.0, "dog", None),
    ("name", True, "dog", None),
    ("name", None, "dog", None),
    ("role", 0, "scenery", None),
    ("role", 0, None, None),
    ("role", 0, 1, None),
    ("role", 0, "object", -1),
    ("role", 0, "object", "3"),
    ("role", 0, "object", False),
    ("merge", 1, 1, None),
    ("merge", 1, None, None),
    ("merge", 1, "2", None),
    ("merge", 1, -2, None),
    ("merge", 2, True, None),
    ("split", 1, None, None),
    ("split", 1, 2, 4),
    ("split", 1, "object", 4),
    ("split", 1, None, 4.0),
    ("name", 0, ["x" * 500], None),
    ("paint", 0, "x" * 500, None),
    ("paint", 0, "two\nlines", None),
    (["merge"], 1, 2, None),
    ({}, 1, 2, None),
]


@pytest.mark.parametrize("values", NONSENSE, ids=lambda v: repr(v)[:40])
def test_an_edit_that_makes_no_sense_is_refused_with_one_sentence(values) -> None:
    names = ("action", "cluster", "value", "at")
    for make in (lambda: Edit(*values), lambda: Edit.from_dict(dict(zip(names, values)))):
        with pytest.raises(InputError) as caught:
            make()
        check_message(caught.value, "no such edit")


@pytest.mark.parametrize(
    "values", [{}, {"action": "name"}, {"action": "role", "cluster": 0, "value": "object", "to": 1},
               [], None, "name", 3, {1: 2}, {"x" * 500: 1}], ids=repr,
)  # fmt: skip
def test_what_has_other_fields_is_no_edit(values) -> None:
    with pytest.raises(InputError) as caught:
        Edit.from_dict(values)
    check_message(caught.value, "no such edit")


@given(st.text(max_size=200))
def test_a_name_is_one_line_of_at_most_60_characters(name: str) -> None:
    found = Edit.name(0, name).value
    assert isinstance(found, str)
    assert len(found) <= 60
    assert found == " ".join(name.split())[:60]
    assert len(found.splitlines()) <= 1


def test_an_edit_concerns_its_cluster_and_the_one_it_is_merged_into() -> None:
    assert Edit.merge(3, 5).clusters == (3, 5)
    for edit in (Edit.name(3, "5"), Edit.role(3, "object"), Edit.split(3, at=5)):
        assert edit.clusters == (3,)


# ---- edits of an analysis -----------------------------------------------------------------------


def test_each_edit_does_what_the_cut_offers(square_analysis: Analysis) -> None:
    cut = square_analysis.segment(n_clusters=6)
    role = "object" if cut.background[1] else "background"
    for edit, expected in (
        (Edit.name(2, "dog"), cut.named({2: "dog"})),
        (Edit.role(1, role), cut.with_role(1, role)),
        (Edit.merge(4, 1), cut.merged(4, 1)),
    ):
        assert_same(square_analysis.edited(edit).segment(n_clusters=6), expected)
    assert_same(square_analysis.segment(n_clusters=6), cut)
    assert square_analysis.edits == ()


def random_edits(seed: int, count: int) -> list[Edit]:
    """Edits of a cut into six, some of other cuts, some of clusters that only a split makes."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        at = [None, None, 6, 3][rng.integers(4)]
        first, second = (int(c) for c in rng.permutation(8)[:2])
        found.append(
            [
                Edit.name(first, f"thing {first}", at=at),
                Edit.role(first, "object", at=at),
                Edit.role(first, "background", at=at),
                Edit.merge(first, second, at=at),
                Edit.split(first, at=6 if at is None else at),
            ][rng.integers(5)]
        )
    return found


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1))
def test_edits_compose_in_order_and_undoing_gives_each_earlier_state(square_analysis, seed) -> None:
    edits = random_edits(seed, 6)
    states, edited = [square_analysis.segment(n_clusters=6)], square_analysis
    for edit in edits:
        edited = edited.edited(edit)
        states.append(edited.segment(n_clusters=6))
    assert edited.edits == tuple(edits)
    at_once = square_analysis.edited(*edits)
    for state in reversed(states):
        assert_same(at_once.segment(n_clusters=6), state)
        assert state.background.dtype == bool
        assert state.cut == 6
        assert state.leaf_cluster.max() < state.clusters
        at_once = at_once.undone()
    assert at_once.edits == ()
    assert at_once.undone().edits == ()


def test_the_order_of_edits_counts(square_analysis: Analysis) -> None:
    one = square_analysis.edited(Edit.merge(4, 1), Edit.merge(1, 2)).segment(n_clusters=6)
    other = square_analysis.edited(Edit.merge(1, 2), Edit.merge(4, 1)).segment(n_clusters=6)
    assert (one.labels == 1).sum() == 0
    assert (other.labels == 1).sum() > 0
    last = square_analysis.edited(Edit.role(1, "object"), Edit.role(1, "background"))
    assert last.segment(n_clusters=6).background[1]
    assert not last.undone().segment(n_clusters=6).background[1]


@pytest.mark.parametrize(
    "edit",
    [Edit.merge(5, 0), Edit.merge(0, 5), Edit.role(5, "object"), Edit.name(5, "dog"),
     Edit.split(0, at=6), Edit.role(0, "object", at=6), Edit.role(0, "background", at=6),
     Edit.split(5, at=5), Edit.merge(1, 0, at=6)], ids=str,
)  # fmt: skip
def test_edits_that_do_not_concern_a_cut_wait(edit: Edit, square_analysis: Analysis) -> None:
    edited = square_analysis.edited(edit)
    assert_same(edited.segment(n_clusters=5), square_analysis.segment(n_clusters=5))
    assert edited.edits == (edit,)


def test_an_edit_holds_at_all_cuts_that_have_its_clusters(square_analysis: Analysis) -> None:
    edited = square_analysis.edited(Edit.merge(2, 0), Edit.name(1, "sky"))
    for clusters in range(3, 8):
        expected = square_analysis.segment(n_clusters=clusters).merged(2, 0).named({1: "sky"})
        assert_same(edited.segment(n_clusters=clusters), expected)


# ---- splits -------------------------------------------------------------------------------------


def test_a_split_divides_one_cluster_as_the_tree_does_next(square_analysis) -> None:
    tree, divided = square_analysis.tree, 0
    for clusters in (1, 2, 5, 11):
        cut, finer = (square_analysis.segment(n_clusters=n) for n in (clusters, clusters + 1))
        for cluster in range(clusters):
            edit = Edit.split(cluster, at=clusters)
            found = square_analysis.edited(edit).segment(n_clusters=clusters)
            own = cut.leaf_cluster == cluster
            assert (found.leaf_cluster[~own] == cut.leaf_cluster[~own]).all()
            if own.sum() == 1:
                assert_same(found, cut)
                continue
            assert found.splits == {cluster: (cluster, clusters)}
            assert (found.background[clusters:] == cut.background[cluster]).all()
            tops = tree.children(node_of(tree, np.flatnonzero(own)))
            for part, node in zip((cluster, clusters), tops, strict=True):
                assert (np.flatnonzero(found.leaf_cluster == part) == tree.leaves_of(node)).all()
            divided += same_partition(found.labels, finer.labels)
    assert divided == 4  # once each, where the finer cut divides


def node_of(tree: ClusterTree, leaves: np.ndarray) -> int:
    """The node that holds just these leaves."""
    nodes = range(2 * tree.leaves - 1)
    return next(n for n in nodes if np.array_equal(tree.leaves_of(n), leaves))


def test_merged_clusters_are_split_into_the_largest_nodes_that_they_hold(square_analysis) -> None:
    cut, tree = square_analysis.segment(n_clusters=7), square_analysis.tree
    several = 0
    for one, other, third in ((0, 2, 5), (6, 4, 1), (3, 1, 0)):
        edits = Edit.merge(one, third, at=7), Edit.merge(other, third, at=7)
        found = square_analysis.edited(*edits, Edit.split(third, at=7)).segment(n_clusters=7)
        own = set(np.flatnonzero(np.isin(cut.leaf_cluster, (one, other, third))).tolist())
        whole = [n for n in range(2 * tree.leaves - 1) if set(tree.leaves_of(n).tolist()) <= own]
        tops = [n for n in whole if tree.parents()[n] not in whole]
        several += len(tops) > 1
        parts = tops if len(tops) > 1 else tree.children(tops[0])
        assert found.splits[third] == (third, *range(7, 6 + len(parts)))
        for number, node in zip(found.splits[third], parts, strict=True):
            assert (np.flatnonzero(found.leaf_cluster == number) == tree.leaves_of(node)).all()
    assert several


def test_a_part_of_a_split_can_be_named_merged_and_split_again(square_analysis) -> None:
    once = square_analysis.edited(Edit.split(0, at=2))
    cut = once.segment(n_clusters=2)
    assert cut.clusters > 2
    edited = once.edited(Edit.name(2, "part", at=2), Edit.merge(2, 1, at=2))
    found = edited.segment(n_clusters=2)
    assert found.name(2) == "part"
    assert (found.labels == np.where(cut.labels == 2, 1, cut.labels)).all()
    again = edited.edited(Edit.split(1, at=2)).segment(n_clusters=2)
    assert again.clusters >= found.clusters
    assert ((again.labels == found.labels) | (found.labels == 1)).all()
    empty = edited.edited(Edit.split(2, at=2)).segment(n_clusters=2)  # it has gone to another
    assert_same(empty, found)


# ---- file ---------------------------------------------------------------------------------------


def test_edits_are_kept_in_the_file(square_analysis: Analysis, tmp_path) -> None:
    edited = square_analysis.edited(*EDITS)
    edited.save(tmp_path / "one.npz")
    after = Analysis.load(tmp_path / "one.npz")
    assert after.edits == tuple(EDITS)
    for clusters in (3, 4, 6):
        assert_same(after.segment(n_clusters=clusters), edited.segment(n_clusters=clusters))
    assert_same(after.undone().segment(n_clusters=6), edited.undone().segment(n_clusters=6))
