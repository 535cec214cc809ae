"""The clips of a source: a folder, a list of paths or URLs, or a manifest with settings per row.

All are read line by line, as often as wanted, and never as a whole.
"""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bavos_core.errors import InputError
from bavos_core.settings import Settings
from bavos_io.clip import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from bavos_io.download import is_url
from bavos_io.folder import MANIFEST
from bavos_io.images import natural

from . import HIDDEN
from .columns import Columns
from .rows import Item
from .tables import Parquet

_CLIP_SUFFIXES = (*VIDEO_SUFFIXES, ".zip")
_OWN = {MANIFEST, HIDDEN}  # of folders with results, whose videos are no clips

Line = Mapping[str, Any]


@dataclass(frozen=True)
class Source:
    """The clips of a source, as often as they are asked for."""

    given: Path
    settings: Settings  # of clips whose row says nothing else

    def __iter__(self) -> Iterator[Item]:
        """Yield the clips. Raise InputError for a source that cannot be read."""
        try:
            if self.given.is_dir():
                yield from (self._item(path) for path in _walk(self.given))
            elif (rows := self._rows()) is not None:
                yield from self._of_rows(rows)
            else:
                yield from (self._item(self._absolute(line)) for line in self._lines())
        except OSError as error:
            why = error.strerror or "no reason given"
            raise InputError(f"{self.given.name!r} cannot be read ({why}); check it.") from error

    def count(self) -> int:
        """Return how many clips there are. Raise InputError if there are none."""
        if not self.given.exists():
            raise InputError(f"There is no file or folder {self.given.name!r}; check the path.")
        count = sum(1 for _ in self)
        if count == 0:
            raise InputError(f"{self.given.name!r} names no clips; give another source.")
        return count

    def columns(self) -> Columns | None:
        """Return the columns of a manifest; None for other sources."""
        rows = None if self.given.is_dir() else self._rows()
        return None if rows is None else Columns.of(next(iter(rows)), self.settings)

    def _rows(self) -> Iterable[Line] | None:
        """Return the rows of a manifest; None for a list."""
        suffix = self.given.suffix.lower()
        if suffix == ".parquet":
            return Parquet(self.given)
        return _Csv(self.given) if suffix in (".csv", ".tsv") else None

    def _of_rows(self, rows: Iterable[Line]) -> Iterator[Item]:
        columns: Columns | None = None
        for row in rows:
            columns = columns or Columns.of(row, self.settings)
            yield columns.item(row, self._absolute)

    def _lines(self) -> Iterator[str]:
        """Yield the lines of a list but empty ones and comments."""
        try:
            with self.given.open(encoding="utf-8-sig") as file:
                stripped = (line.strip() for line in file)
                yield from (line for line in stripped if line and not line.startswith("#"))
        except UnicodeDecodeError as error:
            raise InputError(
                f"{self.given.name!r} is no list of clips in UTF-8; give a folder, a text file "
                "with one path or URL per line, or a CSV or Parquet file with a column path."
            ) from error

    def _absolute(self, name: str) -> str:
        return name if is_url(name) else os.path.abspath(self.given.parent / name)

    def _item(self, source: str) -> Item:
        return Item(source=source, settings=self.settings)


@dataclass(frozen=True)
class _Csv:
    """The rows of a CSV file, read anew each time."""

    path: Path

    def __iter__(self) -> Iterator[Line]:
        csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
        delimiter = "\t" if self.path.suffix.lower() == ".tsv" else ","
        try:
            with self.path.open(encoding="utf-8-sig", newline="") as file:
                for row in csv.DictReader(file, delimiter=delimiter):
                    yield {name: value for name, value in row.items() if name is not None}
        except (UnicodeDecodeError, csv.Error) as error:
            raise InputError(
                f"{self.path.name!r} is no CSV file in UTF-8; save it again as one."
            ) from error


def _walk(folder: Path) -> Iterator[str]:
    """Yield the clips of a folder and of those in it, in natural order of their names.

    A folder that holds images and no videos is one clip of frames. Hidden files, links to folders
    and results of Bavos are left out.
    """
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: natural(entry.name))
    except PermissionError:
        yield os.path.abspath(folder)  # the clip's row says why
        return
    if any(entry.name in _OWN for entry in entries):
        return
    shown = [entry for entry in entries if not entry.name.startswith(".")]
    clips = [entry for entry in shown if _is_file(entry, _CLIP_SUFFIXES)]
    if not clips and any(_is_file(entry, IMAGE_SUFFIXES) for entry in shown):
        yield os.path.abspath(folder)
    for entry in shown:
        if entry in clips:
            yield os.path.abspath(entry.path)
        elif entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path))


def _is_file(entry: os.DirEntry[str], suffixes: tuple[str, ...]) -> bool:
    return entry.name.lower().endswith(suffixes) and not entry.is_dir()
