"""The one bounded store of results: ids that cannot be guessed, each good for its visitor only."""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from bavos_core import Analysis, InputError

_PREFIX = "bavos-"
_LOCK = ".in-use"
_MOST_PREVIEWS = 64


@dataclass(frozen=True)
class Result:
    """One analysed clip and the folder that its files are written to."""

    id: str
    owner: str  # the session that may see it
    analysis: Analysis
    clip: Path  # a copy of its own, in the folder
    notices: tuple[str, ...]
    folder: Path
    before: str | None  # id of the result that this one was adapted from
    made: float  # seconds of the monotonic clock
    stop: threading.Event = field(default_factory=threading.Event)  # asks what runs on it to end
    writing: threading.Lock = field(default_factory=threading.Lock)  # one file at a time

    @property
    def nbytes(self) -> int:
        """Memory of the analysis and size of the clip."""
        return self.analysis.nbytes + self.clip.stat().st_size


class Store:
    """Keeps the latest results; the oldest go with their files, and all go after a time.

    `whose` tells the session that asks now. Who does not own a result is told that there is none.
    """

    def __init__(
        self,
        *,
        most_bytes: float = float("inf"),
        keep_seconds: float = float("inf"),
        whose: Callable[[], str] = str,
    ):
        self._most_bytes = most_bytes
        self._keep_seconds = keep_seconds
        self._whose = whose
        self._results: OrderedDict[str, Result] = OrderedDict()
        self._previews: OrderedDict[Path, tuple[Path, float]] = OrderedDict()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._lasting: frozenset[Path] = frozenset()
        sweep_left_behind()
        self.root = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self.cache = self.root / "gradio"  # where Gradio keeps what it gets and what it sends
        self._in_use = FileLock(self.root / _LOCK)
        self._in_use.acquire()

    def put(
        self,
        analysis: Analysis,
        clip: Path,
        notices: tuple[str, ...],
        *,
        before: str | None = None,
    ) -> Result:
        """Keep a result, with a copy of its clip, and return it with its id."""
        key = secrets.token_urlsafe(24)
        folder = self.new_folder()
        own = _linked(clip, folder / f"clip{clip.suffix.lower()}")
        made = time.monotonic()
        result = Result(key, self._whose(), analysis, own, notices, folder, before, made)
        with self._lock:
            self._results[key] = result
            self._forget(self._too_many())
        return result

    def get(self, key: str) -> Result:
        """The result with this id. Raises InputError when this visitor has none (any more)."""
        with self._lock:
            self._forget(self._too_old())
            result = self._results.get(key)
            if result is None or result.owner != self._whose():
                raise InputError("There is no such result (any more); press Segment again.")
            self._results.move_to_end(key)
            return result

    def drop(self, key: str) -> None:
        """Forget a result and delete its files."""
        with self._lock:
            self._forget([key] if key in self._results else [])

    def drop_all_of(self, owner: str) -> None:
        """Forget the results of a session that ended."""
        with self._lock:
            self._forget([key for key, result in self._results.items() if result.owner == owner])

    def sweep(self) -> None:
        """Forget what has been kept for as long as was promised."""
        _sweep_cache(self.cache, time.time() - self._keep_seconds, self._lasting)
        oldest = time.monotonic() - self._keep_seconds
        with self._lock:
            self._forget(self._too_old())
            for clip, (folder, used) in list(self._previews.items()):
                if used < oldest:
                    del self._previews[clip]
                    shutil.rmtree(folder, ignore_errors=True)

    def keep_cached(self) -> None:
        """What is in the cache now belongs to the page and stays until the store is closed."""
        self._lasting = frozenset(self.cache.rglob("*"))

    def sweep_for_ever(self) -> None:
        """Sweep at least once a minute, until the store is closed."""
        while not self._closed.wait(min(60, self._keep_seconds)):
            self.sweep()
            _give_memory_back()

    def preview_folder(self, clip: Path) -> Path:
        """A folder for files made from a clip before it is analysed; the oldest are dropped."""
        with self._lock:
            folder, _ = self._previews.pop(clip, (None, None))
            folder = folder or self.new_folder()
            self._previews[clip] = folder, time.monotonic()
            while len(self._previews) > _MOST_PREVIEWS:
                shutil.rmtree(self._previews.popitem(last=False)[1][0], ignore_errors=True)
        return folder

    def lasting_file(self, suffix: str) -> Path:
        """A name for a file that stays until the store is closed."""
        return self.root / f"{secrets.token_hex(16)}{suffix}"

    def new_folder(self) -> Path:
        """A folder that is never named after anything a user sent."""
        folder = self.root / secrets.token_hex(16)
        folder.mkdir()
        return folder

    def close(self) -> None:
        """Delete all files."""
        self._closed.set()
        with self._lock:
            self._results.clear()
        self._in_use.release()
        shutil.rmtree(self.root, ignore_errors=True)

    def _too_many(self) -> list[str]:
        """The oldest, until the rest fits; the newest stays whatever its size."""
        room = self._most_bytes
        too_many = []
        for key, result in reversed(self._results.items()):
            room -= result.nbytes
            if room < 0 and key != next(reversed(self._results)):
                too_many.append(key)
        return too_many

    def _too_old(self) -> list[str]:
        oldest = time.monotonic() - self._keep_seconds
        return [key for key, result in self._results.items() if result.made < oldest]

    def _forget(self, keys: list[str]) -> None:
        for key in keys:
            shutil.rmtree(self._results.pop(key).folder, ignore_errors=True)


def sweep_left_behind() -> None:
    """Delete the folders of servers that were killed: nobody holds their locks any more."""
    for lock in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/{_LOCK}"):
        try:
            with FileLock(lock, timeout=0):
                shutil.rmtree(lock.parent, ignore_errors=True)
        except (Timeout, PermissionError):
            continue  # in use, or of another user


def _sweep_cache(folder: Path, oldest: float, lasting: frozenset[Path]) -> None:
    """Delete files, and empty folders, that have not been touched since a time.

    Gradio could do so itself (`delete_cache`), but leaves the folders, and an empty file for every
    upload that it hands over, and stops for good when a file comes while it looks.
    """
    for place, _, names in os.walk(folder, topdown=False):
        for path in (*(Path(place, name) for name in names), Path(place)):
            with suppress(OSError):  # a folder that is not empty, or what just went
                if path in lasting or path == folder or path.stat().st_ctime > oldest:
                    continue
                if path.is_dir():
                    path.rmdir()
                else:
                    path.unlink()


def _give_memory_back() -> None:
    """To the system, on Linux: its C library keeps what was freed in any of the many threads."""
    with suppress(OSError, AttributeError, TypeError):  # another system, or another library
        ctypes.CDLL(None).malloc_trim(0)


def _linked(file: Path, target: Path) -> Path:
    """A second name for a file that outlives the first; a copy where links cannot be made."""
    try:
        os.link(file, target)
    except OSError:
        shutil.copyfile(file, target)
    return target
