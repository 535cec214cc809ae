"""The folder of a server: locked while it runs, and deleted by the next one if it was killed."""

from __future__ import annotations

import atexit
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from filelock import FileLock

_PREFIX = "bavos-"
_LOCK = ".in-use"
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


CACHE = "gradio"  # in the folder: what Gradio receives and sends
_prepared: list[tuple[Path, FileLock]] = []  # for the first store of this process
_made: list[Path] = []  # the same, also once it has been claimed


def prepare() -> None:
    """Claim the folder of the first store, and let Gradio and torch keep their files in it.

    Call it before either is loaded: they read these variables then. A folder that cannot be made is
    said when the store claims it.
    """
    with suppress(OSError):
        root, lock = claim()
        _prepared.append((root, lock))
        _made.append(root)
        atexit.register(discard)
        os.environ["GRADIO_TEMP_DIR"] = str(root / CACHE)
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(root / "torch")


def discard() -> None:
    """Delete the folder that was prepared, whether a store has claimed it or not."""
    for root in _made:
        shutil.rmtree(root, ignore_errors=True)


def claim() -> tuple[Path, FileLock]:
    """Return a new folder, which is nobody else's to look into, and the lock that is held on it."""
    if _prepared:
        return _prepared.pop()
    sweep()
    root = Path(tempfile.mkdtemp(prefix=_PREFIX))
    lock = FileLock(root / _LOCK)
    lock.acquire()
    return root, lock


def sweep() -> None:
    """Delete the folders of servers that were killed; no process holds their locks."""
    for folder in _folders():
        try:
            if not _is_own(folder):
                continue
            with FileLock(folder / _LOCK, timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue  # in use, not to be read, or gone meanwhile


def _folders() -> Iterator[Path]:
    try:
        with os.scandir(tempfile.gettempdir()) as found:
            yield from (Path(entry) for entry in found if entry.name.startswith(_PREFIX))
    except OSError:
        return  # what cannot be listed is said when a folder is made in it


def _is_own(folder: Path) -> bool:
    """Return whether a folder was made by a server of this user.

    Locking empties a file, so a link is never followed. Nobody else can put one there afterwards:
    only the owner can write to such a folder. Raise OSError for what cannot be examined.
    """
    place, lock = folder.lstat(), (folder / _LOCK).lstat()
    ours = os.getuid() if hasattr(os, "getuid") else place.st_uid
    return (
        stat.S_ISDIR(place.st_mode)
        and stat.S_ISREG(lock.st_mode)
        and place.st_uid == lock.st_uid == ours
        and not place.st_mode & _OTHERS_WRITE
        and lock.st_nlink == 1
    )
