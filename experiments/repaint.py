"""Repainting in the viewer: milliseconds of every change, and repaints a second while dragging.

    python -m experiments.repaint --clip CLIP --out repaint.csv [--page FILE.html]

In Chromium, on the HTML file of a result with its analysed frames. A change counts until picture,
list, tracks and tree are painted. Run it with nothing else on the machine.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from bavos_core import Settings, analyse, open_clip
from bavos_lab.scene import write_html
from demo.viewer import bundle, css

from .common import GRID, Row, markdown, parser_of, write_rows

WINDOW = {"width": 1400, "height": 900}
PROGRAM = Path(__file__).with_suffix(".js")


def main() -> None:
    """Measure one clip and write a CSV file."""
    parser = parser_of(__doc__)
    parser.add_argument("--clip", type=Path, required=True)
    parser.add_argument("--page", type=Path, metavar="FILE.html", help="kept here, to look at")
    options = parser.parse_args()
    size = (GRID[0] * 14, GRID[1] * 14)
    analysis = analyse(
        open_clip(options.clip), Settings(backbone="bundled-vits14", frames=24, size=size)
    )
    with tempfile.TemporaryDirectory() as room, sync_playwright() as playwright:
        path = options.page or Path(room) / "viewer.html"
        program = bundle() + PROGRAM.read_text(encoding="utf-8")
        write_html(path, analysis, state={}, viewer_js=program, viewer_css=css())
        executable = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))))
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        page = browser.new_page(viewport=WINDOW)
        page.goto(path.resolve().as_uri())
        rows = write_rows(options.out, measured(page, analysis.clip_name))
        browser.close()
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
