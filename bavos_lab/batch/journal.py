"""The rows of a run, kept on a disk until the manifest and the contact sheet are made of them."""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterator

from .rows import Row


class Journal:
    """Rows by number, in the order of the source; in memory is one number a row."""

    def __init__(self, count: int) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 – open as long as this
        self._places = array("q", [-1]) * count  # where in the file a row begins

    def add(self, number: int, row: Row) -> None:
        """Keep a row; the source may have grown since it was counted."""
        while number >= len(self._places):
            self._places.append(-1)
        self._places[number] = self._file.seek(0, 2)
        self._file.write(row.to_json() + b"\n")

    def __iter__(self) -> Iterator[Row]:
        for place in self._places:
            if place < 0:
                continue
            self._file.seek(place)
            row = Row.from_json(self._file.readline())
            assert row, "what was written can be read"
            yield row
