"""Names of version 0.1 that still work in 0.2, with a warning that gives the new name."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import ParamSpec, TypeVar

SOURCES = {"keys": "key-similarity", "learned": "correlator"}  # of attention
OPTIONS = {"--frame": "--clip-frame"}  # of the command line

P = ParamSpec("P")
R = TypeVar("R")


class OldNameWarning(FutureWarning):
    """A name of version 0.1 was used."""


def current(name: str, names: dict[str, str], *, stacklevel: int = 3) -> str:
    """Return the current name for one that may be of version 0.1; warn if it is."""
    if name in names:
        warnings.warn(
            f"{name} is now called {names[name]}; the old name will be removed in version 0.3.",
            OldNameWarning,
            stacklevel=stacklevel,
        )
    return names.get(name, name)


def current_source(name: str) -> str:
    """Return the current name of a source of attention; any other text stays as it is."""
    return current(name, SOURCES, stacklevel=4)


def renamed(**names: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator under which a function accepts keyword arguments by their old names."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> R:
            given = {current(name, names): value for name, value in kwargs.items()}
            return function(*args, **given)  # type: ignore[arg-type]

        return called

    return decorate
