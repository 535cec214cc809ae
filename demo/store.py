"""The bounded store of results. Whoever knows an id can see the result; ids cannot be guessed."""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from bavos_core import Analysis, InputError

from . import left_behind
from .cache import Cache
from .disk import Disk
from .sessions import Visitor, visitor

_OF_FREE = 0.9  # of the disk that is free at the start, at most
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


@dataclass(eq=False)
class Result:
    """One analysed clip. Its files are reached through `Store.room`, which keeps them in use."""

    id: str
    analysis: Analysis
    clip: str  # name of its own copy of the clip, in its folder
    notices: tuple[str, ...]
    before: str | None  # id of the result that this one was adapted from
    owner: str  # address of who made it, on whose account it is kept
    made: float  # seconds of the store's clock
    nbytes: int  # memory of the analysis, and size of the clip and of what was made for the viewer
    _room: _Room
    visitors: set[str]  # sessions that have it open
    used: float  # when it was last asked for, or left
    example: str = ""  # of which example it is the result: kept, and shown to everybody
    writing: threading.Lock = field(default_factory=threading.Lock)  # one file at a time
    cutting: threading.Lock = field(default_factory=threading.Lock)  # requests share one cut
    making: threading.Lock = field(default_factory=threading.Lock)  # one part at a time

    def check_position(self, position: int) -> None:
        """Raise InputError for a position that is not among the analysed frames."""
        last = len(self.analysis.frames) - 1
        if not 0 <= position <= last:
            raise InputError(f"Analysed frame {position} does not exist; give 0 to {last}.")


class Store:
    """Keeps the latest results within a number of bytes and seconds.

    Of too many, the oldest goes of the address that holds most, so that nobody displaces results of
    others by many of their own. A result is not deleted while a job uses its folder. It is found by
    its id from any session, so that reloading the page, or a link, finds it. When the last session
    that had it open has ended, it is kept for `grace_seconds` after its last use. Results of
    examples are shared and stay. `whose` returns who makes the current request, `clock` the seconds
    since any moment.
    """

    def __init__(
        self,
        *,
        most_bytes: float = float("inf"),
        keep_seconds: float = float("inf"),
        grace_seconds: float = float("inf"),
        most_disk: float = float("inf"),
        whose: Callable[[], Visitor] = visitor,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.most_bytes = most_bytes
        self._keep_seconds = keep_seconds
        self._grace_seconds = grace_seconds
        self._whose = whose
        self._clock = clock
        self._results: OrderedDict[str, Result] = OrderedDict()
        # Reentrant: a generator may be collected, and leave its folder, in a thread that has it.
        self._lock = threading.RLock()
        self._closed = threading.Event()
        self.root, self._in_use = left_behind.claim()
        self._cached = Cache(self.root / left_behind.CACHE, clock)
        self.disk = Disk(self.root, _within_free(most_disk, self.root), self._spare)

    @property
    def cache(self) -> Path:
        """Gradio's folder for files it receives and sends."""
        return self._cached.folder

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
                self.make_root()
                folder.mkdir()
                size = analysis.nbytes + linked(clip, folder / name).stat().st_size
                now, (owner, session) = self._clock(), self._whose()
                result = Result(
                    key,
                    analysis,
                    name,
                    notices,
                    before,
                    owner,
                    now,
                    size,
                    room,
                    {session},
                    used=now,
                )
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
        """Return the result with this id; raise InputError if there is none."""
        with self._lock:
            result = self._results.get(key)
            if result is None or self._too_old(result) or not self.holds(result):
                raise InputError(GONE)
            self._results.move_to_end(key)
            result.used = self._clock()
            return result

    def holds(self, result: Result) -> bool:
        """Return whether a result is here, with its files."""
        return result.id in self._results and result._room.folder.is_dir()

    def visit(self, key: str) -> Result:
        """Return a result that the current session opens, and keep it while that session lasts."""
        with self._lock:
            result = self.get(key)
            result.visitors.add(self._whose().session)
            return result

    def leave(self, session: str) -> None:
        """Let go of the results of a session that ended; those of no other session will expire."""
        with self._lock:
            for result in self._results.values():
                if session in result.visitors:
                    result.visitors.remove(session)
                    result.used = self._clock()

    def grow(self, result: Result, nbytes: int) -> None:
        """Count bytes that were added to the files of a result."""
        with self._lock:
            result.nbytes += nbytes

    def share(self, result: Result, example: str) -> None:
        """Keep a result for everybody who opens an example, or no longer ("").

        Whoever has it open then still has it for as long as a new one.
        """
        with self._lock:
            result.example = example
            if result.visitors:
                result.made = self._clock()

    def room(self, result: Result) -> AbstractContextManager[Path]:
        """Return a context with the folder of a result, which is kept until the block ends.

        Raise InputError if the result was dropped.
        """
        return self._inside(result._room)

    def drop(self, key: str) -> None:
        """Drop a result and delete its files as soon as no job uses them."""
        with self._lock:
            if result := self._results.pop(key, None):
                result._room.give_up()

    def sweep(self) -> None:
        """Delete everything that is older than `keep_seconds`."""
        self._cached.sweep(self._keep_seconds)
        with self._lock:
            self._tidy()

    def touch(self, upload: Path) -> None:
        """Restart the lifetime of an upload, so that it is not deleted while it is used."""
        self._cached.touch(upload)

    def keep_cached(self) -> None:
        """Keep the files that are in the cache now, which the page needs, until `close`."""
        self._cached.keep()

    def sweep_for_ever(self) -> None:
        """Sweep at least once a minute until the store is closed."""
        while not self._closed.wait(min(60, self._keep_seconds / 4)):
            self.sweep()
            _return_memory()

    def close(self) -> None:
        """Delete all files, also those in use: the server sends no more responses."""
        self._closed.set()
        with self._lock:
            self._results.clear()
        self._in_use.release()
        shutil.rmtree(self.root, ignore_errors=True)

    def make_root(self) -> None:
        """Make the folder again if somebody has deleted it."""
        self.root.mkdir(mode=0o700, exist_ok=True)

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
            if self._closed.is_set() or not room.folder.is_dir():  # somebody deleted the folder
                raise InputError(GONE) from error
            raise
        finally:
            with self._lock:
                room.inside -= 1
                room.tidy()
                self._tidy()

    def _tidy(self) -> None:
        """Drop the results that are too old, and others until the rest fits."""
        for result in tuple(self._results.values()):
            if self._too_old(result):
                self.drop(result.id)
        while excess := self._too_much():
            self.drop(excess.id)

    def _too_much(self) -> Result | None:
        """Return the result that goes next for the sake of the others, if there are too many.

        That is the oldest of the address that holds most, first of those that nobody has open.
        Results in use count but are kept until they are free; the newest is kept whatever its size,
        and so is what an address has open within its fair share.
        """
        own = [result for result in self._results.values() if not result.example]
        held = Counter[str]()
        for result in own:
            held[result.owner] += result.nbytes
        if held.total() <= self.most_bytes:
            return None
        fair = self.most_bytes / len(held)
        free = (
            result
            for result in own[:-1]
            if not result._room.inside and not (result.visitors and held[result.owner] <= fair)
        )
        # The first of equals, which is the oldest.
        return max(free, key=lambda r: (held[r.owner], not r.visitors), default=None)

    def _spare(self) -> bool:
        """Delete something that nobody needs; return whether there was anything."""
        if self._cached.sweep(self._grace_seconds):
            return True
        with self._lock:
            left = [r for r in self._results.values() if not (r.example or r.visitors)]
            free = [result for result in left if not result._room.inside]
            for result in sorted(free, key=lambda result: result.used)[:1]:
                self.drop(result.id)
            return bool(free)

    def _too_old(self, result: Result) -> bool:
        if result._room.inside or result.example:
            return False
        now = self._clock()
        left = not result.visitors and result.used < now - self._grace_seconds
        return left or result.made < now - self._keep_seconds


def _within_free(nbytes: float, folder: Path) -> float:
    """Return a number of bytes, or most of what is free now if that is less."""
    return min(nbytes, _OF_FREE * shutil.disk_usage(folder).free)


def _return_memory() -> None:
    """Return freed memory to the system; on Linux the C library keeps it for every thread."""
    with suppress(OSError, AttributeError, TypeError):  # another system, or another library
        ctypes.CDLL(None).malloc_trim(0)


def linked(file: Path, target: Path) -> Path:
    """Return a hard link to a file; a copy where links are not possible."""
    try:
        os.link(file, target)
    except FileNotFoundError as error:
        raise InputError("The clip is no longer on the server; upload it again.") from error
    except OSError:
        shutil.copyfile(file, target)
    return target
