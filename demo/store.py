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
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from bavos_core import Analysis, InputError

_PREFIX = "bavos-"
_LOCK = ".in-use"
_MOST_PREVIEWS = 64
_GONE = "There is no such result (any more); press Segment again."


@dataclass(eq=False)
class _Room:
    """A folder that is deleted once it was given up and nobody is inside any more."""

    folder: Path
    inside: int = 0
    given_up: bool = False

    def give_up(self) -> None:
        self.given_up = True
        self.tidy()

    def tidy(self) -> None:
        if self.given_up and not self.inside:
            shutil.rmtree(self.folder, ignore_errors=True)


@dataclass(frozen=True)
class Result:
    """One analysed clip. Its files are reached by `Store.room` only, which keeps them meanwhile."""

    id: str
    owner: str  # the session that may see it
    analysis: Analysis
    clip: str  # name of a copy of its own, in the room
    notices: tuple[str, ...]
    before: str | None  # id of the result that this one was adapted from
    made: float  # seconds of the monotonic clock
    nbytes: int  # memory of the analysis and size of the clip
    _room: _Room
    stop: threading.Event = field(default_factory=threading.Event)  # asks what runs on it to end
    writing: threading.Lock = field(default_factory=threading.Lock)  # one file at a time
    cutting: threading.Lock = field(default_factory=threading.Lock)  # the same is asked for at once


class Store:
    """Keeps the latest results; the oldest go with their files, and all go after a time.

    None of them goes while somebody is in its room, unless its visitor leaves; then it can no more
    be asked for, and its files go when the room is empty.
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
        self._previews: OrderedDict[Path, tuple[_Room, float]] = OrderedDict()
        # Reentrant: a generator leaves its room wherever it is collected, even in a thread in here.
        self._lock = threading.RLock()
        self._closed = threading.Event()
        self._lasting: frozenset[Path] = frozenset()
        sweep_left_behind()
        self.root = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self.cache = self.root / "gradio"  # where Gradio keeps what it gets and what it sends
        self._in_use = FileLock(self.root / _LOCK)
        self._in_use.acquire()

    @contextmanager
    def put(
        self,
        analysis: Analysis,
        clip: Path,
        notices: tuple[str, ...],
        *,
        before: str | None = None,
    ) -> Iterator[Result]:
        """Keep a result, with a copy of its clip; in use until its first files are written.

        One that they cannot be written for is not kept: nobody was told its id.
        """
        key, name = secrets.token_urlsafe(24), f"clip{clip.suffix.lower()}"
        room = self._new_room()
        with self._inside(room) as folder:
            try:
                folder.mkdir()
                size = analysis.nbytes + _linked(clip, folder / name).stat().st_size
                made, owner = time.monotonic(), self._whose()
                result = Result(key, owner, analysis, name, notices, before, made, size, room)
                with self._lock:
                    self._results[key] = result
                    self._tidy()
                yield result
            except BaseException:
                with self._lock:
                    self._results.pop(key, None)
                    room.give_up()
                raise

    def get(self, key: str) -> Result:
        """The result with this id. Raises InputError when this visitor has none (any more)."""
        with self._lock:
            result = self._results.get(key)
            if result is None or result.owner != self._whose() or self._too_old(result):
                raise InputError(_GONE)
            self._results.move_to_end(key)
            return result

    def room(self, result: Result) -> AbstractContextManager[Path]:
        """The folder of a result, which stays until the block ends.

        Raises InputError when the result was dropped. Whose it is was checked by `get`.
        """
        return self._inside(result._room)

    def drop(self, key: str) -> None:
        """Forget a result and delete its files, as soon as nobody is in its room."""
        with self._lock:
            if result := self._results.pop(key, None):
                result._room.give_up()

    def drop_all_of(self, owner: str) -> None:
        """Forget the results of a session that ended."""
        with self._lock:
            for key in [key for key, result in self._results.items() if result.owner == owner]:
                self.drop(key)

    def sweep(self) -> None:
        """Forget what has been kept for as long as was promised."""
        _sweep_cache(self.cache, time.time() - self._keep_seconds, self._lasting)
        oldest = time.monotonic() - self._keep_seconds
        with self._lock:
            self._tidy()
            for clip, (room, used) in list(self._previews.items()):
                if used < oldest:
                    del self._previews[clip]
                    room.give_up()

    def touch(self, upload: Path) -> None:
        """Start the time of an upload anew, so that it is not swept away while it is used."""
        if self.cache in upload.parents:
            with suppress(OSError):
                os.utime(upload)

    def keep_cached(self) -> None:
        """What is in the cache now belongs to the page and stays until the store is closed."""
        self._lasting = frozenset(self.cache.rglob("*"))

    def sweep_for_ever(self) -> None:
        """Sweep at least once a minute, until the store is closed."""
        while not self._closed.wait(min(60, self._keep_seconds)):
            self.sweep()
            _give_memory_back()

    @contextmanager
    def preview_folder(self, clip: Path) -> Iterator[Path]:
        """A folder for files made from a clip before it is analysed; the oldest are dropped."""
        with ExitStack() as stay:
            with self._lock:
                room, _ = self._previews.pop(clip, (self._new_room(), 0))
                self._previews[clip] = room, time.monotonic()
                folder = stay.enter_context(self._inside(room))
                while len(self._previews) > _MOST_PREVIEWS:
                    self._previews.popitem(last=False)[1][0].give_up()
            folder.mkdir(exist_ok=True)
            yield folder

    def lasting_file(self, suffix: str) -> Path:
        """A name for a file that stays until the store is closed."""
        return self.root / f"{secrets.token_hex(16)}{suffix}"

    def close(self) -> None:
        """Delete all files, also those in use: nobody gets an answer from a server that ends."""
        self._closed.set()
        with self._lock:
            self._results.clear()
        self._in_use.release()
        shutil.rmtree(self.root, ignore_errors=True)

    def _new_room(self) -> _Room:
        """A room that is never named after anything a user sent."""
        return _Room(self.root / secrets.token_hex(16))

    @contextmanager
    def _inside(self, room: _Room) -> Iterator[Path]:
        with self._lock:
            if room.given_up or self._closed.is_set():
                raise InputError(_GONE)
            room.inside += 1
        try:
            yield room.folder
        except (OSError, InputError) as error:
            if self._closed.is_set():  # which took the folder away
                raise InputError(_GONE) from error
            raise
        finally:
            with self._lock:
                room.inside -= 1
                room.tidy()
                self._tidy()

    def _tidy(self) -> None:
        """Forget what is too old, and the oldest until the rest fits.

        What is in use counts but stays until it is not; the newest stays whatever its size.
        """
        used = sum(result.nbytes for result in self._results.values())
        newest = next(reversed(self._results), None)
        for key, result in list(self._results.items()):
            too_much = used > self._most_bytes and key != newest and not result._room.inside
            if too_much or self._too_old(result):
                self.drop(key)
                used -= result.nbytes

    def _too_old(self, result: Result) -> bool:
        return result.made < time.monotonic() - self._keep_seconds and not result._room.inside


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
    except FileNotFoundError as error:
        raise InputError("The clip is no longer on the server; upload it again.") from error
    except OSError:
        shutil.copyfile(file, target)
    return target
