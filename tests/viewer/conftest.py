"""The viewer by itself: its modules in node, and mounted in a real Chromium without a server."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from demo.viewer import bundle, css

from .scenes import html, scene_parts

SCREENSHOTS = Path(__file__).resolve().parents[1] / "screenshots"
SIZES = {"wide": (1400, 770), "large": (1920, 950), "narrow": (390, 844)}


@pytest.fixture(scope="session")
def viewer_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a viewer of a small scene."""
    path = tmp_path_factory.mktemp("viewer") / "viewer.html"
    path.write_text(html(scene_parts(), bundle(), css()), encoding="utf-8")
    return path


@pytest.fixture
def opened(
    browser: Browser, viewer_file: Path, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Page]]:
    """Opens the viewer. What the browser complains of fails the test."""
    pages: list[Page] = []
    complaints: list[str] = []

    def open_viewer(size: str = "wide", scheme: str = "light") -> Page:
        width, height = SIZES[size]
        page = browser.new_page(
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            reduced_motion="reduce",
        )
        page.on("pageerror", lambda error: complaints.append(f"exception: {error}"))
        page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
        page.goto(viewer_file.as_uri())
        page.evaluate("opened")
        page.locator(".wait").wait_for(state="hidden")
        pages.append(page)
        return page

    yield open_viewer
    SCREENSHOTS.mkdir(exist_ok=True)
    for page in pages:
        page.screenshot(path=SCREENSHOTS / f"{request.node.name}.png")
        page.close()
    assert not complaints


@pytest.fixture
def page(opened: Callable[..., Page]) -> Page:
    """A viewer in a wide window."""
    return opened()
