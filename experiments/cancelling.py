"""How long every kind of job runs without a moment at which it can be cancelled.

    python -m experiments.cancelling CLIP … --out cancelling.csv

For every kind of job, at the largest preset and at the server's limits, the longest time between
two moments at which it hears of a cancel, and where that was. `work` is the smaller of the wall
clock and of the processor's time, so that other programs on the machine count little.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from bavos_core import backbones
from bavos_core.correlator import TrainedCorrelator
from bavos_core.export import CutOuts
from bavos_io.clip import ArrayClip, Clip
from bavos_io.stopping import stoppable
from bavos_io.writing import write_frames
from demo.presets import PRESETS, Preset
from demo.runs import single
from demo.service import Service
from demo.settings import DemoSettings
from demo.store import Result

from .common import Row, markdown, parser_of, write_rows

LIMITS = Preset(96, 1152)
STEPS = 12  # of training
_BETWEEN = ("cancelling.py", "stopping.py", "progress.py", "runs.py", "contextlib.py")  # passed on
BUSY = 0.5  # seconds: a gap that is worth a line of its own, with the place where it ended


@dataclass
class Gaps:
    """The times between the moments at which a job hears."""

    last: float = field(default_factory=time.perf_counter)
    used: float = field(default_factory=time.process_time)
    where: str = "begin"
    heard: int = 0
    longest: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)

    def hear(self, _share: float = 0.0, _doing: str = "") -> None:
        """Take the time since the moment before."""
        frame = sys._getframe(1)
        while frame.f_back and Path(frame.f_code.co_filename).name in _BETWEEN:
            frame = frame.f_back
        self._gap(f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}")

    def end(self) -> None:
        """Take the time after the last one."""
        self._gap("end")

    def _gap(self, where: str) -> None:
        now, used = time.perf_counter(), time.process_time()
        wall, work = now - self.last, min(now - self.last, used - self.used)
        key = (self.where, where)
        self.longest[key] = max(self.longest.get(key, (0.0, 0.0)), (work, wall))
        self.heard += 1
        self.last, self.used, self.where = now, used, where


Work = Callable[[Gaps], object]


def measured(kind: str, work: Work, **about: object) -> Row:
    """Do a job; return its longest gaps."""
    gaps, start = Gaps(), time.perf_counter()
    failed = ""
    try:
        with stoppable(gaps.hear):
            work(gaps)
    except Exception as error:
        traceback.print_exc()
        failed = type(error).__name__
    gaps.end()
    order = sorted(gaps.longest.items(), key=lambda item: -item[1][0])
    row = {
        **about,
        "job": kind,
        "seconds": round(time.perf_counter() - start, 2),
        "heard": gaps.heard,
        "longest work, s": round(order[0][1][0], 2),
        "longest wall, s": round(max(wall for _, wall in gaps.longest.values()), 2),
        "where": " to ".join(order[0][0]),
        "failed": failed,
    }
    print(row, *(f"    {gap[0]:.2f} {' to '.join(key)}" for key, gap in order[:6] if gap[0] > BUSY),
          sep="\n", flush=True)  # fmt: skip
    return row


def jobs(service: Service, path: Path, backbone: str, preset: Preset) -> Iterator[Row]:
    """Yield one row for every kind of job on a clip."""
    about = {"clip": path.name, "backbone": backbone, "frames": preset.frames,
             "patches": preset.patches}  # fmt: skip
    found: list[Result] = []

    def segment(gaps: Gaps) -> None:
        found.append(service.segment(str(path), backbone, preset, gaps.hear))

    yield measured("segment", segment, **about)
    for result in found:
        for kind, do in {**files(service, result), **others(service, result)}.items():
            yield measured(kind, do, **about)
        for key in list(service.store._results):
            service.store.drop(key)


def files(service: Service, result: Result) -> dict[str, Work]:
    """Return the jobs that write files."""
    key, cut = result.id, result.analysis.segment()
    query = (0, result.analysis.size[0] / 2, 9.0)

    def export(gaps: Gaps, cut_outs: CutOuts | None = None) -> None:
        service.downloads(key, 8, (), gaps.hear, cut_outs)

    return {
        "overlay": lambda gaps: service.files.overlay(result, cut, single(gaps.hear)),
        "heatmap": lambda _: service.files.heatmap(
            *service.attention(key, query, None, None), query
        ),
        "html": lambda _: service.html(key, {"n": 8, "edits": []}),
        "export": export,
        **{
            f"export with {kind}": partial(export, cut_outs=CutOuts(kind, each=True))
            for kind in ("png", "prores", "vp9")
        },
    }


def others(service: Service, result: Result) -> dict[str, Work]:
    """Return the jobs that write none."""
    key, learned = result.id, list[TrainedCorrelator]()

    def adapt(_: Gaps) -> None:
        learned.extend(s.correlator for s in service.adapt(key, STEPS, threading.Event()))

    parts = ("base", "attention/key-similarity", "attention/cross-frame", "readings")
    return {
        "cut": lambda _: service.frame(key, 0, 40, ()),
        "attend": lambda _: service.attention(key, (0, 9.0, 9.0), None, None),
        "adapt": adapt,
        "recluster": lambda _: service.adapted(key, learned[-1]),
        **{f"part {n}": lambda _, n=n: service.parts.get(key, n) for n in parts},
    }


def noise(folder: Path, frames: int) -> Path:
    """Write a clip that is all noise, which makes the most clusters."""
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (frames, 270, 480, 3), np.uint8)
    clip: Clip = ArrayClip.of(pictures)
    path = folder / "noise.mp4"
    write_frames(path, clip.timed(), size=clip.size)
    return path


def all_rows(
    paths: Sequence[Path], names: Sequence[str], presets: Sequence[Preset]
) -> Iterator[Row]:
    """Yield the rows of all clips, backbones and sizes."""
    service = Service(DemoSettings(warm_up=0, store_mib=10_000))
    try:
        for preset in presets:
            noisy = noise(service.store.root, preset.frames)
            for name in names:
                backbones.load(name)  # and what it needs, which takes seconds the first time
                for path in (*paths, noisy):
                    yield from jobs(service, path, name, preset)
    finally:
        service.close()


def main() -> None:
    """Measure, write every figure, print the table."""
    parser: argparse.ArgumentParser = parser_of(__doc__)
    parser.add_argument("clips", type=Path, nargs="*", metavar="CLIP")
    parser.add_argument("--backbones", nargs="+", default=["bundled-vits14"])
    parser.add_argument("--presets", nargs="+", default=["fine", "limits"])
    options = parser.parse_args()
    sizes = [{**PRESETS, "limits": LIMITS}[name] for name in options.presets]
    rows = write_rows(options.out, all_rows(options.clips, options.backbones, sizes))
    names = ["clip", "frames", "patches", "job", "seconds", "heard", "longest work, s", "where"]
    print(markdown(names, ([row[name] for name in names] for row in rows), words=4))


if __name__ == "__main__":
    main()
