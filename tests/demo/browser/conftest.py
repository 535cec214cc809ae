"""The page as a person uses it: a real Chromium on the running server.

A screenshot of the end of every test goes to tests/screenshots/.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from demo.presets import Preset
from demo.service import Service

from .helpers import LONG, SIZES, Open

SCREENSHOTS = Path(__file__).resolve().parents[2] / "screenshots"
# What Chromium says of an answer with another status than 200, which the page deals with.
EXPECTED = ("status of 503", "status of 410")
# Gradio's client ends its own open answers when a page is left, and complains that they ended.
LEAVING = "The page is left."
TELL_OF_LEAVING = f"addEventListener('beforeunload', () => console.debug('{LEAVING}'))"


@pytest.fixture(scope="session")
def context(browser: Browser) -> BrowserContext:
    """One visitor's browser, so that what every page needs is loaded only once."""
    context = browser.new_context(accept_downloads=True)
    context.add_init_script(TELL_OF_LEAVING)
    return context


@pytest.fixture
def opened(
    context: BrowserContext,
    server: str,
    request: pytest.FixtureRequest,
    capfd: pytest.CaptureFixture[str],
) -> Iterator[Open]:
    """Opens the page at an address. What a browser or the server complains of fails the test."""
    pages: list[Page] = []
    complaints: list[str] = []
    left: set[Page] = set()

    def hear(message) -> None:
        if message.text == LEAVING:
            left.add(message.page)
        expected = message.page in left or any(text in message.text for text in EXPECTED)
        if message.type == "error" and not expected:
            complaints.append(f"console: {message.text}")

    def see(request) -> None:
        if not request.url.startswith((server, "blob:", "data:")):
            complaints.append(f"request: {request.url}")

    def open_page(address: str = "") -> Page:
        page = context.new_page()
        page.set_viewport_size(SIZES[getattr(request, "param", "wide")])
        page.set_default_timeout(LONG)
        page.on("console", hear)
        page.on("pageerror", lambda error: complaints.append(f"exception: {error}"))
        page.on("request", see)
        page.on("domcontentloaded", lambda page: left.discard(page))
        page.goto(server.rstrip("/") + address)
        expect(page.locator("#segment")).to_be_visible(timeout=LONG)
        pages.append(page)
        return page

    yield open_page
    SCREENSHOTS.mkdir(exist_ok=True)
    for page in pages:
        page.screenshot(path=SCREENSHOTS / f"{request.node.name}.png", full_page=True)
        page.close()
    output = capfd.readouterr()
    assert "Traceback" not in output.out + output.err
    assert not complaints


@pytest.fixture
def page(opened: Open) -> Page:
    """The page, freshly opened."""
    return opened()


@pytest.fixture(scope="session")
def result(served: Service, small_clip: Path) -> str:
    """The id of a result of a short clip, which nobody has open."""
    preset = Preset(3, 192)
    return served.segment(str(small_clip), "descriptors", preset, lambda *_: None).id
