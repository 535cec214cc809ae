"""A run: all clips of a source through the workers, in rounds, and what is written of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import replace

from bavos_lab.options import Over
from bavos_lab.workers import Numbered, Task

from .journal import Journal
from .ledger import Ledger
from .manifest import write_manifest
from .meter import Meter, shown_meter
from .rows import Item, Row, Status
from .sheet import write_sheet
from .target import open_target

_PUBLISH = 60.0  # seconds between manifests of a run that goes on
_SHARE = 0.02  # of the time of a run that these may take
_LOST = (
    "Its worker was lost each time, and it may need more memory than a worker has; use fewer "
    "workers, or fewer frames or patches."
)


class Batch:
    """A run over the clips of a source, and its rows."""

    def __init__(self, out: str, source: Iterable[Item], count: int, *, retries: int = 2) -> None:
        """Describe a run. count: clips in the source; retries: at what may pass."""
        self.target = open_target(out)
        self.meter = Meter(count)
        self._source = source
        self._retries = retries
        self._journal = Journal(count)
        self._published = time.monotonic()
        self._took = 0.0  # seconds to write the manifest

    def run(self, task: Task, over: Over) -> Meter:
        """Work on all clips that are not done, and write the manifest and the contact sheet.

        over: spreads a task over workers. Whatever stops the run, both say what was done until
        then. Raise InputError if nothing can go on.
        """
        Ledger(self.target).clean()
        try:
            with shown_meter(self.meter) as show:
                self._rounds(task, over, show)
        finally:
            self.target.clean()
            if self.meter.finished:  # else those of an earlier run say more
                self._publish()
                write_sheet(self.target, self._journal, self.meter)
        return self.meter

    def _rounds(self, task: Task, over: Over, show: Callable[[], None]) -> None:
        """Work on all clips, then again on those that failed for now, up to the bound."""
        pending: Iterable[Numbered] = enumerate(self._source)
        for attempt in range(1, self._retries + 2):
            again: list[Numbered] = []
            with closing(_results(task, over, pending)) as results:
                for number, item, row in results:
                    if row.status is Status.FAILED and attempt <= self._retries:
                        again.append((number, item))
                    else:
                        self._keep(number, replace(row, attempts=attempt))
                        show()
            if not again:
                return
            pending = sorted(again, key=lambda numbered: numbered[0])

    def _keep(self, number: int, row: Row) -> None:
        self.meter.add(row)
        self._journal.add(number, row)
        if time.monotonic() - self._published > max(_PUBLISH, self._took / _SHARE):
            self._publish()

    def _publish(self) -> None:
        began = time.monotonic()
        write_manifest(self.target, self._journal)
        self._published = time.monotonic()
        self._took = self._published - began


def _results(
    task: Task, over: Over, pending: Iterable[Numbered]
) -> Generator[tuple[int, Item, Row], None, None]:
    """Yield number, item and row of clips as they are done; keep only those in hand in memory."""
    in_hand: dict[int, Item] = {}

    def taken() -> Iterator[Numbered]:
        for number, item in pending:
            in_hand[number] = item
            yield number, item

    with closing(over(task, taken())) as results:
        for number, row in results:
            item = in_hand.pop(number)
            yield number, item, row or _lost(item)


def _lost(item: Item) -> Row:
    return Row(source=item.shown, status=Status.FAILED, error=_LOST, start=item.start,
               end=item.end, settings=item.settings.as_shown())  # fmt: skip
