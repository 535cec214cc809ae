"""Accessibility of every panel, and the whole job with the keyboard alone."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.accessibility import violations

from .helpers import LONG, Open, expect_result, open_panel, upload


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("opened", ["narrow", "wide", "large"], indirect=True)
def test_axe_finds_nothing(opened: Open, result: str, axe: str, theme: str) -> None:
    page = opened(f"/?__theme={theme}&result={result}")
    expect_result(page)
    found = violations(page, axe, "a result", settle_ms=400)
    page.locator("#settings > button").click()
    open_panel(page, "#take-home")
    open_panel(page, "#adapting")
    found += violations(page, axe, "all panels", settle_ms=400)
    assert not found, "\n".join(found)


def focused(page: Page) -> str:
    """Id of the block, or name of the element, that has the focus."""
    return page.evaluate("""() => {
      let e = document.activeElement;
      while (e.shadowRoot?.activeElement) e = e.shadowRoot.activeElement;
      const { id } = e.closest('[id]') ?? {};
      return [id, e.getAttribute('aria-label'), e.getAttribute('role')].join(' ');
    }""")


def tab_to(page: Page, what: str, most: int = 80) -> None:
    """Press Tab until something has the focus."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if what in focused(page):
            return
    raise AssertionError(f"{what} cannot be reached; the last was {focused(page)}")


def test_the_keyboard_alone_does_the_whole_job(page: Page, small_clip: Path) -> None:
    upload(page, small_clip)  # the dialog of files is the browser's own
    tab_to(page, "segment")
    page.keyboard.press("Enter")
    expect_result(page)
    tab_to(page, "application")
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("Enter")
    page.keyboard.press("x")
    page.wait_for_function("window.bavos.state().edits.length === 1")
    page.keyboard.press("p")
    page.wait_for_function("window.bavos.state().pins.length === 1")
    tab_to(page, "take-home")
    page.keyboard.press("Enter")
    tab_to(page, "prepare")
    page.keyboard.press("Enter")
    expect(page.locator('#downloads a[download="bavos.zip"]')).to_be_visible(timeout=LONG)


def test_the_focus_is_seen_on_radios_and_sliders(opened: Open, result: str) -> None:
    page = opened(f"/?result={result}")
    expect_result(page)
    page.locator("#preset input").first.focus()
    page.keyboard.press("ArrowRight")
    label = page.locator("#preset label:has(input:focus)")
    expect(label).to_have_css("outline-style", "solid")
    expect(label).to_have_css("outline-width", "2px")
    open_panel(page, "#adapting")
    page.locator("#steps input[type=range]").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#steps input[type=range]")).to_have_css("outline-style", "solid")
    expect(page.locator("#steps input[type=range]")).to_have_css("outline-width", "2px")
