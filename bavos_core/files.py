"""Files that are whole or not there, and what is in them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name that becomes `path` when all went well, and vanishes otherwise."""
    part = path.with_name(f".{path.name}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def weights_format(path: Path) -> Literal["safetensors", "torch"] | None:
    """What a file of weights is by its first bytes, whatever its name; None for other files."""
    with path.open("rb") as file:
        head = file.read(9)
    if head[4:] == b"\0\0\0\0{":  # the header's length, below 4 GiB, and the header, JSON
        return "safetensors"
    return "torch" if head.startswith((b"PK", b"\x80")) else None  # a zip, or a bare pickle
