"""Checks of values that come from outside: each raises InputError with one sentence."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TypeGuard

from bavos_core import InputError
from bavos_io.errors import echo

_LONGEST = 100  # characters of a name
_EXACT = 2**53  # above which JSON's numbers are not exact


def whole(value: object, name: str, least: int, most: int) -> int:
    """Return a whole number within bounds; name: what it is, for the message."""
    if is_number(value) and float(value).is_integer() and least <= value <= most:
        return int(value)
    raise InputError(f"{name} is {_told(value)}; give a whole number from {least:,} to {most:,}.")


def number(value: object, name: str, least: float, most: float) -> float:
    """Return a number within bounds."""
    if is_number(value) and least <= value <= most:
        return float(value)
    raise InputError(f"{name} is {_told(value)}; give a number from {least:,g} to {most:,g}.")


def text(value: object, name: str) -> str:
    """Return a short text."""
    if isinstance(value, str) and len(value) <= _LONGEST:
        return value
    raise InputError(f"{name} is {echo(value)}; give a text of at most {_LONGEST} characters.")


def one_of(value: object, name: str, choices: Iterable[str]) -> str:
    """Return one of the choices."""
    known = list(choices)
    if isinstance(value, str) and value in known:
        return value
    raise InputError(f"{name} is {echo(value)}; choose {', '.join(filter(None, known))}.")


def is_number(value: object) -> TypeGuard[int | float]:
    """Return whether a value of a JSON document is a finite number; true and false are none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value) < _EXACT
    return isinstance(value, float) and math.isfinite(value)


def _told(value: object) -> str:
    """Return a value for a message; JSON does not tell 3 from 3.0."""
    same = isinstance(value, float) and abs(value) < _EXACT and value.is_integer()
    return echo(int(value) if isinstance(value, float) and same else value)
