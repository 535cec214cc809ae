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
from demo.examples import EXAMPLES
from demo.page import Page
from demo.panels.attention import AttentionEvents
from demo.panels.start import StartEvents
from demo.panels.viewer import ViewerEvents
from demo.presets import PRESETS
from demo.runs import StopFlag
from demo.service import Service
from demo.settings import DemoSettings

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


def answers(page: Page, key: str) -> dict[str, float]:
    """Milliseconds of everything that a visitor does with a result."""
    v, a = page.viewer, page.attention
    analysis = page.service.store.get(key).analysis
    frames, (height, width) = len(analysis.frames), analysis.size
    objects, attention = ViewerEvents(page), AttentionEvents(page)
    chosen = {c: c.value for c in (*v.look_inputs, *a.look_inputs, v.position, v.view, a.compare)}
    chosen |= {v.key: key, v.edits: Edits(), v.queries: (), a.source: "key-similarity", a.head: -1}

    def painted(position: int, clusters: int) -> object:
        values = {**chosen, v.position: position, v.clusters: clusters}
        return v.frame.postprocess(objects.paint(values)[v.frame]["value"])

    def clicked(i: int, position: int) -> dict[Any, Any]:
        y, x = WHERE[i % len(WHERE)]
        return {**chosen, v.queries: ((i % frames, y * height, x * width),), v.position: position}

    def heated(i: int) -> object:
        return a.heat.postprocess(attention.attend(clicked(i, i % frames))[a.heat])

    def tiled(i: int) -> object:
        return a.tiles.postprocess(attention.compare(clicked(i, i % frames))[a.tiles]["value"])

    return {
        "re-cut to re-coloured frame": median_ms(lambda i: painted(frames // 2, 3 + i)),
        "scrub": median_ms(lambda i: painted(i % frames, 8)),
        "click to heatmap on the frame": median_ms(heated),
        "heatmap of all frames, small pictures": median_ms(tiled),
        "heatmap of all frames, video and numbers": median_ms(
            lambda i: attention.attend_over_time(clicked(i, 0))
        ),
    }


def cancelling(service: Service, clip: str, backbone: str, times: int) -> list[float]:
    """Seconds from a wish to stop at a random moment of a run until the lane is free."""
    rng, waited = random.Random(0), []
    start = time.perf_counter()
    service.segment(clip, backbone, PRESETS["balanced"], lambda *_: None)
    whole = time.perf_counter() - start
    for _ in range(times):
        flag, ended = StopFlag(), []

        def run(flag: StopFlag = flag, ended: list[Any] = ended) -> None:
            try:
                service.segment(clip, backbone, PRESETS["balanced"], flag.raising(lambda *_: None))
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


def example_seconds(page: Page, backbone: str) -> float:
    """Seconds from a click on an example, analysed before, to its overlay."""
    example = str(sorted(EXAMPLES.glob("*.mp4"))[0])
    service = page.service
    service.segment(example, backbone, PRESETS["balanced"], lambda *_: None)
    start = time.perf_counter()
    StartEvents(page).show_clip(example)
    service.segment(example, backbone, PRESETS["balanced"], lambda *_: None)
    return time.perf_counter() - start


def adapting_seconds(service: Service, key: str, steps: int) -> tuple[float, float]:
    """Seconds of learning on a clip, and of clustering it anew."""
    start = time.perf_counter()
    *_, last = service.adapt(key, steps)
    learned = time.perf_counter()
    service.adapted(key, last.trained)
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
    service, clip = Service(settings, examples=sorted(EXAMPLES.glob("*.mp4"))), str(args.clip)
    with gr.Blocks():
        page = Page.lay_out(service)
    try:
        result, _ = service.segment(clip, args.backbone, PRESETS["balanced"], lambda *_: None)
        analysis = result.analysis
        print(f"{len(analysis.frames)} frames of {analysis.size}, grid {analysis.grid}")
        for name, ms in answers(page, result.id).items():
            print(f"{name}: {ms:.0f} ms")
        print(f"example, analysed before: {example_seconds(page, args.backbone):.2f} s")
        waited = cancelling(service, clip, args.backbone, args.cancels)
        print(f"cancel, {len(waited)} runs: at most {max(waited, default=0):.2f} s")
        learned, anew = adapting_seconds(service, result.id, args.steps)
        print(f"adapting, {args.steps} steps: {learned:.1f} s, clustering anew {anew:.1f} s")
    finally:
        service.close()


if __name__ == "__main__":
    main()
