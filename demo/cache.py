"""The folder of files that Gradio receives and sends, and the deletion of what is old there."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple


class _Seen(NamedTuple):
    """The state of a file, and since when it has been seen in it."""

    state: tuple[int, ...]
    since: float


class Cache:
    """Deletes files and empty folders that have been seen unchanged for some time.

    Ages are those of a clock that nobody sets, not the times of the files, so that nothing is
    deleted too early, or kept for ever, when the time of day is corrected. Gradio's own
    `delete_cache` leaves the folders and an empty file for every upload, and ends for good when a
    file appears while it lists the folder.
    """

    def __init__(self, folder: Path, clock: Callable[[], float]):
        self.folder = folder
        self._clock = clock
        self._lasting: frozenset[Path] = frozenset()
        self._seen: dict[Path, _Seen] = {}
        self._lock = threading.Lock()

    def keep(self) -> None:
        """Keep for good the files that are there now."""
        self._lasting = frozenset(self.folder.rglob("*"))

    def touch(self, file: Path) -> None:
        """Take a file for new, so that it is not deleted while it is used."""
        with self._lock:
            self._seen.pop(file, None)

    def sweep(self, seconds: float) -> int:
        """Delete what has been seen unchanged for as long; return how many files that were."""
        deleted = 0
        with self._lock:
            before, self._seen = self._seen, {}
            for path in self._paths():
                with suppress(OSError):  # not empty, or deleted meanwhile
                    seen = self._look(path, before)
                    self._seen[path] = seen
                    if self._clock() - seen.since >= seconds:
                        deleted += _delete(path)
                        del self._seen[path]
        return deleted

    def _paths(self) -> Iterator[Path]:
        """Yield everything in the folder that may go, each folder after what it holds."""
        for place, folders, names in os.walk(self.folder, topdown=False):
            for path in (Path(place, name) for name in (*names, *folders)):
                if path not in self._lasting:
                    yield path

    def _look(self, path: Path, before: dict[Path, _Seen]) -> _Seen:
        found = path.lstat()
        state = found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
        known = before.get(path)
        return known if known and known.state == state else _Seen(state, self._clock())


def _delete(path: Path) -> int:
    """Delete a file, or a folder that is empty; return how many files that were."""
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
        return 0
    path.unlink()
    return 1
