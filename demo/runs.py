"""Progress of a job, and how it is cancelled."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from enum import Enum

from bavos_core import Cancelled
from bavos_core.progress import Progress, Stage

from .turns import Report

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


class Kind(Enum):
    """The kinds of jobs; those of one kind are cancelled together."""

    SEGMENTING = "segmenting"
    FILES = "making files"
    TRAINING = "training"


class Runs:
    """The jobs that run or wait, each with its own flag, its kind and its owner.

    An owner is a session, or any object that nobody else has, so that no text that a client sends
    can name the job of another one.
    """

    def __init__(self) -> None:
        self._owners: dict[StopFlag, tuple[Kind, object]] = {}

    @property
    def active(self) -> bool:
        """Whether there is any job."""
        return bool(self._owners)

    @contextlib.contextmanager
    def cancellable(self, kind: Kind, owner: object) -> Iterator[StopFlag]:
        """Yield a flag that `cancel` sets while the block runs."""
        flag = StopFlag()
        self._owners[flag] = kind, owner
        try:
            yield flag
        finally:
            del self._owners[flag]

    def cancel(self, owner: object, *kinds: Kind) -> bool:
        """Ask the jobs of an owner, of these kinds or of all, to stop; return whether any is."""
        asked = [
            flag
            for flag, (kind, whose) in tuple(self._owners.items())
            if whose == owner and (not kinds or kind in kinds)
        ]
        for flag in asked:
            flag.set()
        return bool(asked)

    def cancel_all(self) -> None:
        """Ask every job to stop."""
        for flag in tuple(self._owners):
            flag.set()
