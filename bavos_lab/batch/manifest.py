"""The manifest: a Parquet file with one row per clip."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .rows import Row
from .tables import write_parquet
from .target import Target

MANIFEST = "manifest.parquet"
COLUMNS = {
    "source": "string",
    "status": "string",
    "error": "string",
    "key": "string",
    "folder": "string",
    "start": "double",
    "end": "double",
    "settings": "string",  # JSON
    "versions": "string",  # JSON
    "seconds": "double",
    "length": "double",
    "frames": "int64",
    "frames_analysed": "int64",
    "clusters": "int64",
    "objects": "int64",
    "notes": "list of string",
    "digest": "string",
    "result_bytes": "int64",
    "attempts": "int64",
    "made": "bool",
}


def write_manifest(target: Target, rows: Iterable[Row]) -> None:
    """Write the manifest of rows into a target, where it appears whole."""
    with tempfile.TemporaryDirectory(prefix="bavos-") as folder:
        path = Path(folder) / MANIFEST
        write_parquet(path, COLUMNS, _cells(rows))
        target.put_file(path, MANIFEST)


def _cells(rows: Iterable[Row]) -> Iterator[dict[str, Any]]:
    for row in rows:
        cells = {name: getattr(row, name) for name in COLUMNS}
        for name in ("settings", "versions"):
            cells[name] = cells[name] and json.dumps(cells[name])
        yield {**cells, "status": str(row.status), "notes": list(row.notes)}
