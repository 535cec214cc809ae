"""Shared set-up of all tests."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]

# The same inputs on every run, and no time limit, since the machine may be busy.
settings.register_profile("bavos", derandomize=True, deadline=None, database=None)
settings.load_profile("bavos")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tensors here are so small that threads would only wait for each other.

    And to the bit, results are the same for the same number of threads only.
    """
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium without a window. Without one, tests are skipped; on CI they fail.

    It must play H.264, which Debian's and Google's builds do and Playwright's own does not.
    """
    from playwright.sync_api import sync_playwright  # most tests need none

    names = ("chromium", "chromium-browser", "google-chrome")
    executable = next(filter(None, map(shutil.which, names)), None)
    if executable is None:
        give_up = pytest.fail if os.environ.get("CI") else pytest.skip
        give_up(f"No browser: put one of {', '.join(names)} on PATH.")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_OPTIONS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def axe() -> str:
    """The program text of axe-core, which finds what keeps people from using a page.

    It is not part of this repository: `npm install axe-core` in any folder, and BAVOS_AXE=path of
    its axe.min.js; a global npm installation is found. Without it, tests are skipped; on CI they
    fail.
    """
    found = os.environ.get("BAVOS_AXE")
    if not found and (npm := shutil.which("npm")):
        root = subprocess.run([npm, "root", "-g"], capture_output=True, text=True).stdout.strip()
        found = str(Path(root) / "axe-core" / "axe.min.js")
    if not (found and Path(found).is_file()):
        give_up = pytest.fail if os.environ.get("CI") else pytest.skip
        give_up("No axe-core: npm install -g axe-core, or BAVOS_AXE=path of its axe.min.js.")
    return Path(found).read_text(encoding="utf-8")
