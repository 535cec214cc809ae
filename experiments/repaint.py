"""Repainting in the viewer: milliseconds of every change, and repaints a second while dragging.

    python -m experiments.repaint --clip CLIP --out repaint.csv [--page FILE.html]

In Chromium, on the HTML file of a result with its analysed frames. A change counts until picture,
list, tracks and tree are painted. Run it with nothing else on the machine.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Page

from bavos_lab.scene import write_html
from demo.viewer import bundle, css

from .browser import WINDOW, analysed, chromium, clip_parser
from .common import Row, markdown, write_rows

PROGRAM = Path(__file__).with_suffix(".js")


def main() -> None:
    """Measure one clip and write a CSV file."""
    parser = clip_parser(__doc__)
    parser.add_argument("--page", type=Path, metavar="FILE.html", help="kept here, to look at")
    options = parser.parse_args()
    analysis = analysed(options.clip)
    with tempfile.TemporaryDirectory() as room, chromium() as browser:
        path = options.page or Path(room) / "viewer.html"
        program = bundle() + PROGRAM.read_text(encoding="utf-8")
        write_html(path, analysis, state={}, viewer_js=program, viewer_css=css())
        page = browser.new_page(viewport=WINDOW)
        page.goto(path.resolve().as_uri())
        rows = write_rows(options.out, measured(page, analysis.clip_name))
    names = ["change", "median_ms", "p95_ms", "a_second"]
    heads = ["change", "median ms", "95 % below", "a second"]
    print(markdown(heads, [[row[name] for name in names] for row in rows]))


def measured(page: Page, clip: str) -> Iterator[Row]:
    """Yield the figures of every kind of change, and of dragging."""
    page.wait_for_timeout(5000)  # all parts have come
    for change in page.evaluate("repaint.changes()"):
        times = sorted(page.evaluate("(change) => repaint.times(change)", change))
        rate = page.evaluate("(change) => repaint.rate(change)", change)
        yield {
            "clip": clip, "change": change, "median_ms": round(times[len(times) // 2], 1),
            "p95_ms": round(times[int(len(times) * 0.95)], 1), "a_second": round(rate, 1),
        }  # fmt: skip


if __name__ == "__main__":
    main()
