"""Writing files atomically, and checks of files."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .errors import InputError
from .stopping import StoppableFile


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path that is renamed to `path` on success and deleted otherwise.

    Raise InputError when the file cannot be written, for example when the disk is full.
    """
    part = part_of(path)
    try:
        yield part
        part.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        part.unlink(missing_ok=True)


def write_arrays(path: Path, **arrays: Any) -> None:
    """Write arrays under their names as a compressed NPZ file, atomically."""
    with atomic_write(path) as part, StoppableFile(part, "wb") as file:
        np.savez_compressed(file, **arrays)


def part_of(path: Path) -> Path:
    """Return a new temporary path beside `path`."""
    return path.with_name(f".{secrets.token_hex(6)}.part{path.suffix}")


def cannot_write(path: Path, error: OSError | None = None) -> InputError:
    """Return the error to raise for a file or folder that could not be written."""
    why = f" ({error.strerror})" if error and error.strerror else ""
    return InputError(
        f"{path.name!r} could not be written{why}; make room there or choose another folder."
    )


def check_out_file(
    path: Path, suffix: str, inputs: Iterable[Path] = (), *, option: str = "--out"
) -> None:
    """Raise InputError unless a file of this suffix can be written to the path.

    inputs: files that must not be replaced.
    """
    if path.is_dir():
        raise InputError(f"{path.name!r} is a folder; give {option} a file name.")
    if path.suffix.lower() != suffix:
        raise InputError(f"{path.name!r} must end in {suffix}.")
    if not path.absolute().parent.is_dir():
        raise InputError(f"There is no folder {path.absolute().parent}; make it first.")
    if path.exists() and any(other.exists() and path.samefile(other) for other in inputs):
        raise InputError(f"{path.name!r} is an input; give {option} another name.")
