"""How long work is stopped from outside, wherever it is.

Whoever waits for work wraps it in `stoppable`. The work calls `checkpoint` at least once a second,
and there the waiting side can end it with an exception. No function has to pass anything on.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar, cast

Check = Callable[[], None]  # raises an exception to stop the work
Work = TypeVar("Work", bound=Callable[..., Any])

_checks: ContextVar[tuple[Check, ...]] = ContextVar("checks", default=())


class _Stop(BaseException):
    """Carries an exception past whoever takes any Exception for a damaged file."""

    def __init__(self, check: Check, error: Exception):
        super().__init__()
        self.check = check
        self.error = error


@contextmanager
def stoppable(check: Check) -> Iterator[None]:
    """Let `checkpoint` call a function in all that this block does; raise what it raises.

    Not for blocks with a `yield` in them, since the next step may run in another context.
    """
    token = _checks.set((*_checks.get(), check))
    try:
        yield
    except _Stop as stop:
        if stop.check is not check:
            raise
        raise stop.error from None
    finally:
        _checks.reset(token)


def checkpoint() -> None:
    """Let the work end here if it was asked to."""
    for check in _checks.get():
        try:
            check()
        except Exception as error:
            raise _Stop(check, error) from error


def reporting(work: Work) -> Work:
    """Let the callback that a function takes as `progress` stop it at every checkpoint, too.

    There, the last report is repeated.
    """

    @functools.wraps(work)
    def stopped(*args: Any, progress: Callable[..., None] | None = None, **more: Any) -> Any:
        if not progress:
            return work(*args, **more)
        last: tuple[Any, ...] = ()

        def report(*now: Any) -> None:
            nonlocal last
            last = now
            progress(*now)

        with stoppable(lambda: progress(*last) if last else None):
            return work(*args, progress=report, **more)

    return cast(Work, stopped)


class StoppableFile(io.FileIO):
    """A file that calls `checkpoint` whenever it is read or written."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as files do. `FileIO.read` does not go through `readinto`."""
        checkpoint()
        return super().read(-1 if size is None else size) or b""

    def write(self, data: Any) -> int:
        """Write as files do."""
        checkpoint()
        return super().write(data) or 0
