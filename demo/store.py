"""The one bounded store of results, keyed by ids that cannot be guessed."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

from bavos_core import Analysis, InputError


@dataclass(frozen=True)
class Result:
    """One analysed clip and the folder that its files are written to."""

    id: str
    analysis: Analysis
    clip: Path
    notices: tuple[str, ...]
    folder: Path
    before: str | None = None  # id of the result that this one was adapted from
    stop: threading.Event = field(default_factory=threading.Event)  # asks what runs on it to end
    writing: threading.Lock = field(default_factory=threading.Lock)  # one file at a time


class Store:
    """Keeps the latest results; the oldest is dropped with its files."""

    def __init__(self, limit: int):
        self._limit = limit
        self._results: OrderedDict[str, Result] = OrderedDict()
        self._previews: OrderedDict[Path, Path] = OrderedDict()
        self._lock = threading.Lock()
        self._root = Path(tempfile.mkdtemp(prefix="bavos-"))

    def put(
        self,
        analysis: Analysis,
        clip: Path,
        notices: tuple[str, ...],
        *,
        before: str | None = None,
    ) -> Result:
        """Keep a result and return it with its id."""
        key = secrets.token_urlsafe(24)
        folder = self._root / secrets.token_hex(16)  # never named after anything a user sent
        folder.mkdir()
        result = Result(key, analysis, clip, notices, folder, before)
        with self._lock:
            self._results[key] = result
            dropped = [
                self._results.popitem(last=False)[1]
                for _ in range(len(self._results) - self._limit)
            ]
        for old in dropped:
            shutil.rmtree(old.folder, ignore_errors=True)
        return result

    def get(self, key: str) -> Result:
        """The result with this id. Raises InputError when there is none (any more)."""
        with self._lock:
            result = self._results.get(key)
            if result is None:
                raise InputError("There is no such result (any more); press Segment again.")
            self._results.move_to_end(key)
            return result

    def drop(self, key: str) -> None:
        """Forget a result and delete its files."""
        with self._lock:
            result = self._results.pop(key, None)
        if result:
            shutil.rmtree(result.folder, ignore_errors=True)

    def preview_folder(self, clip: Path) -> Path:
        """A folder for files made from a clip before it is analysed; the oldest are dropped."""
        with self._lock:
            folder = self._previews.setdefault(clip, self._root / secrets.token_hex(16))
            self._previews.move_to_end(clip)
            folder.mkdir(exist_ok=True)
            while len(self._previews) > 4 * self._limit:
                shutil.rmtree(self._previews.popitem(last=False)[1], ignore_errors=True)
        return folder

    def lasting_file(self, suffix: str) -> Path:
        """A name for a file that stays until the store is closed."""
        return self._root / f"{secrets.token_hex(16)}{suffix}"

    def close(self) -> None:
        """Delete all files."""
        with self._lock:
            self._results.clear()
        shutil.rmtree(self._root, ignore_errors=True)
