"""The jobs of visitors: whose turn it is, and who can cancel them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from bavos_io.stopping import stoppable

from .runs import Kind, Runs, StopFlag
from .sessions import Visitor, leaving
from .turns import Place, Report, Turns, unheard

BRIEF_WAITING = 64  # short pieces of work that may wait


class Jobs:
    """Whose turn it is, and who asks. A job takes one turn after another, never one inside another.

    `whose` returns who makes the current request: turns go by address, cancelling by session.
    """

    def __init__(self, queue_size: int, whose: Callable[[], Visitor]):
        self._whose = whose
        self.runs = Runs()
        most = -(-queue_size // 2)
        self.lane = Turns(at_once=1, each=1, waiting=queue_size, waiting_each=most)
        self.brief = Turns(at_once=4, each=2, waiting=BRIEF_WAITING, waiting_each=16)

    def costly(self, report: Report, purpose: object = None) -> AbstractContextManager[None]:
        """Return the turn of a costly job: one is done at a time.

        Raise Busy if too many wait, and whatever `report` raises.
        """
        return self.lane.turn(self._whose().address, report, purpose=purpose)

    def place(self) -> AbstractContextManager[Place]:
        """Return the place of a costly job, for which `lane.wait` waits."""
        return self.lane.place(self._whose().address)

    @contextmanager
    def briefly(self, report: Report = unheard) -> Iterator[None]:
        """Have a turn for a short piece of work, which can be cancelled: few are done at once.

        Raise Busy if too many wait, and whatever `report` raises.
        """
        with self.cancellable(Kind.BRIEF), self.brief.turn(self._whose().address, report):
            yield

    @contextmanager
    def cancellable(self, kind: Kind) -> Iterator[StopFlag]:
        """Yield a flag that `cancel` sets; the block then ends at its next checkpoint.

        So it does when the client leaves. Not for blocks with a `yield`: see `stoppable`.
        """
        with self.flag(kind) as stop, stoppable(stop.check):
            yield stop

    def flag(self, kind: Kind) -> AbstractContextManager[StopFlag]:
        """Return a context for a job of whoever asks, with a flag that `cancel` sets."""
        return self.runs.cancellable(kind, self._whose().session or object(), leaving())

    def cancel(self, *kinds: Kind) -> bool:
        """Cancel the jobs of whoever asks, of these kinds or of all; return if there are any."""
        return self.runs.cancel(self._whose().session, *kinds)
