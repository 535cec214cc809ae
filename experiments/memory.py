"""Peak memory of analyses beside the estimate that the server goes by.

    python -m experiments.memory --out memory.csv

Each run is a process of its own. Its peak is that of its resident memory above what it had with
the weights loaded, and that of all its processes together (the decoder is one), whichever is more.
Clips are noise, whose rows hardly merge, or the ordinary kind: discs that move over a texture.
"""

from __future__ import annotations

import contextlib
import json
import math
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bavos_core import Cancelled, Settings, analyse, backbones, open_clip
from bavos_core.backbones import Backbone
from bavos_io.clip import Timeline
from bavos_io.process import prepare_process
from bavos_io.writing import write_frames
from bavos_lab.cost import Work, peak_bytes

from .common import ROOT, Row, markdown, parser_of, write_rows

MIB = 2**20
RANDOM = "dino-vits8 without weights"  # its shapes, with random weights
_LOOK = 0.01  # seconds between looks at the memory of all processes

# kind, backbone, (H, W), frames, patches, key ratio (5 unless many keys are to be had cheaply)
CASES: list[tuple[str, str, tuple[int, int], int, int, int]] = [
    ("scene", "descriptors", (240, 432), 12, 648, 5),
    ("scene", "bundled-vits14", (240, 432), 2, 100, 5),
    ("scene", "bundled-vits14", (240, 432), 12, 648, 5),
    ("scene", "descriptors", (2160, 3840), 24, 648, 5),
    ("scene", "bundled-vits14", (480, 864), 24, 1152, 5),
    ("scene", RANDOM, (480, 864), 12, 648, 5),
    ("scene", "bundled-vits14", (1080, 1920), 96, 100, 5),
    ("scene", "descriptors", (480, 864), 96, 648, 5),
    ("noise", "descriptors", (240, 432), 2, 400, 5),
    ("noise", "bundled-vits14", (240, 432), 12, 300, 2),
    ("scene", "bundled-vits14", (480, 864), 32, 1600, 5),
    ("scene", "descriptors", (480, 864), 6, 4096, 3),
    ("noise", "descriptors", (240, 432), 3, 648, 1),
    ("scene", RANDOM, (480, 864), 24, 1152, 5),
    ("scene", "descriptors", (480, 864), 96, 1152, 5),
    ("scene", "bundled-vits14", (480, 864), 9, 4096, 5),
]


def frames_of(kind: str, size: tuple[int, int], count: int) -> Iterator[np.ndarray]:
    """Yield the frames (H, W, 3) uint8 of a clip."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[: size[0], : size[1]] / size[0]
    ground = random.integers(60, 120, (*size, 3), np.uint8)
    for i in range(count):
        if kind == "noise":
            yield random.integers(0, 256, (*size, 3), np.uint8)
            continue
        frame = ground.copy()
        for disc in range(4):
            y, x = 0.2 + 0.2 * disc, 0.2 + (0.3 * disc + i / count) % 1.4
            frame[(rows - y) ** 2 + (columns - x) ** 2 < 0.012] = (60 * disc, 220 - 50 * disc, 90)
        yield frame


def write_clip(path: Path, kind: str, size: tuple[int, int], count: int) -> None:
    """Write a clip as a video."""
    frames = Timeline.regular(count).timed(frames_of(kind, size, count))
    write_frames(path, frames, size=size)


def loaded(name: str) -> Backbone:
    """Return a backbone."""
    if name != RANDOM:
        return backbones.load(name)
    import timm

    from bavos_core.backbones.timm_vit import TimmViT

    shapes = "vit_small_patch8_224.dino"
    return TimmViT(shapes).wrap(timm.create_model(shapes, num_classes=0), None)


# ---- one run, in a process of its own -----------------------------------------------------------


class Watch(threading.Thread):
    """Watches the resident memory of this process and of its children."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most = 0  # bytes, of all together
        self._ended = threading.Event()

    def run(self) -> None:
        """Look again and again."""
        while not self._ended.wait(_LOOK):
            self.most = max(self.most, resident() + sum(map(resident, children())))

    def stop(self) -> None:
        """End it."""
        self._ended.set()
        self.join()


def children() -> list[str]:
    """Return the ids of the processes that this one has started, once they are programs."""
    found = Path("/proc/self/task").glob("*/children")
    started = [pid for path in found for pid in path.read_text().split()]
    return [pid for pid in started if "bavos_io.worker" in command(pid)]


def command(pid: str) -> str:
    """Return the command line of a process; before it is a program of its own, its parent's."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:  # it has ended
        return ""


def resident(pid: str = "self", what: str = "VmRSS") -> int:
    """Return the resident memory of a process in bytes, now or (VmHWM) at most."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:  # it has ended
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(what)), 0)


def run(case: dict[str, Any]) -> Row:
    """Analyse a clip, for as long as the case allows, and return what it took."""
    settings = Settings(
        frames=case["frames"], patches=case["patches"], key_ratio=case["key_ratio"], device="cpu"
    )
    clip, backbone = open_clip(case["clip"]), loaded(case["backbone"])
    few = replace(settings, frames=1, patches=16)
    analyse(np.zeros((1, 64, 64, 3), np.uint8), few, backbone=backbone)  # what is loaded late
    estimate = peak_bytes(Work.of(clip.size, settings, case["frames"], backbone))
    before, watch = resident(), Watch()
    Path("/proc/self/clear_refs").write_text("5")  # from here on, VmHWM is of what follows
    watch.start()
    start, leaves = time.perf_counter(), "stopped"

    def stop_late(*_: object) -> None:
        if time.perf_counter() - start > case.get("most_seconds", math.inf):
            raise Cancelled

    with contextlib.suppress(Cancelled):
        leaves = analyse(clip, settings, backbone=backbone, progress=stop_late).tree.leaves
    seconds = time.perf_counter() - start
    watch.stop()
    peak = max(watch.most, resident(what="VmHWM")) - before
    return {
        "leaves": leaves,
        "seconds": round(seconds, 1),
        "peak, MiB": round(peak / MIB),
        "estimate, MiB": round(estimate / MIB),
    }


# ---- all runs -----------------------------------------------------------------------------------


def measure() -> Iterator[Row]:
    """Yield one row for every case."""
    with tempfile.TemporaryDirectory() as folder:
        for kind, backbone, size, frames, patches, key_ratio in CASES:
            clip = Path(folder) / f"{kind}-{size[0]}-{frames}.mp4"
            if not clip.exists():
                write_clip(clip, kind, size, frames)
            case = {"clip": str(clip), "backbone": backbone, "frames": frames, "patches": patches,
                    "key_ratio": key_ratio}  # fmt: skip
            shown = {**case, "clip": kind, "height": size[0], "width": size[1]}
            yield {**shown, **in_a_process(case)}


def in_a_process(case: dict[str, Any]) -> Row:
    """Return what a run takes in a process of its own."""
    command = [sys.executable, "-m", "experiments.memory", "--one", json.dumps(case)]
    done = subprocess.run(command, capture_output=True, check=True, text=True, cwd=ROOT)
    row: Row = json.loads(done.stdout)
    return {**row, "ratio": round(row["estimate, MiB"] / row["peak, MiB"], 2)}


def main() -> None:
    """Measure, write every figure, print the table."""
    if sys.argv[1:2] == ["--one"]:
        prepare_process()
        print(json.dumps(run(json.loads(sys.argv[2]))))
        return
    rows = write_rows(parser_of(__doc__).parse_args().out, measure())
    names = ["clip", "backbone", "height", "frames", "patches", "peak, MiB", "estimate, MiB"]
    print(markdown(names, ([row[name] for name in names] for row in rows), words=2))


if __name__ == "__main__":
    main()
