"""How far a run is, on stderr: a bar on a terminal, and one line per minute elsewhere."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tqdm import tqdm

from .rows import Row, Status

_EVERY = 60.0  # seconds between lines
_RECENT = 200  # clips from which the present pace is taken


@dataclass
class Meter:
    """Counts of a run, and its pace."""

    total: int
    clock: Callable[[], float] = time.monotonic
    counts: dict[Status, int] = field(default_factory=lambda: dict.fromkeys(Status, 0))
    made: int = 0
    frames: int = 0
    _recent: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=_RECENT))

    def __post_init__(self) -> None:
        self._recent.append((self.clock(), 0))

    @property
    def finished(self) -> int:
        """Clips of which it is known what became of them."""
        return sum(self.counts.values())

    @property
    def failed(self) -> int:
        """Clips without results."""
        return self.finished - self.counts[Status.DONE]

    def add(self, row: Row) -> None:
        """Count a clip."""
        self.counts[row.status] += 1
        if row.made:
            self.made += 1
            self.frames += row.frames or 0
            self._recent.append((self.clock(), row.frames or 0))

    def __str__(self) -> str:
        """Return the counts, the pace and the time left."""
        began = self._recent[0][0]
        seconds, clips = max(self.clock() - began, 1e-9), len(self._recent) - 1
        said = f"{self.finished:,} of {self.total:,} clips, {self.failed:,} failed"
        if not clips:
            return said
        frames = sum(count for _, count in list(self._recent)[1:])
        left = max(0, self.total - self.finished) * seconds / clips
        return (
            f"{said}; {clips / seconds:.3g} clips/s, {frames / seconds:.3g} frames/s, "
            f"{tqdm.format_interval(left)} left"
        )


@contextmanager
def shown_meter(meter: Meter) -> Iterator[Callable[[], None]]:
    """Yield a function that shows the meter, as often as people can read it."""
    if not (sys.stderr and sys.stderr.isatty()):
        yield lines(meter)
        return
    with tqdm(total=meter.total, bar_format="{bar:20} {desc}", leave=False) as bar:

        def show() -> None:
            bar.set_description_str(str(meter), refresh=False)
            bar.update(meter.finished - bar.n)

        yield show


def lines(meter: Meter) -> Callable[[], None]:
    """Return a function that prints the meter as one line each minute after the first."""
    last = meter.clock()

    def show() -> None:
        nonlocal last
        now = meter.clock()
        if now - last >= _EVERY:
            last = now
            print(meter, file=sys.stderr, flush=True)

    return show
