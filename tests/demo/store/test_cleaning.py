"""Deletion of old files, of previews, and of what a killed server has left."""

from pathlib import Path

import pytest

from bavos_core import InputError
from demo.store import Store

from .helpers import Asking

ROOT = Path(__file__).resolve().parents[3]


def test_closing_deletes_every_file_and_forgets_every_result(put) -> None:
    store = Store()
    result, folder = put(store)
    store.close()
    assert not folder.exists()
    assert not store.root.exists()
    with pytest.raises(InputError):
        store.get(result.id)


def test_everything_goes_after_the_stated_time(put, clock) -> None:
    store = Store(keep_seconds=100, clock=clock)
    old = put(store)
    clock.at(90)
    store.sweep()
    assert old.folder.exists()
    clock.at(101)
    with pytest.raises(InputError):
        store.get(old.id)  # at once, not when the next sweep comes
    store.sweep()
    assert not old.folder.exists()
    store.close()


def test_what_is_too_old_goes_when_it_is_no_more_in_use(put, clock) -> None:
    store = Store(keep_seconds=100, clock=clock)
    result, folder = put(store)
    with store.room(result):
        clock.at(101)
        store.sweep()
        assert store.get(result.id) is result
        assert folder.exists()
    assert not folder.exists()
    store.close()


def test_what_a_visitor_leaves_goes_some_time_after_its_last_use(put, clock) -> None:
    store = Store(keep_seconds=1000, grace_seconds=100, whose=Asking(), clock=clock)
    left, asked_for = put(store), put(store)
    clock.at(200)
    store.sweep()
    assert left.folder.exists()  # she is still here
    store.leave("Ann")
    clock.at(290)
    store.get(asked_for.id)
    clock.at(301)
    store.sweep()
    assert [left.folder.exists(), asked_for.folder.exists()] == [False, True]
    clock.at(391)
    store.sweep()
    assert not asked_for.folder.exists()
    store.close()


def test_a_result_that_is_open_elsewhere_outlives_the_visitor_who_made_it(put, clock) -> None:
    asking = Asking()
    store = Store(keep_seconds=1000, grace_seconds=100, whose=asking, clock=clock)
    result, folder = put(store)
    asking.who = "Ben"
    assert store.visit(result.id) is result
    store.leave("Ann")
    clock.at(500)
    store.sweep()
    assert folder.exists()
    store.leave("Ben")
    clock.at(601)
    store.sweep()
    assert not folder.exists()
    store.close()


def test_the_result_of_an_example_stays_until_it_is_let_go(put, clock, size) -> None:
    store = Store(most_bytes=2 * size, keep_seconds=1000, grace_seconds=100, clock=clock)
    example = put(store)
    store.share(example.result, "balls")
    own = [put(store), put(store)]  # which fit: it does not count
    clock.at(2000)
    store.leave("")
    assert store.get(example.id).example == "balls"
    store.sweep()
    assert example.folder.exists()
    assert not any(folder.exists() for _, folder in own)
    store.share(example.result, "")
    store.sweep()
    assert not example.folder.exists()
    store.close()


def test_an_example_that_is_let_go_stays_for_those_who_have_it_open(put, clock) -> None:
    store = Store(keep_seconds=1000, clock=clock)
    example = put(store)
    store.share(example.result, "balls")
    clock.at(2000)
    store.share(example.result, "")
    store.sweep()
    assert store.get(example.id) is example.result
    clock.at(3001)
    store.sweep()
    assert not example.folder.exists()
    store.close()
