"""Fair turns: how many jobs run at once, who is next, and when there is no place to wait."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bavos_core import InputError
from bavos_io.stopping import checkpoint

from . import strings

Report = Callable[[float, str], None]  # share of the whole run 0 … 1, what is being done

_LOOK = 0.2  # seconds between looks of a job that waits, at which it can be cancelled
_MOST_KNOWN = 1000  # addresses of which it is known when they last had a turn


class Busy(InputError):
    """There is no place to wait."""


def unheard(_share: float, _doing: str) -> None:
    """Report progress to nobody."""


@dataclass(eq=False)
class Place:
    """The place of a job: it waits, has its turn, or had to leave."""

    address: Hashable
    purpose: object
    has_turn: bool = False
    lost: bool = False  # to an address with fewer jobs


class Turns:
    """Admits jobs, at most `at_once` and at most `each` of one address.

    The next turn goes to the waiting address that had its last one longest ago; a new address
    counts as if its last turn had been before those that run. At most `waiting` jobs wait, at most
    `waiting_each` of one address. When all places are taken, an address with few jobs gets one at
    the cost of the newest job of the address with most.
    """

    def __init__(self, *, at_once: int, each: int, waiting: int, waiting_each: int):
        self._at_once, self._each = at_once, each
        self._most, self._most_each = waiting, waiting_each
        self._running: list[Place] = []
        self._waiting: list[Place] = []  # the newest last
        self._given = 0  # turns
        self._last: dict[Hashable, int] = {}  # number of the last turn of each address
        # Reentrant: a generator may be collected, and end its turn, in a thread that has it.
        self._changed = threading.Condition(threading.RLock())

    @property
    def busy(self) -> bool:
        """Whether a job has its turn."""
        return bool(self._running)

    @contextmanager
    def turn(
        self, address: Hashable, report: Report = unheard, *, purpose: object = None
    ) -> Iterator[None]:
        """Wait for a turn, which ends with the block. purpose: see `is_wanted`.

        Raise Busy if there is no place to wait, and whatever `report` raises.
        """
        with self.place(address, purpose=purpose) as place:
            for before in self.wait(place):
                checkpoint()
                report(0.0, strings.waiting(before))
            yield

    @contextmanager
    def place(self, address: Hashable, *, purpose: object = None) -> Iterator[Place]:
        """Take a place, which is given up at the end of the block; raise Busy if there is none."""
        place = Place(address, purpose)
        with self._changed:
            self._waiting.append(place)
            self._last.setdefault(address, self._given - self._at_once)
            self._admit()
            if not place.has_turn:
                self._check_room(place)
        try:
            yield place
        finally:
            with self._changed:
                taken = self._running if place.has_turn else self._waiting
                if place in taken:
                    taken.remove(place)
                self._admit()

    def wait(self, place: Place) -> Iterator[int]:
        """Yield how many jobs are before a place, several times a second, until it has its turn.

        Raise Busy when the place is lost.
        """
        while True:
            with self._changed:
                self._changed.wait_for(lambda: place.has_turn or place.lost, _LOOK)
                if place.lost:
                    raise Busy(strings.QUEUE_FULL)
                if place.has_turn:
                    return
                before = len(self._running) + self._order().index(place)
            yield before

    def is_wanted(self, purpose: object) -> bool:
        """Return whether a job of another purpose waits."""
        with self._changed:
            return any(place.purpose != purpose for place in self._waiting)

    def _admit(self) -> None:
        """Give turns as long as there are any."""
        for place in self._order():
            running = sum(other.address == place.address for other in self._running)
            if len(self._running) < self._at_once and running < self._each:
                self._waiting.remove(place)
                self._running.append(place)
                self._given += 1
                self._last[place.address] = self._given
                place.has_turn = True
        if len(self._last) > _MOST_KNOWN:
            present = {place.address for place in (*self._running, *self._waiting)}
            self._last = {key: last for key, last in self._last.items() if key in present}
        self._changed.notify_all()

    def _order(self) -> list[Place]:
        """Return those who wait in the order of their turns."""
        keys = {}
        first, before = dict[Hashable, int](), Counter[Hashable]()
        for arrived, place in enumerate(self._waiting):
            address = place.address
            keys[place] = before[address], self._last[address], first.setdefault(address, arrived)
            before[address] += 1
        return sorted(self._waiting, key=keys.__getitem__)

    def _check_room(self, new: Place) -> None:
        """Take away the place of the newest job of whoever has too many; raise Busy if it is `new`.

        An address does not lose a place to one that would then have more.
        """
        own = self._of(new.address)
        if len(own) > self._most_each:
            self._waiting.remove(new)
            raise Busy(strings.own_jobs(len(own) - 1))
        if len(self._waiting) <= self._most:
            return
        most = max((self._of(place.address) for place in self._waiting), key=len)
        loser = most[-1] if len(most) > len(own) else new
        self._waiting.remove(loser)
        if loser is new:
            raise Busy(strings.QUEUE_FULL)
        loser.lost = True
        self._changed.notify_all()

    def _of(self, address: Hashable) -> list[Place]:
        return [place for place in self._waiting if place.address == address]
