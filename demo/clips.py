"""Opened clips: every file is opened once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from bavos_core import InputError, open_clip
from bavos_core.video import Clip

from .settings import DemoSettings

_MOST_OPEN = 8  # clips kept open; the directory of a large zip takes tens of MiB

Key = tuple[Path, int, int, int | None]  # path, inode and bytes of a file, longer side of frames


class Clips:
    """Opens clips within the server's limits and keeps the most recently used ones."""

    def __init__(self, settings: DemoSettings):
        self._settings = settings
        self._kept: OrderedDict[Key, Clip] = OrderedDict()
        self._lock = threading.Lock()

    def open(self, path: str | Path | None) -> Clip:
        """Return a clip at its own size; raise InputError for one outside the limits, or none."""
        return self._open(path, None)

    def small(self, path: str | Path | None) -> Clip:
        """Return a clip at preview size, under the same limits."""
        return self._open(path, self._settings.preview_side)

    def _open(self, path: str | Path | None, max_side: int | None) -> Clip:
        if not path:
            raise InputError("Choose a clip first: upload one or click an example.")
        return self._once(
            Path(path),
            max_side,
            lambda: open_clip(path, max_side=max_side, limits=self._settings.limits),
        )

    def _once(self, path: Path, max_side: int | None, opened: Callable[[], Clip]) -> Clip:
        """Return the kept clip of a file that has not been replaced since, or open it."""
        key = _key(path, max_side)
        with self._lock:
            if key and key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        clip = opened()
        if key:
            with self._lock:
                self._kept[key] = clip
                while len(self._kept) > _MOST_OPEN:
                    self._kept.popitem(last=False)
        return clip


def _key(path: Path, max_side: int | None) -> Key | None:
    """Return what identifies an opened clip; None for a file that cannot be examined."""
    with suppress(OSError):
        found = path.stat()
        return path, found.st_ino, found.st_size, max_side
    return None
