"""How long the page takes to answer: server time, with the pictures made into files.

    python experiments/measure_page.py --clip CLIP [--backbone NAME --weights FILE] [--cancels 10]

Run it with nothing else on the machine.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import gradio as gr

from bavos_core import Cancelled
from demo.edits import Edits
from demo.handlers import EXAMPLES, Handlers
from demo.jobs import Jobs, StopFlag
from demo.presets import PRESETS
from demo.settings import DemoSettings

LOOK = (False, 0.55, "both", Edits())  # background, opacity, style, edits
HEAT = ("key-similarity", -1, "inferno", 0.65, 99.9, False)
WHERE = (0.3, 0.4), (0.5, 0.5), (0.7, 0.6), (0.2, 0.8), (0.9, 0.1)  # shares of height and width


def median_ms(ask: Callable[[int], object], times: int = 15) -> float:
    """Median of several calls, each with another number; the first does not count."""
    ask(0)
    seconds = []
    for i in range(1, times + 1):
        start = time.perf_counter()
        ask(i)
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds)


def answers(handlers: Handlers, key: str) -> dict[str, float]:
    """Milliseconds of everything that a visitor does with a result."""
    analysis = handlers.jobs.store.get(key).analysis
    frames, (height, width) = len(analysis.frames), analysis.size
    picture = gr.Image(format="jpeg", interactive=False)
    gallery = gr.Gallery(format="jpeg", interactive=False)

    def painted(position: int, clusters: int) -> object:
        return picture.postprocess(
            handlers.paint(key, position, clusters, "objects", (), *LOOK)[0]["value"]
        )

    def query(i: int) -> tuple[tuple[int, float, float], ...]:
        y, x = WHERE[i % len(WHERE)]
        return ((i % frames, y * height, x * width),)

    return {
        "re-cut to re-coloured frame": median_ms(lambda i: painted(frames // 2, 3 + i)),
        "scrub": median_ms(lambda i: painted(i % frames, 8)),
        "click to heatmap on the frame": median_ms(
            lambda i: picture.postprocess(handlers.attend(key, query(i), i % frames, *HEAT))
        ),
        "heatmap of all frames, small pictures": median_ms(
            lambda i: gallery.postprocess(
                handlers.compare(key, query(i), i % frames, "time", *HEAT)["value"]
            )
        ),
        "heatmap of all frames, video and numbers": median_ms(
            lambda i: handlers.attend_over_time(key, query(i), 0, *HEAT)
        ),
    }


def cancelling(jobs: Jobs, clip: str, backbone: str, times: int) -> list[float]:
    """Seconds from a wish to stop at a random moment of a run until the lane is free."""
    rng, waited = random.Random(0), []
    start = time.perf_counter()
    jobs.segment(clip, backbone, PRESETS["balanced"], lambda *_: None)
    whole = time.perf_counter() - start
    for _ in range(times):
        flag, ended = StopFlag(), []

        def run(flag: StopFlag = flag, ended: list[Any] = ended) -> None:
            try:
                jobs.segment(clip, backbone, PRESETS["balanced"], flag.raising(lambda *_: None))
            except Cancelled:
                ended.append(time.perf_counter())

        thread = threading.Thread(target=run)
        thread.start()
        time.sleep(rng.random() * whole * 0.9)
        asked = time.perf_counter()
        flag.set()
        thread.join()
        waited += [end - asked for end in ended]
    return waited


def example_seconds(handlers: Handlers, backbone: str) -> float:
    """Seconds from a click on an example, analysed before, to its overlay."""
    example = str(sorted(EXAMPLES.glob("*.mp4"))[0])
    jobs = handlers.jobs
    jobs.segment(example, backbone, PRESETS["balanced"], lambda *_: None)
    start = time.perf_counter()
    handlers.show_clip(example)
    jobs.segment(example, backbone, PRESETS["balanced"], lambda *_: None)
    return time.perf_counter() - start


def adapting_seconds(jobs: Jobs, key: str, steps: int) -> tuple[float, float]:
    """Seconds of learning on a clip, and of clustering it anew."""
    start = time.perf_counter()
    *_, last = jobs.adapt(key, steps)
    learned = time.perf_counter()
    jobs.adapted(key, last.trained)
    return learned - start, time.perf_counter() - learned


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clip", type=Path, required=True)
    parser.add_argument("--backbone", default="bundled-vits14")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--cancels", type=int, default=10)
    parser.add_argument("--steps", type=int, default=100)
    args = parser.parse_args()
    settings = DemoSettings(backbone=args.backbone, weights=args.weights)
    handlers = Handlers(Jobs(settings, examples=sorted(EXAMPLES.glob("*.mp4"))))
    jobs, clip = handlers.jobs, str(args.clip)
    try:
        result, _ = jobs.segment(clip, args.backbone, PRESETS["balanced"], lambda *_: None)
        analysis = result.analysis
        print(f"{len(analysis.frames)} frames of {analysis.size}, grid {analysis.grid}")
        for name, ms in answers(handlers, result.id).items():
            print(f"{name}: {ms:.0f} ms")
        print(f"example, analysed before: {example_seconds(handlers, args.backbone):.2f} s")
        waited = cancelling(jobs, clip, args.backbone, args.cancels)
        print(f"cancel, {len(waited)} runs: at most {max(waited, default=0):.2f} s")
        learned, anew = adapting_seconds(jobs, result.id, args.steps)
        print(f"adapting, {args.steps} steps: {learned:.1f} s, clustering anew {anew:.1f} s")
    finally:
        jobs.close()


if __name__ == "__main__":
    main()
