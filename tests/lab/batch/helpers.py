"""Small clips, and runs without processes."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
from PIL import Image

from bavos_core import Settings
from bavos_lab.batch.clip import Segmenting
from bavos_lab.batch.rows import Item, Row
from bavos_lab.batch.run import Batch
from bavos_lab.batch.sources import Source
from bavos_lab.workers import Results, Task

SETTINGS = Settings(backbone="descriptors", patches=24, refine=False, precision="fp32")
OPTIONS = ["--backbone", "descriptors", "--patches", "24", "--no-refine", "--precision", "fp32"]


def write_picture(path: Path, number: int) -> Path:
    """A clip of one frame, a square on noise, that is another for each number."""
    pixels = np.random.default_rng(number).integers(0, 90, (32, 48, 3), dtype=np.uint8)
    pixels[8:24, 10 + number % 20 : 26 + number % 20] = (230, 60, 40)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def write_frames(folder: Path, number: int, frames: int = 3) -> Path:
    """A clip of several frames."""
    for frame in range(frames):
        write_picture(folder / f"{frame}.png", number + frame)
    return folder


def write_list(path: Path, lines: Iterable[object]) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def item(source: object, settings: Settings = SETTINGS, **more: Any) -> Item:
    return Item(source=str(source), settings=settings, **more)


def here(task: Task, items: Iterable[tuple[int, Any]]) -> Results:
    """One worker, which is this process."""
    work = task.begin()
    for number, each in items:
        yield number, work(each)


def batch(source: Path, out: object, *, retries: int = 2, over: Any = here) -> list[dict[str, Any]]:
    """Run a batch; return the rows of its manifest."""
    clips = Source(source, SETTINGS)
    run = Batch(str(out), clips, clips.count(), retries=retries)
    run.target.prepare()
    run.run(Segmenting(str(out), SETTINGS), over)
    return manifest(Path(str(out).removeprefix("file://")))


def manifest(out: Path) -> list[dict[str, Any]]:
    return pyarrow.parquet.read_table(out / "manifest.parquet").to_pylist()


def bytes_of(out: Path) -> dict[str, bytes]:
    """All results but those that hold times, by their places."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for room in ("clips", "sheet")
        for path in (out / room).rglob("*")
        if path.is_file() and path.name not in ("summary.json", "bavos.json")
    }


def row(**more: Any) -> Row:
    from bavos_lab.batch.rows import Status

    return Row(**{"source": "/clips/a.mp4", "status": Status.DONE} | more)
