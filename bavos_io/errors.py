"""The error for input that cannot be used, and how its messages show what was given."""

from __future__ import annotations

import reprlib

_LONGEST = 60  # characters


class InputError(ValueError):
    """Input that cannot be used.

    The message tells the user in one or two sentences what was wrong and what to do. The page shows
    it as a notice; the command line prints it and exits with status 2.
    """


class DecoderLost(InputError):
    """A decoder that ended early: by the clip's fault, or since the machine had no memory left."""


class _Short(reprlib.Repr):
    """Representations that cost little, however large and deep a value is."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother, self.maxlong = 3, _LONGEST, _LONGEST, _LONGEST

    def repr_int(self, x: int, level: int) -> str:
        """Return a whole number in digits, or only its size, since its digits may be too many."""
        return super().repr_int(x, level) if abs(x) < 10**_LONGEST else "a number of many digits"


def echo(value: object) -> str:
    """Return what was given, for messages: its representation in at most 60 characters."""
    shown = _Short().repr(value)
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 1]}…"
