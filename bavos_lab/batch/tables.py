"""Parquet, read and written without holding a table as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

from bavos_core.errors import InputError

_ROWS = 1000  # read or written at once


@dataclass(frozen=True)
class Parquet:
    """The rows of a Parquet file, read anew each time."""

    path: Path

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        pa = _pyarrow()
        try:
            with pa.parquet.ParquetFile(self.path) as file:
                for batch in file.iter_batches(_ROWS):
                    yield from batch.to_pylist()
        except pa.ArrowException as error:
            raise InputError(
                f"{self.path.name!r} is no Parquet file; write the manifest again."
            ) from error


def write_parquet(
    path: Path, columns: Mapping[str, str], rows: Iterable[Mapping[str, Any]]
) -> None:
    """Write rows to a Parquet file. columns: names with types as Arrow names them.

    A type that begins with "list of " is of lists.
    """
    pa, left = _pyarrow(), iter(rows)
    schema = pa.schema([(name, _type(pa, kind)) for name, kind in columns.items()])
    with pa.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        while part := list(islice(left, _ROWS)):
            writer.write_table(pa.Table.from_pylist(part, schema))


def check_parquet() -> None:
    """Raise InputError if Parquet cannot be read and written here."""
    _pyarrow()


def _type(pa: ModuleType, kind: str) -> Any:
    inside = kind.removeprefix("list of ")
    return pa.type_for_alias(kind) if inside == kind else pa.list_(pa.type_for_alias(inside))


def _pyarrow() -> ModuleType:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise InputError('pyarrow is not installed; run pip install "bavos[batch]".') from error
    return pyarrow
