"""The state of a viewer as it arrives from a browser."""

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bavos_core import Edit, InputError
from demo.edits import MOST_EDITS, Look, checked_edits

MERGE = Edit.merge(1, 2)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def test_edits_come_back_as_they_were_sent() -> None:
    edits = (MERGE, Edit.split(0, at=5), Edit.name(3, "Ball", at=5), Edit.role(1, "object"))
    assert checked_edits([edit.to_dict() for edit in edits]) == edits
    state = {"n": 5.0, "edits": [MERGE.to_dict()], "selected": [0, 2], "more": "ignored"}
    assert Look.of(state) == Look(5, (MERGE,), (0, 2))


@pytest.mark.parametrize("values", [None, "split", {"action": "split"}, [1], [{"action": "fly"}]])
def test_other_edits_are_bad_input(values) -> None:
    with pytest.raises(InputError) as caught:
        checked_edits(values)
    assert str(caught.value).endswith(".")


def test_there_are_only_so_many_edits() -> None:
    assert len(checked_edits([MERGE.to_dict()] * MOST_EDITS)) == MOST_EDITS
    with pytest.raises(InputError, match="at most"):
        checked_edits([MERGE.to_dict()] * (MOST_EDITS + 1))


@pytest.mark.parametrize("n", [None, "5", True, 2.5, math.nan, math.inf, [5]])
def test_a_number_of_clusters_is_a_whole_number(n) -> None:
    with pytest.raises(InputError, match="give a whole number"):
        Look.of({"n": n})


@given(JSON)
def test_any_state_is_taken_or_is_bad_input(state) -> None:
    for sent in (state, {"n": 3, "edits": state}, {"n": state}, {"n": 3, "selected": state}):
        with contextlib.suppress(InputError):
            assert isinstance(Look.of(sent), Look)


@given(st.text(max_size=200))
def test_a_name_is_one_line_of_at_most_60_characters(text: str) -> None:
    (edit,) = checked_edits([{"action": "name", "cluster": 1, "value": text}])
    assert edit.value == " ".join(text.split())[:60]


def test_what_is_not_selected_becomes_background(tiny_analysis) -> None:
    both = (Edit.role(0, "object"), Edit.role(1, "object"))
    cut = tiny_analysis.edited(*both).segment(n_clusters=5)
    edits = Look(5, both, (1,)).only_selected(cut).edits
    assert tiny_analysis.edited(*edits).segment(n_clusters=5).objects == [1]
