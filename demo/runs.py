"""Progress of a run, how it is cancelled, and the lane that admits one analysis at a time."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from bavos_core import Cancelled, Settings
from bavos_core.progress import Progress, Stage

from . import strings

Report = Callable[[float, str], None]  # share of the whole run 0 … 1, what is being done
Job = tuple[Path | None, Settings]  # an example, or None for any other clip

_SPANS = {  # where each stage begins and ends in the progress bar
    Stage.DECODE: (0.0, 0.1),
    Stage.FEATURES: (0.1, 0.45),
    Stage.CLUSTERING: (0.45, 0.92),
    Stage.INSTANCES: (0.92, 1.0),
}


def staged(report: Report) -> Progress:
    """Return a callback that turns the progress of a stage into progress of the whole run."""

    def progress(stage: Stage, share: float) -> None:
        begin, end = _SPANS[stage]
        report(begin + share * (end - begin), str(stage))

    return progress


def single(report: Report) -> Progress:
    """Return a callback for work of a single stage, whose progress is that of the whole run."""
    return lambda stage, share: report(share, str(stage))


class StopFlag(threading.Event):
    """A request to stop, which takes effect at the next progress report."""

    def raising(self, report: Report) -> Report:
        """Return the same report, which raises Cancelled once the flag is set."""

        def checked(share: float, doing: str) -> None:
            if self.is_set():
                raise Cancelled
            report(share, doing)

        return checked


class Runs:
    """The runs in progress, one per session."""

    def __init__(self) -> None:
        self._flags: dict[str, StopFlag] = {}

    @property
    def active(self) -> bool:
        """Whether anything is running."""
        return bool(self._flags)

    @contextlib.contextmanager
    def cancellable(self, session: str) -> Iterator[StopFlag]:
        """Yield a flag that `cancel` sets while the block runs."""
        flag = self._flags.setdefault(session, StopFlag())
        try:
            yield flag
        finally:
            self._flags.pop(session, None)

    def cancel(self, session: str) -> bool:
        """Ask the run of a session to stop; return whether there is one."""
        flag = self._flags.get(session)
        if flag:
            flag.set()
        return flag is not None

    def cancel_all(self) -> None:
        """Ask every run to stop."""
        for flag in tuple(self._flags.values()):
            flag.set()


class Lane:
    """Admits one analysis at a time and knows which jobs wait."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[Job] = []

    @property
    def busy(self) -> bool:
        """Whether a clip is being analysed."""
        return self._lock.locked()

    @contextlib.contextmanager
    def turn(self, job: Job, report: Report) -> Iterator[None]:
        """Wait for the lane to be free and hold it for the block."""
        self._waiting.append(job)
        try:
            while not self._lock.acquire(timeout=0.2):
                report(0.0, strings.WAITING)
        finally:
            self._waiting.remove(job)
        try:
            yield
        finally:
            self._lock.release()

    def is_wanted(self, job: Job) -> bool:
        """Return whether a job other than this one waits."""
        return any(waiting != job for waiting in self._waiting)
