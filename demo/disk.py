"""How much may lie on the disk: everything below one folder, and what is announced to come."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bavos_core import InputError
from bavos_core.progress import Progress, Stage

FULL = "The server's disk is full; try again in a few minutes."
_FRESH = 1.0  # seconds that a count is good for


class Disk:
    """Bounds the bytes of a folder. `spare` deletes something that nobody needs, if there is any.

    Hard links to one file count once.
    """

    def __init__(self, root: Path, most_bytes: float, spare: Callable[[], bool]):
        self._root = root
        self.most_bytes = most_bytes
        self._spare = spare
        self._announced = 0
        self._counted = (float("-inf"), 0)  # when, and how many bytes
        self._lock = threading.RLock()

    def used_bytes(self) -> int:
        """Return the bytes of all files, and of those that are announced."""
        with self._lock:
            when, found = self._counted
            if time.monotonic() - when > _FRESH:
                found = self._count()
            return found + self._announced

    def make_room(self, nbytes: int) -> None:
        """Delete what nobody needs until some more bytes fit; raise InputError if they do not."""
        with self._lock:
            while self.used_bytes() + nbytes > self.most_bytes:
                if not self._spare():
                    raise InputError(FULL)
                self._count()

    @contextmanager
    def announced(self, nbytes: int) -> Iterator[None]:
        """Count bytes that are to come while the block runs; raise InputError for too many."""
        with self._lock:
            self.make_room(nbytes)
            self._announced += nbytes
        try:
            yield
        finally:
            with self._lock:
                self._announced -= nbytes
                self._counted = (float("-inf"), 0)

    def watching(self, progress: Progress) -> Progress:
        """Return the same callback, which also raises InputError when the disk is full."""

        def watched(stage: Stage, share: float) -> None:
            self.make_room(0)
            progress(stage, share)

        return watched

    def _count(self) -> int:
        found = _bytes_below(self._root)
        self._counted = (time.monotonic(), found)
        return found


def _bytes_below(root: Path) -> int:
    sizes: dict[tuple[int, int], int] = {}
    for place, _, names in os.walk(root):
        for name in names:
            with suppress(OSError):  # deleted meanwhile
                found = os.lstat(os.path.join(place, name))
                sizes[found.st_dev, found.st_ino] = found.st_size
    return sum(sizes.values())
