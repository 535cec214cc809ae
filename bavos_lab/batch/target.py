"""Where results go: a folder, also one that machines share, or an object store.

A target keeps small files, which are there whole or not at all, and folders of results, which
appear whole. Names are paths below OUT with slashes.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock

from bavos_core.errors import InputError
from bavos_io.download import is_url, shown
from bavos_io.files import atomic_write, cannot_write
from bavos_io.folder import MANIFEST
from bavos_lab.locks import claimed

from . import HIDDEN
from .remote import file_system

CLIPS = "clips"  # the folder of the results
_WORK = f"{HIDDEN}/work"


class Target(Protocol):
    """The place of the results of a batch."""

    @property
    def shown(self) -> str:
        """The place, for messages."""

    def prepare(self) -> None:
        """Make the place if need be. Raise InputError if it is not one for a batch."""

    def read(self, name: str) -> bytes | None:
        """Return the content of a small file, None if there is none."""

    def write(self, name: str, content: bytes) -> None:
        """Write a small file, which appears whole."""

    def put_file(self, path: Path, name: str) -> None:
        """Copy a local file, which appears whole."""

    def room(self, key: str) -> AbstractContextManager[Path]:
        """Give an empty local folder to work in, to one worker at a time where there are locks."""

    def put(self, folder: Path, name: str) -> None:
        """Move a finished folder out of a room to its place, where it appears whole."""

    def names(self, folder: str) -> Iterator[str]:
        """Yield the last parts of the names of what is in a folder."""

    def remove(self, name: str, key: str) -> None:
        """Remove a folder of results that nobody is working on."""

    def clean(self) -> None:
        """Remove what killed workers left in their rooms."""


def open_target(out: str) -> Target:
    """Return the target of a path or URL. Raise InputError for a URL that nothing can open."""
    return Store(out) if is_url(out) else Disk(Path(out))


@dataclass(frozen=True)
class Disk:
    """A folder. Workers of several machines may share it if the disk has locks."""

    root: Path

    @property
    def shown(self) -> str:
        """The folder."""
        return str(self.root)

    def prepare(self) -> None:
        """Make the folder. Raise InputError if there is one that holds no earlier batch."""
        try:
            if (
                self.root.exists()
                and not (self.root / HIDDEN).is_dir()
                and any(self.root.iterdir())
            ):
                raise InputError(
                    f"{str(self.root)!r} is not empty and holds no earlier batch; choose an empty "
                    "or a new folder."
                )
            (self.root / _WORK).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(self.root, error) from error

    def read(self, name: str) -> bytes | None:
        """Return the content of a file, None if there is none."""
        try:
            return (self.root / name).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Write a file beside its place and rename it."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as part:
            part.write_bytes(content)

    def put_file(self, path: Path, name: str) -> None:
        """Copy a file beside its place and rename it."""
        there = self.root / name
        there.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(there) as part:
            shutil.copyfile(path, part)

    @contextmanager
    def room(self, key: str) -> Iterator[Path]:
        """Yield a folder on the same disk; wait for a worker that has the same clip in hand."""
        work = self.root / _WORK
        lock = work / f"{key}.lock"
        with FileLock(lock):
            folder = work / f"{key}-{secrets.token_hex(4)}"
            folder.mkdir()
            try:
                yield folder
            finally:
                shutil.rmtree(folder)
                lock.unlink(missing_ok=True)  # who waits for it will find the clip's record

    def put(self, folder: Path, name: str) -> None:
        """Rename a folder; one that is there has no record and is of no use."""
        there = self.root / name
        there.parent.mkdir(parents=True, exist_ok=True)
        if there.exists():
            there.rename(folder.with_name("old"))
        folder.rename(there)

    def names(self, folder: str) -> Iterator[str]:
        """Yield the names of the entries of a folder."""
        with suppress(FileNotFoundError), os.scandir(self.root / folder) as entries:
            yield from (entry.name for entry in entries)

    def remove(self, name: str, key: str) -> None:
        """Remove a folder unless a worker has its clip in hand."""
        with self._unused(key) as unused:
            if unused:
                shutil.rmtree(self.root / name)

    def clean(self) -> None:
        """Remove the rooms of workers that have died; the locks of living ones are held."""
        for path in (self.root / _WORK).glob("*"):
            with self._unused(path.stem.partition("-")[0]) as unused:
                if unused and path.is_dir():
                    shutil.rmtree(path)
                elif unused:
                    path.unlink(missing_ok=True)

    @contextmanager
    def _unused(self, key: str) -> Iterator[bool]:
        """Yield whether nobody has the clip of a key in hand."""
        path = self.root / _WORK / f"{key}.lock"
        with claimed(path) as unused:
            try:
                yield unused
            finally:
                if unused:
                    path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Store:
    """An object store, by fsspec. It has no locks: one command at a time may fill it."""

    url: str

    @property
    def shown(self) -> str:
        """The URL without secrets."""
        return shown(self.url)

    def prepare(self) -> None:
        """Write and read an object. Raise InputError if that cannot be done."""
        try:
            self.write(f"{HIDDEN}/format", b"1")
            self.read(f"{HIDDEN}/format")
        except InputError:
            raise
        except Exception as error:  # every package of fsspec has its own
            raise InputError(f"{self.shown} cannot be written to ({error}); check it.") from error

    def read(self, name: str) -> bytes | None:
        """Return the content of an object, None if there is none."""
        try:
            return self._files.cat_file(self._place(name))
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Write an object."""
        self._files.pipe_file(self._place(name), content)

    def put_file(self, path: Path, name: str) -> None:
        """Upload a file."""
        self._files.put_file(str(path), self._place(name))

    @contextmanager
    def room(self, key: str) -> Iterator[Path]:
        """Yield a folder of this machine."""
        with tempfile.TemporaryDirectory(prefix=f"bavos-{key[:12]}-") as folder:
            yield Path(folder)

    def put(self, folder: Path, name: str) -> None:
        """Upload the files of a folder, and their list last."""
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        last = folder / MANIFEST
        for part in ([path for path in files if path != last], [last]):
            there = [self._place(f"{name}/{path.relative_to(folder).as_posix()}") for path in part]
            self._files.put([str(path) for path in part], there)

    def names(self, folder: str) -> Iterator[str]:
        """Yield the names of objects and of what would be folders."""
        with suppress(FileNotFoundError):
            for path in self._files.ls(self._place(folder), detail=False):
                yield path.rstrip("/").rpartition("/")[2]

    def remove(self, name: str, key: str) -> None:  # noqa: ARG002 – for locks
        """Remove a folder."""
        self._files.rm(self._place(name), recursive=True)

    def clean(self) -> None:
        """Do nothing: rooms are temporary folders of other machines."""

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        return file_system(self.url)

    @property
    def _files(self) -> Any:
        return self._opened[0]

    def _place(self, name: str) -> str:
        return f"{self._opened[1].rstrip('/')}/{name}"
