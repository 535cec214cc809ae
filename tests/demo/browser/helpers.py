"""Actions on the page, and expectations of it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

LONG = 60_000  # milliseconds, for what analyses or encodes
SIZES = {
    "wide": {"width": 1400, "height": 900},
    "narrow": {"width": 390, "height": 844},
    "large": {"width": 1920, "height": 1080},
}
Open = Callable[..., Page]
in_both_widths = pytest.mark.parametrize("opened", ["wide", "narrow"], indirect=True)


def upload(page: Page, clip: Path) -> None:
    page.locator("#clip input[type=file]").set_input_files(clip)
    expect(page.locator("#notice")).to_contain_text("frame", timeout=LONG)


def segment(page: Page) -> str:
    """Press the button, wait for the result, and return its id."""
    before = shown(page)
    page.click("#segment")
    return expect_result(page, other_than=before)


def shown(page: Page) -> str:
    """The id of the result whose viewer is open."""
    return page.evaluate("document.querySelector('[data-opened]')?.dataset.opened ?? ''")


def expect_result(page: Page, other_than: str = "arrival") -> str:
    """A viewer is open with another result, and shows a picture; return its id."""
    page.wait_for_function(
        "before => ![undefined, before].includes("
        "document.querySelector('[data-opened]')?.dataset.opened)",
        arg=other_than,
        timeout=LONG,
    )
    expect(page.locator("#viewer canvas").first).to_be_visible()
    expect(page.locator("#viewer .wait").first).to_be_hidden(timeout=LONG)  # of its first frame
    return shown(page)


def open_panel(page: Page, panel: str) -> None:
    """Open one of the panels below the viewer."""
    page.locator(f"{panel} > button.label-wrap").click()


def settle(page: Page) -> None:
    """Wait until the browser has nothing to do: Gradio gives new parts their first values late."""
    page.evaluate("() => new Promise(done => requestIdleCallback(() => done()))")


def set_number(page: Page, slider: str, value: float) -> None:
    """Type a value into the box beside a slider; again if its panel was only just being opened."""
    box, track = (page.locator(f"{slider} input[type={kind}]") for kind in ("number", "range"))
    for _ in range(5):
        box.fill(str(value))
        box.press("Enter")
        box.blur()
        settle(page)
        if track.input_value() == f"{value:g}":
            break
    expect(track).to_have_value(f"{value:g}")


def choose(page: Page, menu: str, name: str) -> None:
    """Choose from a drop-down list."""
    box = page.locator(f"{menu} input")
    expect(box).to_be_enabled()
    box.click()
    page.get_by_role("option", name=name, exact=True).click()


def expect_no_message(page: Page) -> None:
    expect(page.get_by_test_id("toast-body")).to_have_count(0)


def download(page: Page, name: str) -> bytes:
    """One of the files that were prepared."""
    link = page.locator(f'#downloads a[download="{name}"]')
    expect(link).to_be_visible(timeout=LONG)
    with page.expect_download() as started:
        link.click()
    return Path(started.value.path()).read_bytes()
