"""Measure how many workers one driver keeps busy, with workers that sleep and need no cores.

    python -m experiments.scheduler --out experiments/figures/scheduler.csv

Workers import this module, so it loads nothing heavy before `main`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from bavos_lab.workers import Share
from bavos_lab.workers.processes import over_processes

HEADS = ("workers", "items", "seconds_each", "speed")
SECONDS, EACH = 0.5, 40  # of an item; items a worker


@dataclass(frozen=True)
class Sleeping:
    """A task that sleeps for some seconds by each item."""

    seconds: float

    def begin(self) -> Callable[[int], int]:
        return self._work

    def _work(self, item: int) -> int:
        time.sleep(self.seconds)
        return item


def main() -> None:
    from experiments.common import markdown, parser_of, write_rows

    options = parser_of(str(__doc__)).parse_args()
    rows = write_rows(options.out, measured())
    print(markdown(HEADS, ([row[head] for head in HEADS] for row in rows), words=0))


def measured() -> Iterator[dict[str, Any]]:
    """Yield, for numbers of workers, their speed: work done in a second of time, in seconds."""
    for workers in (1, 2, 4, 8):
        results = over_processes(Sleeping(SECONDS), ((n, n) for n in range(workers * EACH)),
                                 Share(workers, threads=1))  # fmt: skip
        for _ in range(2 * workers):
            next(results)  # all have started by then
        start = time.perf_counter()
        done = sum(1 for _ in results)
        speed = done * SECONDS / (time.perf_counter() - start)
        yield dict(zip(HEADS, (workers, done, SECONDS, round(speed, 3)), strict=True))


if __name__ == "__main__":
    main()
