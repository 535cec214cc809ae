"""What the programs share: DAVIS sequences, what each backbone has seen, CSV files and tables."""

from __future__ import annotations

import argparse
import csv
import datetime
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bavos_core import open_clip
from bavos_lab.benchmark.machine import machine

ROOT = Path(__file__).resolve().parents[1]
SINGLE = ("camel", "car-shadow", "dance-twirl", "drift-straight", "horsejump-high", "libby")
SEVERAL = ("bmx-trees", "dogs-jump")  # sequences of DAVIS 2017 with more than one object
STEP = 5  # every 5th frame of a sequence is analysed
GRID = (24, 48)  # patches, where all backbones use the same grid
STAND_IN = "vit_tiny_patch16_224"  # for the DINO backbones
FLOAT = "bundled-vits14 before int8 (saliency labels)"
HAS_SEEN = {  # what a backbone learned from
    "bundled-vits14": "saliency labels",
    FLOAT: "saliency labels",
    STAND_IN: "ImageNet labels",
    "descriptors": "nothing",
}

Row = dict[str, Any]


def davis_frames(root: Path, name: str, start: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return every 5th frame (T, H, W, 3) uint8 of a sequence and its foreground (T, H, W) bool."""
    clip = open_clip(root / "JPEGImages" / "480p" / name)
    chosen = list(range(start, len(clip.times), STEP))
    folder = root / "Annotations" / "480p" / name
    truth = [np.asarray(Image.open(folder / f"{clip.frame_names[i]}.png")) > 0 for i in chosen]
    return np.stack(list(clip.read(chosen))), np.stack(truth)


def parser_of(doc: str, *, davis: bool = False, out: bool = True) -> argparse.ArgumentParser:
    """Return a parser with the options that most programs take; `doc` is the module's docstring."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    if davis:
        parser.add_argument("--davis", type=Path, required=True, metavar="DIR",
                            help="folder with JPEGImages/480p and Annotations/480p")  # fmt: skip
        parser.add_argument("--weights", type=Path, metavar="FILE", help=f"weights of {STAND_IN}")
    if out:
        parser.add_argument("--out", type=Path, required=True, metavar="FILE.csv")
    return parser


def write_rows(path: Path, rows: Iterable[Row]) -> list[Row]:
    """Write rows to a CSV file as they come, with date and machine; return them all."""
    where = machine("cpu")
    made = {"date": datetime.date.today().isoformat(), "processor": where["device"],
            "units": " ".join(where["bfloat16 units"]), "threads": where["threads"]}  # fmt: skip
    written: list[Row] = []
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ())
        for row in rows:
            written.append({**made, **row})
            if len(written) == 1:
                writer.fieldnames = list(written[0])
                writer.writeheader()
            writer.writerow(written[-1])
            file.flush()
    return written


def groups(rows: Sequence[Row], *names: str) -> Iterator[tuple[tuple[Any, ...], list[Row]]]:
    """Yield the rows that share their values of `names`, with these values, in order."""
    for key in dict.fromkeys(tuple(row[name] for name in names) for row in rows):
        yield key, [row for row in rows if tuple(row[name] for name in names) == key]


def mean(rows: Iterable[Row], name: str) -> float:
    """Return the mean of a column."""
    return statistics.mean(row[name] for row in rows)


def markdown(heads: Sequence[str], rows: Iterable[Sequence[object]], *, words: int = 1) -> str:
    """Return a table in Markdown; the first `words` columns are text, the others numbers."""
    lines = [heads, ["---"] * words + ["--:"] * (len(heads) - words), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def seconds_of(work: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def median_ms(answer: Callable[[int], object], times: int) -> float:
    """Return the median of several calls in milliseconds; each gets its number, from 0."""
    return 1000 * statistics.median(seconds_of(lambda i=i: answer(i)) for i in range(times))
