"""Formats of weights files."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def weights_format(path: Path) -> Literal["safetensors", "torch"] | None:
    """Return the format of a weights file by its first bytes, or None for other files."""
    with path.open("rb") as file:
        head = file.read(9)
    if head[4:] == b"\0\0\0\0{":  # the header's length, below 4 GiB, and the header, JSON
        return "safetensors"
    return "torch" if head.startswith((b"PK", b"\x80")) else None  # a zip, or a bare pickle
