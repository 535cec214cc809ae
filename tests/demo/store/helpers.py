"""Types and constants that the tests of the store share."""

from pathlib import Path
from typing import NamedTuple

from demo.sessions import Visitor
from demo.store import Result

SENTENCE = "This result no longer exists; press Segment again."


class Kept(NamedTuple):
    """A result and where its files lie, or lay."""

    result: Result
    folder: Path

    @property
    def id(self) -> str:
        return self.result.id


class Clock:
    """A clock of seconds since any moment, set by the test."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now

    def at(self, seconds: float) -> None:
        """Set it to seconds after its start."""
        self.now = 1000.0 + seconds


class Asking:
    """Who asks a store: one visitor after another."""

    who = "Ann"

    def __call__(self) -> Visitor:
        return Visitor(f"address of {self.who}", self.who)
