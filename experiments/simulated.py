"""Work that needs no processor. Workers import it, so it loads nothing heavy."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Sleeping:
    """A task that sleeps for some seconds by each item."""

    seconds: float

    def begin(self) -> Callable[[int], int]:
        return self._work

    def _work(self, item: int) -> int:
        time.sleep(self.seconds)
        return item
