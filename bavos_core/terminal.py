"""Progress on stderr: a bar on a terminal, and one line per minute elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

from .progress import Progress, Stage

_EVERY = 60.0  # seconds


@contextmanager
def shown_progress() -> Iterator[Progress]:
    """Yield a callback that shows progress on stderr."""
    if not (sys.stderr and sys.stderr.isatty()):
        yield lines()
        return
    with tqdm(total=100, bar_format="{desc:<24} {bar} {n:.0f} %", leave=False) as bar:

        def show(stage: Stage, share: float) -> None:
            bar.set_description_str(str(stage), refresh=False)
            bar.n = 100 * share
            bar.refresh()

        yield show


def lines(clock: Callable[[], float] = time.monotonic) -> Progress:
    """Return a callback that prints a line such as "decode: 40 %" each minute after the first.

    clock: returns seconds.
    """
    last = clock()

    def show(stage: Stage, share: float) -> None:
        nonlocal last
        now = clock()
        if now - last >= _EVERY:
            last = now
            print(f"{stage}: {int(100 * share)} %", file=sys.stderr, flush=True)

    return show
