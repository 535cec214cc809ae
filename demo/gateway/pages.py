"""The sessions that are known: so many of each address, and no more than Gradio can keep."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .rates import counted
from .said import FULL_HOUSE, TOO_MANY_PAGES, Refusal

_OPEN_EACH = 40  # pages of one address that are open
_KEPT_EACH = 120  # sessions of one address that are remembered, open or not
_TOGETHER = 1000


class Pages:
    """Sessions and who has them: open while a request listens for them, forgotten when too many.

    `forget` is told of a session that goes, and returns False if it cannot go yet.
    """

    def __init__(self, forget: Callable[[str], bool]):
        self._forget = forget
        self._of: OrderedDict[str, str] = OrderedDict()  # the address of each session
        self._kept: Counter[str] = Counter()  # sessions of each address
        self._listening: Counter[str] = Counter()  # requests that listen, of each session

    def is_open(self, session: str) -> bool:
        """Return whether somebody listens for a session."""
        return self._listening[session] > 0

    def check_room(self, address: str) -> None:
        """Make room for one more session of an address; raise Refusal if there is none."""
        if self._kept[address] >= _KEPT_EACH and not self._make_room(address):
            raise Refusal(429, TOO_MANY_PAGES, wait=10)
        if len(self._of) >= _TOGETHER and not self._make_room(None):
            raise Refusal(503, FULL_HOUSE, wait=60)

    def arrive(self, address: str, session: str) -> None:
        """Note that an address uses a session; raise Refusal for one session too many."""
        if session in self._of:
            self._of.move_to_end(session)
            return
        self.check_room(address)
        self._of[session] = address
        self._kept[address] += 1

    @contextmanager
    def listening(self, address: str, session: str) -> Iterator[None]:
        """Keep a session open while the block runs; raise Refusal for one too many."""
        self.arrive(address, session)
        opened = {one for one in self._listening if self._of.get(one) == address}
        if session not in opened and len(opened) >= _OPEN_EACH:
            raise Refusal(429, TOO_MANY_PAGES, wait=10)
        with counted(self._listening, session):
            yield

    def _make_room(self, address: str | None) -> bool:
        """Forget the session of an address, or of any, that was not used for longest."""
        for session, owner in self._of.items():
            if address in (None, owner) and not self.is_open(session) and self._forget(session):
                self._drop(session)
                return True
        return False

    def _drop(self, session: str) -> None:
        owner = self._of.pop(session)
        self._kept[owner] -= 1
        if not self._kept[owner]:
            del self._kept[owner]
