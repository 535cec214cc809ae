"""Whose results go when there are too many."""

from collections.abc import Callable
from pathlib import Path

import pytest

from demo.presets import PRESETS, Preset
from demo.service import Service
from demo.sessions import Visitor, acting_as
from demo.settings import DemoSettings
from demo.store import Store

from .helpers import Asking, Kept


@pytest.fixture
def asking() -> Asking:
    return Asking()


@pytest.fixture
def shared(size: int, asking: Asking):
    """A store for six results."""
    opened = Store(most_bytes=6 * size, whose=asking)
    yield opened
    opened.close()


@pytest.fixture
def put_by(shared: Store, asking: Asking, put) -> Callable[[str], Kept]:
    """Puts one more result for a visitor."""

    def by(who: str) -> Kept:
        asking.who = who
        return put(shared)

    return by


def present(results: list[Kept]) -> list[bool]:
    return [folder.exists() for _, folder in results]


def test_many_results_of_one_displace_only_their_own(put_by) -> None:
    ann = [put_by("Ann"), put_by("Ann")]
    ben = [put_by("Ben") for _ in range(40)]
    assert present(ann) == [True, True]
    assert present(ben) == [False] * 36 + [True] * 4


def test_who_holds_most_makes_room_for_one_who_comes_later(put_by) -> None:
    ben = [put_by("Ben") for _ in range(6)]
    ann = [put_by("Ann"), put_by("Ann")]
    assert present(ann) == [True, True]
    assert present(ben) == [False, False, True, True, True, True]


def test_results_that_nobody_has_open_go_before_those_that_are_in_view(shared, put_by) -> None:
    ben = [put_by("Ben") for _ in range(6)]
    ben[3].result.visitors.clear()
    put_by("Ann")
    assert present(ben) == [True, True, True, False, True, True]


def test_a_result_in_view_stays_while_its_address_holds_less_than_its_share(
    shared, put_by, size
) -> None:
    ann, cid = put_by("Ann"), put_by("Cid")
    cid.result.visitors.clear()  # who left it
    ben = put_by("Ben")
    shared.grow(ben.result, 5 * size)  # more than all, and the newest
    with shared.room(ben.result):
        pass
    assert present([ann, cid, ben]) == [True, False, True]


def test_one_example_with_many_settings_displaces_nothing_of_others(small_clip: Path) -> None:
    service = Service(
        DemoSettings(backbone="descriptors", max_frames=2, store_mib=2), examples=[small_clip]
    )
    segment = lambda preset: service.segment(  # noqa: E731
        str(small_clip), "descriptors", preset, lambda *_: None
    )
    with acting_as(Visitor("192.0.2.1", "ann")):
        shared, own = segment(PRESETS["fast"]), segment(Preset(2, 200))
    assert shared.example
    assert not own.example  # only what the page offers is kept for everybody
    with acting_as(Visitor("192.0.2.2", "ben")):
        many = [segment(Preset(2, 660 + 10 * i)) for i in range(7)]
        assert segment(PRESETS["fast"]) is shared
    assert service.store.get(own.id) is own
    assert service.store.get(shared.id) is shared
    assert len(service.store._results) < len(many) + 2
    service.close()
