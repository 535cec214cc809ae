"""The content of a clip and of its settings, whatever they are called: digests, keys, copies."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from bavos_core.errors import InputError
from bavos_core.settings import Settings
from bavos_io.clip import IMAGE_SUFFIXES
from bavos_io.download import is_url, local_file

from . import remote
from .rows import Item

FORMAT = 1  # of the results; a new one makes all clips anew
CORRELATORS = ("auto", "cross-frame", "key-similarity", "untrained")  # that are no files
_CHUNK = 2**20  # bytes
_SETTLED = 2.0  # seconds after which a change also changes the time of a file


def key_of(item: Item, digest: str) -> str:
    """Return the key of a clip's results: of its content, its part and its settings."""
    what = [FORMAT, digest, item.start, item.end, _identity(item.settings)]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:24]


def with_local_files(settings: Settings) -> Settings:
    """Return settings whose files are on this machine. Raise InputError if they are not."""
    weights = settings.weights and local_file(settings.weights)
    if settings.correlator in CORRELATORS:
        return replace(settings, weights=weights)
    return replace(settings, weights=weights, correlator=str(local_file(settings.correlator)))


def _identity(settings: Settings) -> dict[str, Any]:
    """Return settings as JSON-ready values, with files by what they hold."""
    values = with_local_files(settings).to_dict()
    for name in ("weights", "correlator"):
        if values[name] and values[name] not in CORRELATORS:
            values[name] = _digest_of_file(values[name], os.stat(values[name]).st_mtime_ns)
    return values


@lru_cache(16)
def _digest_of_file(path: str, _changed: int) -> str:
    return digest_of(Path(path))


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, or of the names and bytes of a folder's images."""
    found = hashlib.sha256(b"folder" if path.is_dir() else b"")
    for file in _images(path) if path.is_dir() else (path,):
        if file is not path:
            found.update(f"\0{file.name}\0{file.stat().st_size}\0".encode(errors="surrogateescape"))
        with file.open("rb") as opened:
            while part := opened.read(_CHUNK):
                found.update(part)
    return found.hexdigest()


def stamp_of(source: str) -> str | None:
    """Return what changes when a file does, without reading it; None if nothing tells.

    On a disk these are sizes and times, as for make; elsewhere the server's word.
    """
    if is_url(source):
        told = remote.version(source)
        return told and _hashed([source, told])
    path = Path(source)
    files = _images(path) if path.is_dir() else [path] if path.is_file() else []
    facts = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    settled = time.time_ns() - max((changed for *_, changed in facts), default=0)
    return _hashed([source, facts]) if facts and settled > _SETTLED * 1e9 else None


@contextmanager
def local_copy(source: str) -> Iterator[Path]:
    """Yield the path of a clip: its own, or that of a download which is removed at the end.

    Raise InputError for what is not there and OSError for what cannot be read for now.
    """
    if not is_url(source):
        path = Path(source)
        if not (path.is_file() or path.is_dir()):  # a pipe or device might never end
            raise InputError(f"There is no file or folder {path.name!r}; check the path.")
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="bavos-") as folder:
        path = Path(folder) / name_of(source)
        remote.download(source, path)
        yield path


def name_of(source: str) -> str:
    """Return the file name of a source, fit for any disk."""
    path = source.partition("?")[0].partition("#")[0] if is_url(source) else source
    name = path.rstrip("/").rpartition("/")[2] or "clip"
    return re.sub(r"[^\w.-]+", "_", name)[-80:].lstrip(".") or "clip"


def _images(folder: Path) -> list[Path]:
    """Return the files of a folder that are its frames, in one order."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
    )


def _hashed(facts: object) -> str:
    text = json.dumps(facts).encode(errors="surrogateescape")
    return hashlib.sha256(text).hexdigest()
