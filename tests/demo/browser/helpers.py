"""Actions on the page, and expectations of it."""

import re
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, TimeoutError, expect

LONG = 60_000  # milliseconds, for what analyses or encodes
SIZES = {"wide": {"width": 1400, "height": 1000}, "narrow": {"width": 390, "height": 844}}
Open = Callable[..., Page]
in_both_widths = pytest.mark.parametrize("opened", list(SIZES), indirect=True)


def upload(page: Page, clip: Path) -> None:
    page.locator("#clip input[type=file]").set_input_files(clip)


def expect_result(page: Page) -> None:
    """Everything that comes with a new result is there."""
    expect(page.locator("#frame img")).to_be_visible(timeout=LONG)
    expect(page.locator("#heat img")).to_be_visible(timeout=LONG)
    expect(page.locator("#heat-video video")).to_be_visible(timeout=LONG)
    expect(page.locator("#tiles img").first).to_be_visible(timeout=LONG)


def open_tab(page: Page, name: str) -> None:
    """Open a tab; a narrow page moves those that find no room into a menu, even as we look."""
    tab, more = page.get_by_role("tab", name=name, exact=True), page.get_by_label("More tabs")
    for attempt in range(8):
        try:
            if tab.count() and tab.first.is_visible():
                tab.first.click(timeout=3_000)
            else:
                more.click(timeout=3_000)
                page.locator(".overflow-dropdown button", has_text=name).click(timeout=3_000)
            return
        except TimeoutError:
            if attempt == 7:
                raise


def click_at(picture: Locator, right: float, down: float) -> None:
    """Click a picture at shares of its width and height."""
    box = picture.bounding_box()
    picture.click(position={"x": right * box["width"], "y": down * box["height"]})


def source_of(element: Locator) -> re.Pattern[str]:
    """Address of what an element shows now, to wait until it is another."""
    return re.compile(re.escape(element.get_attribute("src")))


def expect_another(element: Locator, before: re.Pattern[str]) -> None:
    expect(element).not_to_have_attribute("src", before, timeout=LONG)
    expect(element).to_have_attribute("src", re.compile("."))


def changes(element: Locator, action: Callable[[], object]) -> None:
    """An action gives an element another picture or video."""
    before = source_of(element)
    action()
    expect_another(element, before)


def pixels_of(element: Locator) -> np.ndarray:
    """The pixels that an <img> was sent, (H, W, 3) as floats."""
    answer = element.page.request.get(element.get_attribute("src"))
    assert answer.ok
    return np.asarray(Image.open(BytesIO(answer.body())).convert("RGB"), float)


def set_number(page: Page, slider: str, value: float) -> None:
    """Type a value into the box beside a slider; again if its tab was only just being opened."""
    box, track = (page.locator(f"{slider} input[type={kind}]") for kind in ("number", "range"))
    for _ in range(3):
        box.fill(str(value))
        box.press("Enter")
        box.blur()
        if track.input_value() == f"{value:g}":
            break
    expect(track).to_have_value(f"{value:g}")


def number_of(page: Page, slider: str) -> float:
    return float(page.locator(f"{slider} input[type=number]").input_value())


def choose(page: Page, menu: str, name: str) -> None:
    """Choose from a drop-down list."""
    box = page.locator(f"{menu} input")
    expect(box).to_be_enabled()
    box.click()
    page.get_by_role("option", name=name, exact=True).click()


def expect_to_play(video: Locator) -> None:
    """The browser has pictures of the video and moves through it."""
    handle = video.element_handle()
    page = video.page
    page.wait_for_function("v => v.readyState >= 2 && v.videoWidth > 0", arg=handle)
    start = handle.evaluate("async v => { v.pause(); v.currentTime = 0; await v.play(); return 0 }")
    page.wait_for_function("([v, start]) => v.currentTime > start", arg=[handle, start])


def expect_no_notice(page: Page) -> None:
    expect(page.get_by_test_id("toast-body")).to_have_count(0)


def download(page: Page, name: str) -> bytes:
    """One of the files that were prepared."""
    link = page.locator(f'#downloads a[download="{name}"]')
    expect(link).to_be_visible(timeout=LONG)
    with page.expect_download() as started:
        link.click()
    return Path(started.value.path()).read_bytes()
