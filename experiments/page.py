"""Seconds on the page: until the example plays, a clip is segmented, and its files are there.

    python app.py &
    python -m experiments.page --clip CLIP --out page.csv

In Chromium, on a server that has warmed up. Run it with nothing else on the machine.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, Page

from .browser import WINDOW, chromium, clip_parser
from .common import Row, groups, markdown, write_rows

ROUNDS = 5
LONG = 600_000  # milliseconds
PLAYING = "() => (window.bavos?.state()?.time ?? 0) > 0"
OPENED = """before => ![undefined, before].includes(
  document.querySelector('[data-opened]')?.dataset.opened)"""


def main() -> None:
    """Measure a running server and write a CSV file."""
    parser = clip_parser(__doc__)
    parser.add_argument("--address", default="http://127.0.0.1:7860/")
    options = parser.parse_args()
    with chromium() as browser:
        rows = write_rows(options.out, measured(browser, options.address, options.clip))
    heads = ["what", "median s", "all"]
    table = [
        [what, f"{statistics.median(r['seconds'] for r in same):.1f}", [r["seconds"] for r in same]]
        for (what,), same in groups(rows, "what")
    ]
    print(markdown(heads, table))


def measured(browser: Browser, address: str, clip: Path) -> Iterator[Row]:
    """Yield a row for every measurement."""
    for i in range(ROUNDS):
        page = browser.new_page(viewport=WINDOW)  # with an empty cache
        start = time.perf_counter()
        page.goto(address)
        page.wait_for_function(PLAYING, timeout=LONG)
        yield row("the example plays", i, start)
        yield from used(page, clip, i)
        if i == 0:
            page.locator("#take-home > button").click()
            start = time.perf_counter()
            page.click("#prepare")
            page.wait_for_selector("#downloads", state="visible", timeout=LONG)
            yield row("all files of the clip", i, start)
        page.close()


def used(page: Page, clip: Path, i: int) -> Iterator[Row]:
    """Yield the seconds from the choice of a clip to its result in the viewer."""
    before = page.evaluate("document.querySelector('[data-opened]')?.dataset.opened ?? ''")
    start = time.perf_counter()
    page.locator("#clip input[type=file]").set_input_files(clip)
    page.wait_for_selector("#segment:not([disabled])", timeout=LONG)
    page.click("#segment")
    page.wait_for_function(OPENED, arg=before, timeout=LONG)
    page.wait_for_function("() => window.bavos.state() !== null", timeout=LONG)
    yield row("from a clip to its viewer", i, start)


def row(what: str, i: int, start: float) -> Row:
    """Return a row with the seconds since a start."""
    return {"what": what, "round": i, "seconds": round(time.perf_counter() - start, 2)}


if __name__ == "__main__":
    main()
