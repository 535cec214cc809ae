"""Opened clips: every file is opened once."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

from bavos_core import InputError, open_clip
from bavos_io.clip import Clip

from .settings import DemoSettings

_MOST_OPEN = 8  # clips kept open; the directory of a large zip takes tens of MiB

MOST_SECONDS = 10**6  # of a part that is asked for
_MOST_TIMED = 256  # clips of which it is known how long reading them takes

Part = tuple[float, float | None]  # seconds of a video from and until which it is read
WHOLE: Part = (0.0, None)
Key = tuple[Path, int, int, Part]  # path, inode and bytes of a file


class Clips:
    """Opens clips within the server's limits and keeps the most recently used ones."""

    def __init__(self, settings: DemoSettings):
        self._settings = settings
        self._kept: OrderedDict[Key, Clip] = OrderedDict()
        self._seconds: OrderedDict[Key | None, float] = OrderedDict()
        self._lock = threading.Lock()

    def open(self, path: str | Path | None, part: Part = WHOLE) -> Clip:
        """Return a clip at its own size; raise InputError for one outside the limits, or none."""
        if not path:
            raise InputError("Choose a clip first: upload one or click an example.")
        if Path(path).is_dir():  # of a visitor's uploads
            raise InputError("A folder is no clip; upload a video, a picture or a zip of frames.")
        key = _key(Path(path), part)
        with self._lock:
            if key and key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        clip = open_clip(path, start=part[0], end=part[1], limits=self._settings.limits)
        if key:
            with self._lock:
                self._kept[key] = clip
                while len(self._kept) > _MOST_OPEN:
                    self._kept.popitem(last=False)
        return clip

    def seconds_to_read(self, path: Path, part: Part = WHOLE) -> float:
        """Return how long reading a clip takes; unless that is known, read it."""
        clip, key = self.open(path, part), _key(path, part)
        with self._lock:
            known = self._seconds.get(key)
        if known is None:
            start = time.perf_counter()
            len(clip.times)
            known = time.perf_counter() - start
            self.took(path, part, known)
        return known

    def took(self, path: Path, part: Part, seconds: float) -> None:
        """Remember how long reading a clip took."""
        with self._lock:
            self._seconds[_key(path, part)] = seconds
            while len(self._seconds) > _MOST_TIMED:
                self._seconds.popitem(last=False)

    def small(self, path: str | Path | None, part: Part = WHOLE) -> Clip:
        """Return a clip at preview size, under the same limits."""
        return self.open(path, part).resized(self._settings.preview_side)


def _key(path: Path, part: Part) -> Key | None:
    """Return what identifies a file; None for one that cannot be examined."""
    with suppress(OSError):
        found = path.stat()
        return path, found.st_ino, found.st_size, part
    return None
