"""Chromium and the result that it shows, for programs that measure the viewer and the page."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from bavos_core import Analysis, Settings, analyse, open_clip

from .common import GRID, parser_of

WINDOW = {"width": 1400, "height": 900}


def clip_parser(doc: str) -> argparse.ArgumentParser:
    """Return a parser with a clip and the file to write; `doc` is the module's docstring."""
    parser = parser_of(doc)
    parser.add_argument("--clip", type=Path, required=True)
    return parser


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run the Chromium that is on PATH, without a window."""
    with sync_playwright() as playwright:
        executable = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))))
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()


def analysed(clip: Path) -> Analysis:
    """Analyse 24 frames of 24×48 patches, or as suits the clip, with the bundled backbone."""
    size = (GRID[0] * 14, GRID[1] * 14)
    settings = Settings(backbone="bundled-vits14", frames=24, size=size)
    return analyse(open_clip(clip), settings)
