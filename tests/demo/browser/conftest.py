"""The page as a person uses it: a real Chromium on the running server.

Tests of layout and tabs run in a wide and in a narrow window, all others in a wide one. A
screenshot of the end of every test goes to tests/screenshots/.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from .helpers import LONG, SIZES, Open, expect_result, upload

SCREENSHOTS = Path(__file__).resolve().parents[2] / "screenshots"


@pytest.fixture(scope="session")
def context(browser: Browser) -> BrowserContext:
    """One visitor's browser, so that what every page needs is loaded only once."""
    return browser.new_context()


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

    def hear(message) -> None:
        if message.type == "error":
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


@pytest.fixture
def segmented(page: Page, small_clip: Path) -> Page:
    """The page after a short clip was uploaded and segmented; attention of a first patch shows."""
    upload(page, small_clip)
    expect(page.locator("#original video")).to_be_visible(timeout=LONG)
    page.click("#segment")
    expect_result(page)
    return page
