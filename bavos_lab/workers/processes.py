"""Workers that are processes of this machine.

Each has a pipe to the driver and one item in hand, so a worker that is killed costs that item only
and is replaced. Written on processes rather than on executors of the standard library, which give
up all work when one process dies and cannot stop a process that is busy.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from multiprocessing.connection import Connection, wait

from bavos_io.errors import InputError
from bavos_io.process import prepare_process

from . import Numbered, Results, Share, Task, Unfit

_SPAWN = multiprocessing.get_context("spawn")  # threads of the driver would not survive a fork
_FALSE_STARTS = 3  # workers in a row that may die before they are ready


def over_processes(task: Task, items: Iterable[Numbered], share: Share) -> Results:
    """Yield (number, result) of every item as results come; None where a worker was lost.

    All workers are stopped when the generator is closed. Raise InputError if the task cannot be
    done or workers cannot be started.
    """
    left, false_starts = _Left(items), 0
    crew = [_Worker(task, share, number) for number in range(left.at_most(share.workers))]
    try:
        while crew:
            for worker in _heard(crew):
                done, result = worker.doing, worker.answer()
                if isinstance(result, Unfit):
                    raise InputError(result.sentence)
                if worker.lost:
                    false_starts += done is None
                    _check_starts(false_starts, worker)
                    crew.remove(worker)
                    wanted = left.at_most(1)  # none if no item is left
                    crew += [_Worker(task, share, worker.number) for _ in range(wanted)]
                elif not worker.give(left.take()):
                    crew.remove(worker)
                if done is not None:
                    false_starts = 0
                    yield done, result
    finally:
        for worker in crew:
            worker.stop()


def _heard(crew: list[_Worker]) -> list[_Worker]:
    """Return the workers that have an answer or have died; wait for the first."""
    lines = wait([worker.line for worker in crew])
    return [worker for worker in crew if worker.line in lines]


def _check_starts(false_starts: int, worker: _Worker) -> None:
    if false_starts >= _FALSE_STARTS:
        raise InputError(
            f"{false_starts} workers in a row ended before they were ready (the last with "
            f"{worker.process.exitcode}); see the messages above, or use fewer --workers."
        )


class _Left:
    """The items that no worker has had, of which a few may be looked at ahead."""

    def __init__(self, items: Iterable[Numbered]) -> None:
        self._items = iter(items)
        self._ahead: deque[Numbered] = deque()

    def at_most(self, most: int) -> int:
        """Return how many there are, up to a number."""
        self._ahead.extend(islice(self._items, max(0, most - len(self._ahead))))
        return min(most, len(self._ahead))

    def take(self) -> Numbered | None:
        """Return the next one; None when there is none."""
        return self._ahead.popleft() if self.at_most(1) else None


class _Worker:
    """A process, the driver's end of its pipe, and the number of the item that it has in hand."""

    def __init__(self, task: Task, share: Share, number: int) -> None:
        self.number = number
        self.doing: int | None = None
        self.lost = False
        self.line, theirs = _SPAWN.Pipe()
        self.process = _SPAWN.Process(target=_serve, args=(theirs, task), daemon=True)
        with _environment(share.environment(number)):
            self.process.start()
        theirs.close()  # so that the pipe ends when the process does

    def answer(self) -> object:
        """Return what the process sent; None, and `lost`, if it has died."""
        try:
            return self.line.recv()
        except (EOFError, ConnectionError):
            self.lost = True
            self.stop()
            return None
        finally:
            self.doing = None

    def give(self, item: Numbered | None) -> bool:
        """Give it an item; without one, let it end and return False."""
        if item is None:
            self.line.close()
            self.process.join()
            return False
        self.doing = item[0]
        with suppress(ConnectionError):  # it has died meanwhile: the next answer says so
            self.line.send(item[1])
        return True

    def stop(self) -> None:
        """Kill the process."""
        self.process.kill()
        self.process.join()
        self.line.close()


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Set environment variables for a process that is started meanwhile."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _serve(line: Connection, task: Task) -> None:
    """Work on items until the pipe ends. Ctrl-C, which all processes get, is the driver's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    prepare_process()
    try:
        work = task.begin()
    except InputError as error:
        line.send(Unfit(str(error)))
        return
    answer: object = None
    try:
        while True:
            line.send(answer)
            answer = work(line.recv())
    except (EOFError, ConnectionError):
        return  # the driver has ended
