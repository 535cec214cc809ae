"""Progress of a job, and how it is cancelled: at its next checkpoint (bavos_io.stopping)."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from enum import Enum

from bavos_core import Cancelled
from bavos_core.progress import Progress, Stage
from bavos_io.stopping import checkpoint, stoppable

from .turns import Report

_LOOK = 0.2  # seconds between looks of a job that waits for another

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
    """A request to stop."""

    def __init__(self, left: Callable[[], bool] | None = None):
        """Take a function that tells whether whoever asked for the work has left."""
        super().__init__()
        self._left = left or (lambda: False)

    def check(self) -> None:
        """Raise Cancelled once the flag is set or nobody waits any more; for `stoppable`."""
        if self.is_set() or self._left():
            raise Cancelled

    def raising(self, report: Report) -> Report:
        """Return the same report, which raises Cancelled once the flag is set."""

        def checked(share: float, doing: str) -> None:
            self.check()
            report(share, doing)

        return checked


class Kind(Enum):
    """The kinds of jobs; those of one kind are cancelled together."""

    SEGMENTING = "segmenting"
    FILES = "making files"
    ADAPTING = "training and clustering again"
    TRAINING = "training, which then ends with what was learned"
    BRIEF = "short work"


class Runs:
    """The jobs that run or wait, each with its own flag, its kind and its owner.

    An owner is a session, or any object that nobody else has, so that no text that a client sends
    can name the job of another one.
    """

    def __init__(self) -> None:
        self._owners: dict[StopFlag, tuple[Kind, object]] = {}
        self._closed = False
        # Reentrant: a generator may be collected, and end its job, in a thread that has it.
        self._changed = threading.Condition(threading.RLock())

    @property
    def active(self) -> bool:
        """Whether there is any job."""
        return bool(self._owners)

    @contextlib.contextmanager
    def cancellable(
        self, kind: Kind, owner: object, left: Callable[[], bool] | None = None
    ) -> Iterator[StopFlag]:
        """Yield a flag that `cancel` sets while the block runs. left: see `StopFlag`."""
        flag = StopFlag(left)
        with self._changed:
            self._owners[flag] = kind, owner
            if self._closed:
                flag.set()
        try:
            yield flag
        finally:
            with self._changed:
                del self._owners[flag]
                self._changed.notify_all()

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
        """Ask every job to stop, and those that still begin."""
        with self._changed:
            self._closed = True
            for flag in self._owners:
                flag.set()

    def ended(self, seconds: float) -> bool:
        """Wait for a while until no job runs; return whether none does."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._owners, seconds)


def stopped_by(stop: StopFlag | None) -> contextlib.AbstractContextManager[None]:
    """Return a context for work that ends at its next checkpoint when a flag is set, if any is."""
    return stoppable(stop.check) if stop else contextlib.nullcontext()


@contextlib.contextmanager
def held(lock: threading.Lock) -> Iterator[None]:
    """Hold a lock for the block; the wait for it can be stopped."""
    while not lock.acquire(timeout=_LOOK):
        checkpoint()
    try:
        yield
    finally:
        lock.release()
