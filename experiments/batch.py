"""Measure `bavos batch`: beside a shell loop, over workers, on tiny clips, and with killed nodes.

    python -m experiments.batch loop --clips 200 --out experiments/figures/batch_loop.csv
    python -m experiments.batch scale --clips 40 --out experiments/figures/batch_scale.csv
    python -m experiments.batch tiny --clips 10000 --out experiments/figures/batch_tiny.csv
    python -m experiments.batch ray --clips 200 --out experiments/figures/batch_ray.csv

`loop`: short clips by a shell loop of `bavos segment`, by two workers and by one. `scale`: the pace
of one and of two workers that have begun, on clips of the usual size with bundled-vits14 (tuned on
saliency labels), and how many cores they keep busy. `tiny`: clips of one frame; overhead is the
time of the workers beside the work, from the first result to the last. `ray`: three nodes on one
machine, of which one is killed, and the driver too, which is then started again; every clip is
compared with a run without Ray.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet
from PIL import Image

from bavos_core import Settings
from bavos_io.writing import VideoWriter
from bavos_lab.batch.clip import Segmenting
from bavos_lab.batch.run import Batch
from bavos_lab.batch.sources import Source
from bavos_lab.workers import Numbered, Results, Share, Task
from bavos_lab.workers.processes import over_processes
from experiments.common import ROOT, markdown, parser_of, write_rows

OPTIONS = ("--backbone", "descriptors", "--patches", "96", "--precision", "fp32")
SETTINGS = Settings(backbone="descriptors", patches=96, precision="fp32")
TINY = Settings(backbone="descriptors", patches=24, precision="fp32", refine=False)
USUAL = Settings(backbone="bundled-vits14", patches=648, frames=12)
SMALL_SIZE, USUAL_SIZE = (64, 96), (240, 432)  # pixels (height, width)
HEADS = ("what", "clips", "value", "unit")

Figure = tuple[str, int, float, str]  # as in HEADS
Spread = Callable[[Task, Iterable[Numbered]], Results]


def main() -> None:
    parser = parser_of(str(__doc__))
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--clips", type=int, default=200, metavar="N")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bavos-batch-") as room:
        figures = PARTS[options.part](Path(room), options.clips)
        rows = write_rows(options.out, (dict(zip(HEADS, row, strict=True)) for row in figures))
    print(markdown(HEADS, ([row[head] for head in HEADS] for row in rows)))


# ---- clips --------------------------------------------------------------------------------------


def write_clips(folder: Path, count: int, size: tuple[int, int] = SMALL_SIZE) -> Path:
    """Write films of 12 frames, a square that moves over noise."""
    folder.mkdir()
    unit = size[0] // 8
    for number in range(count):
        rng = np.random.default_rng(number)
        back = rng.integers(0, 255, (8, size[1] // unit, 3), dtype=np.uint8)
        back = back.repeat(unit, 0).repeat(unit, 1)
        with VideoWriter(folder / f"clip{number:05d}.mp4", size=size) as video:
            for t in range(12):
                frame, left = back.copy(), (4 + 4 * t) * unit // 8
                frame[5 * unit // 2 : 11 * unit // 2, left : left + 5 * unit // 2] = (220, 40, 30)
                video.write(frame, t / 24, (t + 1) / 24)
    return folder


def write_pictures(folder: Path, count: int) -> Path:
    """Write pictures, clips of one frame, and their list."""
    folder.mkdir()
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 99, (32, 48, 3), dtype=np.uint8)
        pixels[8:24, 10:26] = (230, 60, 40)
        Image.fromarray(pixels).save(folder / f"{number:05d}.png")
    listed = folder / "list.txt"
    listed.write_text("\n".join(path.name for path in sorted(folder.glob("*.png"))))
    return listed


def command(source: Path, out: Path, *more: str) -> list[str]:
    program = [sys.executable, "-m", "bavos_core", "batch", str(source), "--out", str(out)]
    return [*program, *OPTIONS, *more]


def timed(arguments: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(arguments, cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - start


# ---- parts --------------------------------------------------------------------------------------


def loop(room: Path, count: int) -> Iterator[Figure]:
    """Yield seconds of a shell loop, of two workers and of one."""
    clips = write_clips(room / "clips", count)
    segment = f'"{sys.executable}" -m bavos_core segment "$clip" {" ".join(OPTIONS)}'
    script = f'for clip in "{clips}"/*; do {segment} --out "{room}/loop/$(basename $clip)"; done'
    seconds = {"shell loop of segment": timed(["bash", "-ec", script])}
    for workers in (2, 1):
        name = f"batch, {workers} workers"
        seconds[name] = timed(command(clips, room / name, "--workers", str(workers)))
    for name, value in seconds.items():
        yield name, count, round(value, 1), "s"


def scale(room: Path, count: int) -> Iterator[Figure]:
    """Yield clips a second of workers of one thread, once they have begun, and the cores in use.

    The machine must have nothing else to do: the cores in use are those of the whole machine.
    """
    source = Source(write_clips(room / "clips", count, USUAL_SIZE), USUAL)
    for workers in (1, 2) * 2:
        ends: list[float] = []
        busy: list[float] = []
        out = str(room / f"out{len(list(room.iterdir()))}")
        batch = Batch(out, source, source.count())
        batch.target.prepare()
        batch.run(Segmenting(out, USUAL), watching(
            over(workers), ends, lambda _, busy=busy: busy.append(busy_seconds()), every=1
        ))  # fmt: skip
        seconds = ends[-1] - ends[workers - 1]
        yield f"workers: {workers}", count, round((count - workers) / seconds, 3), "clips/s"
        cores = (busy[-1] - busy[workers - 1]) / seconds
        yield f"workers: {workers}, in use", count, round(cores, 2), "cores"


def busy_seconds() -> float:
    """Return the seconds that all cores of the machine together have worked."""
    user, nice, system = map(int, Path("/proc/stat").read_text().split()[1:4])
    return (user + nice + system) / os.sysconf("SC_CLK_TCK")


def tiny(room: Path, count: int) -> Iterator[Figure]:
    """Yield the driver's memory as clips are done, and the overhead a clip."""
    source = Source(write_pictures(room / "clips", count), TINY)
    figures: list[Figure] = []
    ends: list[float] = []
    watched = watching(over(2), ends, lambda done: figures.append(memory(done)), every=count // 10)
    batch = Batch(str(room / "out"), source, source.count())
    batch.target.prepare()
    batch.run(Segmenting(str(room / "out"), TINY), watched)
    closing = time.perf_counter() - ends[-1]
    manifest = pyarrow.parquet.read_table(room / "out" / "manifest.parquet")
    work = sum(manifest["seconds"].to_pylist()) * (count - 1) / count  # of all but the first
    yield from figures
    yield "two workers, from the first result to the last", count, round(ends[-1] - ends[0], 1), "s"
    overhead = (2 * (ends[-1] - ends[0]) - work) / (count - 1)
    yield "overhead a clip", count, round(1000 * overhead, 2), "ms"
    yield "manifest and contact sheet", count, round(closing, 1), "s"


def ray(room: Path, count: int) -> Iterator[Figure]:
    """Yield what became of clips on a cluster of three nodes, of which one is killed."""
    from ray.cluster_utils import Cluster

    chance = random.Random(19)
    clips, out = write_clips(room / "clips", count), room / "ray"
    alone = timed(command(clips, room / "alone", "--workers", "3"))
    os.environ["PYTHONPATH"] = str(ROOT)  # for the workers of the nodes
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    arguments = command(clips, out, "--workers", "3", "--ray", cluster.address)
    start = time.perf_counter()
    driver = subprocess.Popen(arguments, cwd=ROOT, stdout=-1, stderr=-1)
    at_node = reached(out, chance.randint(count // 10, count // 3), driver)
    cluster.remove_node(nodes[0], allow_graceful=False)
    at_driver = reached(out, chance.randint(count // 2, 2 * count // 3), driver)
    driver.kill()
    driver.communicate()
    second = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    cluster.shutdown()
    yield "three workers without Ray", count, round(alone, 1), "s"
    yield "a node is killed when done", count, at_node, "clips"
    yield "the driver is killed when done", count, at_driver, "clips"
    yield "both runs", count, round(seconds, 1), "s"
    yield "exit status of the second", count, second.returncode, ""
    for what, value in compared(out, room / "alone").items():
        yield what, count, value, "clips"


PARTS: dict[str, Callable[[Path, int], Iterator[Figure]]] = {
    "loop": loop, "scale": scale, "tiny": tiny, "ray": ray,
}  # fmt: skip


# ---- helpers ------------------------------------------------------------------------------------


def over(workers: int) -> Spread:
    share = Share(workers, threads=1)
    return lambda task, items: over_processes(task, items, share)


def watching(spread: Spread, ends: list[float], tell: Callable[[int], None], every: int) -> Spread:
    """Return the same that notes when each result came and tells after every so many of them."""

    def watched(task: Task, items: Iterable[Numbered]) -> Results:
        for done, result in enumerate(spread(task, items), 1):
            ends.append(time.perf_counter())
            if done % every == 0:
                tell(done)
            yield result

    return watched


def memory(done: int) -> Figure:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    mib = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    return "memory of the driver after", done, round(mib, 1), "MiB"


def reached(out: Path, wanted: int, driver: subprocess.Popen[bytes]) -> int:
    """Wait until so many clips have a record; return how many have."""
    while driver.poll() is None:
        done = len(list((out / ".batch" / "records").rglob("*.json")))
        if done >= wanted:
            return done
        time.sleep(0.05)
    raise SystemExit(f"The driver ended too early: {driver.communicate()[1].decode()}")


def compared(out: Path, alone: Path) -> dict[str, int]:
    """Return counts of clips that are lost, twice or different."""
    digests = []
    for place in (out, alone):
        rows = pyarrow.parquet.read_table(place / "manifest.parquet").to_pylist()
        digests.append({row["source"]: row["digest"] for row in rows if row["status"] == "done"})
    folders = [path.name.rpartition("-")[0] for path in (out / "clips").iterdir()]
    return {
        "lost": len(digests[1].keys() - digests[0].keys()),
        "twice": len(folders) - len(set(folders)),
        "different": sum(digests[1][name] != digest for name, digest in digests[0].items()),
        "half done": len(list((out / ".batch" / "work").iterdir())),
    }


if __name__ == "__main__":
    main()
