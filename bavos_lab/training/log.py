"""The files beside a training run's result: where they may be, and its log."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from bavos_core.errors import InputError
from bavos_io.files import atomic_write

LOG_COLUMNS = (
    "step", "semantic", "motion", "lr", "seconds", "measure", "clusters", "stability",
)  # fmt: skip


def check_out(out: Path) -> None:
    """Raise InputError for a place that a trained correlator cannot be written to."""
    if out.suffix != ".safetensors" or out.is_dir():
        raise InputError(f"{out.name!r} must be a file name that ends in .safetensors.")
    if not out.absolute().parent.is_dir():
        raise InputError(f"There is no folder {out.absolute().parent}; create it first.")


def log_path(out: Path) -> Path:
    """Return the path of the log of a run that writes its result to `out`."""
    return out.with_suffix(".csv")


def start_log(path: Path, *, after: int) -> None:
    """Start a log, keeping the rows of an earlier run up to step `after`.

    Drop rows beyond it, whose steps were lost, rows that a killed run left incomplete, and files
    of other columns.
    """
    rows: list[dict[str, str]] = []
    if after and path.is_file():
        with path.open(newline="", errors="replace") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) == LOG_COLUMNS:
                whole = (r for r in reader if set(r) == set(LOG_COLUMNS) and None not in r.values())
                rows = [r for r in whole if r["step"].isdecimal() and int(r["step"]) <= after]
    with atomic_write(path) as part, part.open("w", newline="") as file:
        writer = csv.DictWriter(file, LOG_COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def append_to_log(path: Path, row: Sequence[object]) -> None:
    """Append a row, with numbers in full so that two runs can be compared to the bit."""
    with path.open("a", newline="") as file:  # closed again, so that a killed run keeps its rows
        csv.writer(file).writerow(row)
