"""Server time of the page's answers, with their pictures written as JPEG files.

    python -m experiments.page --clip CLIP --out page.csv [--backbone NAME --weights FILE]

Run it with nothing else on the machine.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

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

from .common import Row, markdown, median_ms, parser_of, write_rows

WHERE = (0.3, 0.4), (0.5, 0.5), (0.7, 0.6), (0.2, 0.8), (0.9, 0.1)  # shares of height and width
CALLS = 15
STEPS = 100  # of adapting


def answers(page: Page, key: str) -> dict[str, Callable[[int], object]]:
    """Return everything that a visitor does with a result, each for the i-th time."""
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
        "re-cut to re-coloured frame": lambda i: painted(frames // 2, 3 + i),
        "scrub": lambda i: painted(i % frames, 8),
        "click to heatmap on the frame": heated,
        "heatmap of all frames, small images": tiled,
        "heatmap of all frames, video and numbers": lambda i: attention.attend_over_time(
            clicked(i, 0)
        ),
    }


def cancelling(service: Service, clip: str, backbone: str, times: int) -> list[float]:
    """Return the seconds from cancelling at a random moment of a run until the lane is free."""
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
    """Return the seconds from a click on an example, analysed before, to its overlay."""
    example = str(sorted(EXAMPLES.glob("*.mp4"))[0])
    service = page.service
    service.segment(example, backbone, PRESETS["balanced"], lambda *_: None)
    start = time.perf_counter()
    StartEvents(page).show_clip(example)
    service.segment(example, backbone, PRESETS["balanced"], lambda *_: None)
    return time.perf_counter() - start


def adapting_seconds(service: Service, key: str, steps: int) -> tuple[float, float]:
    """Return the seconds of adapting to a clip, and of clustering it anew."""
    start = time.perf_counter()
    *_, last = service.adapt(key, steps)
    learned = time.perf_counter()
    service.adapted(key, last.correlator)
    return learned - start, time.perf_counter() - learned


def measure(page: Page, clip: str, backbone: str, cancels: int) -> Iterator[Row]:
    """Yield one row for every answer."""
    service = page.service
    result, _ = service.segment(clip, backbone, PRESETS["balanced"], lambda *_: None)
    about = {"frame": "x".join(map(str, result.analysis.size)), "backbone": backbone}
    for what, answer in answers(page, result.id).items():
        answer(0)  # the first call does not count
        seconds = median_ms(lambda i: answer(i + 1), CALLS) / 1000  # noqa: B023 - called at once
        yield {**about, "what": what, "seconds": round(seconds, 3)}
    waited = cancelling(service, clip, backbone, cancels)
    learned, anew = adapting_seconds(service, result.id, STEPS)
    others = {
        "example, analysed before": example_seconds(page, backbone),
        f"cancel, worst of {len(waited)}": max(waited, default=0.0),
        f"adapting, {STEPS} steps": learned,
        "clustering anew": anew,
    }
    yield from ({**about, "what": what, "seconds": round(s, 3)} for what, s in others.items())


def main() -> None:
    """Measure, write every figure, print the table."""
    parser = parser_of(__doc__)
    parser.add_argument("--clip", type=Path, required=True)
    parser.add_argument("--backbone", default="bundled-vits14")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--cancels", type=int, default=10)
    options = parser.parse_args()
    settings = DemoSettings(backbone=options.backbone, weights=options.weights)
    service = Service(settings, examples=sorted(EXAMPLES.glob("*.mp4")))
    with gr.Blocks():
        page = Page.lay_out(service)
    rows = measure(page, str(options.clip), options.backbone, options.cancels)
    try:
        found = write_rows(options.out, rows)
    finally:
        service.close()
    print(markdown(["what", "seconds"], ([row["what"], row["seconds"]] for row in found)))


if __name__ == "__main__":
    main()
