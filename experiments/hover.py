"""Hovering in the viewer: time from the pointer to a map on the canvas, and how exact maps are.

    python -m experiments.hover --clip CLIP --out hover.csv [--analysis FILE.npz]

24 frames of 24×48 patches, in Chromium. Exact maps are those of `Analysis.attend`. Run it with
nothing else on the machine.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Page, Route

from bavos_core import Analysis
from bavos_lab.scene import Scene
from demo.viewer import bundle, css

from .browser import WINDOW, analysed, chromium, clip_parser
from .common import Row, markdown, write_rows

POINTS = 200
ADDRESS = "http://viewer.test"
PAGE = Path(__file__).with_name("hover.html")


def main() -> None:
    """Measure all sources of one analysis and write a CSV file."""
    parser = clip_parser(__doc__)
    parser.add_argument("--analysis", type=Path, metavar="FILE.npz", help="kept here if missing")
    options = parser.parse_args()
    analysis = _analysis(options.clip, options.analysis)
    with chromium() as browser:
        page = browser.new_page(viewport=WINDOW)
        rows = write_rows(options.out, measured(page, analysis))
    heads = [
        "source",
        "part, kB",
        "median ms",
        "95 % below",
        "correlation, median",
        "5 % below",
    ]
    names = ["source", "kilobytes", "median_ms", "p95_ms", "correlation", "correlation_p5"]
    print(markdown(heads, [[row[name] for name in names] for row in rows]))


def _analysis(clip: Path, kept: Path | None) -> Analysis:
    if kept and kept.is_file():
        return Analysis.load(kept)
    analysis = analysed(clip)
    if kept:
        analysis.save(kept)
    return analysis


def measured(page: Page, analysis: Analysis) -> Iterator[Row]:
    """Yield the figures of each source."""
    parts = {name: Scene(analysis).part(name) for name in Scene(analysis).names}

    def answer(route: Route) -> None:
        path = route.request.url.removeprefix(ADDRESS)
        known: dict[str, Any] = {
            "/": {"path": PAGE},
            "/program": {"body": bundle(), "content_type": "text/javascript"},
            "/css": {"body": css()},
        }
        name = path.removeprefix("/part/")
        found = known.get(path) or ({"body": parts[name]} if name in parts else {"status": 404})
        route.fulfill(**found)

    page.route(f"{ADDRESS}/**", answer)
    page.goto(f"{ADDRESS}/")
    page.evaluate("viewer.then(() => 0)")
    page.wait_for_timeout(5000)  # all parts have come
    random = np.random.default_rng(0)
    frames, (h, w) = len(analysis.frames), analysis.grid
    points = [
        {"sample": int(random.integers(frames)), "y": float(y), "x": float(x)}
        for y, x in random.random((POINTS, 2))
    ]
    for source in analysis.sources():
        times = hover_times(page, source, points)
        near = correlations(page, analysis, source, points)
        part = "cross-frame" if source == "framewise" else source
        yield {
            "source": source, "clip": analysis.clip_name, "frames": frames, "grid": f"{h}x{w}",
            "kilobytes": len(parts[f"attention/{part}"]) // 1000,
            "median_ms": round(float(np.median(times)), 1),
            "p95_ms": round(float(np.quantile(times, 0.95)), 1),
            "correlation": round(float(np.median(near)), 4),
            "correlation_p5": round(float(np.quantile(near, 0.05)), 4), "points": POINTS,
        }  # fmt: skip


def hover_times(page: Page, source: str, points: list[dict[str, Any]]) -> list[float]:
    """Return the milliseconds of a hover at each point, in the frame of the point."""
    page.evaluate("([source, sample]) => attend(source, sample)", [source, 0])
    page.wait_for_timeout(1500)
    times = []
    for point in points:
        page.evaluate("([source, sample]) => attend(source, sample)", [source, point["sample"]])
        times.append(page.evaluate("(point) => hover(point)", point))
    return times


def correlations(
    page: Page, analysis: Analysis, source: Any, points: list[dict[str, Any]]
) -> list[float]:
    """Return the correlation of the browser's map with the exact one, over all frames."""
    height, width = analysis.size
    places = [(p["sample"], p["y"] * height, p["x"] * width) for p in points]
    exact = analysis.attend_all(places, source=source)
    found = [
        page.evaluate("([source, point]) => rowOf(source, point)", [source, p]) for p in points
    ]
    maps = [np.frombuffer(base64.b64decode(row), np.float32) for row in found]
    return [
        float(np.corrcoef(one, other.ravel())[0, 1]) for one, other in zip(maps, exact, strict=True)
    ]


if __name__ == "__main__":
    main()
