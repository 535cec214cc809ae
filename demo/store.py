"""The bounded store of results. Ids cannot be guessed, and each is valid in one session only."""

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
from dataclasses import dataclass, field, replace
from pathlib import Path

from filelock import FileLock, Timeout

from bavos_core import Analysis, InputError
from bavos_core.progress import Stage

_PREFIX = "bavos-"
_LOCK = ".in-use"
_MOST_PREVIEWS = 64
GONE = "This result no longer exists; press Segment again."


@dataclass(eq=False)
class _Room:
    """A folder that is deleted once it has been given up and no job uses it."""

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
    """One analysed clip. Its files are reached through `Store.room`, which keeps them in use."""

    id: str
    owner: str  # the session that may see it
    analysis: Analysis
    clip: str  # name of its own copy of the clip, in its folder
    notices: tuple[str, ...]
    before: str | None  # id of the result that this one was adapted from
    made: float  # seconds of the monotonic clock
    nbytes: int  # memory of the analysis and size of the clip
    _room: _Room
    painting_seconds: float = 0.0  # that its first overlay video took
    stop: threading.Event = field(default_factory=threading.Event)  # ends the training on it
    writing: threading.Lock = field(default_factory=threading.Lock)  # one file at a time
    cutting: threading.Lock = field(default_factory=threading.Lock)  # requests share one cut

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds of every stage of the run, the first overlay video included."""
        timings = dict(self.analysis.timings)
        return timings | (
            {Stage.MASKS.value: self.painting_seconds} if self.painting_seconds else {}
        )

    def check_position(self, position: int) -> None:
        """Raise InputError for a position that is not among the analysed frames."""
        last = len(self.analysis.frames) - 1
        if not 0 <= position <= last:
            raise InputError(f"Analysed frame {position} does not exist; give 0 to {last}.")


class Store:
    """Keeps the latest results within a number of bytes and seconds; the oldest are deleted first.

    A result is not deleted while a job uses its folder. If its session ends, it can no longer be
    requested, and its files are deleted when the last job has finished.
    `whose` returns the session of the current request. To other sessions a result does not exist.
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
        # Reentrant: a generator may be collected, and leave its folder, in a thread that has it.
        self._lock = threading.RLock()
        self._closed = threading.Event()
        self._lasting: frozenset[Path] = frozenset()
        sweep_left_behind()
        self.root = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self.cache = self.root / "gradio"  # Gradio's folder for files it receives and sends
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
        """Store a result with a copy of its clip; it is in use until the block ends.

        If the block fails, the result is dropped: nobody has seen its id.
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
        """Return the result with this id; raise InputError if this session has none."""
        with self._lock:
            result = self._results.get(key)
            if result is None or result.owner != self._whose() or self._too_old(result):
                raise InputError(GONE)
            self._results.move_to_end(key)
            return result

    def painted(self, result: Result, seconds: float) -> Result:
        """Return a result with the seconds that its first overlay took, and keep that one."""
        done = replace(result, painting_seconds=seconds)
        with self._lock:
            if result.id in self._results:
                self._results[result.id] = done
        return done

    def room(self, result: Result) -> AbstractContextManager[Path]:
        """Return a context with the folder of a result, which is kept until the block ends.

        Raise InputError if the result was dropped. `get` has checked its owner.
        """
        return self._inside(result._room)

    def drop(self, key: str) -> None:
        """Drop a result and delete its files as soon as no job uses them."""
        with self._lock:
            if result := self._results.pop(key, None):
                result._room.give_up()

    def drop_all_of(self, owner: str) -> None:
        """Drop all results of a session that ended."""
        with self._lock:
            for key in [key for key, result in self._results.items() if result.owner == owner]:
                self.drop(key)

    def sweep(self) -> None:
        """Delete everything that is older than `keep_seconds`."""
        _sweep_cache(self.cache, time.time() - self._keep_seconds, self._lasting)
        oldest = time.monotonic() - self._keep_seconds
        with self._lock:
            self._tidy()
            for clip, (room, used) in list(self._previews.items()):
                if used < oldest:
                    del self._previews[clip]
                    room.give_up()

    def touch(self, upload: Path) -> None:
        """Restart the lifetime of an upload, so that it is not deleted while it is used."""
        if self.cache in upload.parents:
            with suppress(OSError):
                os.utime(upload)

    def keep_cached(self) -> None:
        """Keep the files that are in the cache now, which the page needs, until `close`."""
        self._lasting = frozenset(self.cache.rglob("*"))

    def sweep_for_ever(self) -> None:
        """Sweep at least once a minute until the store is closed."""
        while not self._closed.wait(min(60, self._keep_seconds)):
            self.sweep()
            _return_memory()

    @contextmanager
    def preview_folder(self, clip: Path) -> Iterator[Path]:
        """Yield a folder for files made from a clip before its analysis; the oldest are dropped."""
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
        """Return the path of a new file that is kept until the store is closed."""
        return self.root / f"{secrets.token_hex(16)}{suffix}"

    def close(self) -> None:
        """Delete all files, also those in use: the server sends no more responses."""
        self._closed.set()
        with self._lock:
            self._results.clear()
        self._in_use.release()
        shutil.rmtree(self.root, ignore_errors=True)

    def _new_room(self) -> _Room:
        """Return a folder whose name contains nothing that a user sent."""
        return _Room(self.root / secrets.token_hex(16))

    @contextmanager
    def _inside(self, room: _Room) -> Iterator[Path]:
        with self._lock:
            if room.given_up or self._closed.is_set():
                raise InputError(GONE)
            room.inside += 1
        try:
            yield room.folder
        except (OSError, InputError) as error:
            if self._closed.is_set():  # which deleted the folder
                raise InputError(GONE) from error
            raise
        finally:
            with self._lock:
                room.inside -= 1
                room.tidy()
                self._tidy()

    def _tidy(self) -> None:
        """Drop the results that are too old, and the oldest until the rest fits.

        Results in use count but are kept until they are free; the newest is kept whatever its size.
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
    """Delete the folders of servers that were killed; no process holds their locks."""
    for lock in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/{_LOCK}"):
        try:
            with FileLock(lock, timeout=0):
                shutil.rmtree(lock.parent, ignore_errors=True)
        except (Timeout, PermissionError):
            continue  # in use, or another user's


def _sweep_cache(folder: Path, oldest: float, lasting: frozenset[Path]) -> None:
    """Delete files and empty folders that have not changed since a time.

    Gradio's own `delete_cache` leaves the folders and an empty file for every upload, and ends for
    good when a file appears while it lists the folder.
    """
    for place, _, names in os.walk(folder, topdown=False):
        for path in (*(Path(place, name) for name in names), Path(place)):
            with suppress(OSError):  # not empty, or deleted meanwhile
                if path in lasting or path == folder or path.stat().st_ctime > oldest:
                    continue
                if path.is_dir():
                    path.rmdir()
                else:
                    path.unlink()


def _return_memory() -> None:
    """Return freed memory to the system; on Linux the C library keeps it for every thread."""
    with suppress(OSError, AttributeError, TypeError):  # another system, or another library
        ctypes.CDLL(None).malloc_trim(0)


def _linked(file: Path, target: Path) -> Path:
    """Return a hard link to a file; a copy where links are not possible."""
    try:
        os.link(file, target)
    except FileNotFoundError as error:
        raise InputError("The clip is no longer on the server; upload it again.") from error
    except OSError:
        shutil.copyfile(file, target)
    return target
