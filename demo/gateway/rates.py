"""How often, and how many at once, an address may ask."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from .said import BUSY, TOO_MANY, TOO_OFTEN, Refusal

_MOST_KNOWN = 10_000  # addresses that are remembered


class Rate:
    """Admits so many requests a second of each address, and more for a short time."""

    def __init__(self, a_second: float, burst: int):
        self._a_second = a_second
        self._burst = burst
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # requests, when

    def take(self, address: str) -> None:
        """Count a request; raise Refusal for one too many."""
        now = time.monotonic()
        left, when = self._left.pop(address, (float(self._burst), now))
        left = min(self._burst, left + (now - when) * self._a_second)
        self._left[address] = (max(left - 1, 0), now) if left >= 1 else (left, now)
        while len(self._left) > _MOST_KNOWN:
            self._left.popitem(last=False)
        if left < 1:
            raise Refusal(429, TOO_OFTEN, wait=max(1, round(1 / self._a_second)))


@contextmanager
def counted(counts: Counter[str], key: str, by: int = 1) -> Iterator[None]:
    """Add to a count while the block runs; counts of 0 are not kept."""
    counts[key] += by
    try:
        yield
    finally:
        counts[key] -= by
        if not counts[key]:
            del counts[key]


class AtOnce:
    """Admits so many requests at the same time, of each address and of all together."""

    def __init__(self, each: int, together: int):
        self._each = each
        self._together = together
        self._open: Counter[str] = Counter()

    @contextmanager
    def one(self, address: str) -> Iterator[None]:
        """Count a request while the block runs; raise Refusal for one too many."""
        if self._open[address] >= self._each:
            raise Refusal(429, TOO_MANY, wait=1)
        if self._open.total() >= self._together:
            raise Refusal(503, BUSY, wait=2)
        with counted(self._open, address):
            yield
