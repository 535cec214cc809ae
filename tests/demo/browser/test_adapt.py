"""Adapting the correlator to a clip."""

from playwright.sync_api import Page, expect

from .helpers import LONG, expect_no_notice, open_tab, set_number


def test_adapting_is_watched_and_undone(segmented: Page) -> None:
    expect(segmented.locator("#source input[value=key-similarity]")).to_be_checked()
    open_tab(segmented, "Adapt")
    expect(segmented.locator("#undo")).to_be_disabled()
    set_number(segmented, "#steps", 20)
    segmented.click("#adapt")
    expect(segmented.locator("#seen img")).to_be_visible(timeout=LONG)
    status = segmented.locator("#adapt-status")
    expect(status).to_contain_text("Trained for 20 steps in", timeout=LONG)
    expect(status).to_contain_text("downloads", timeout=LONG)
    expect(segmented.locator("#losses canvas, #losses svg").first).to_be_visible()
    expect(segmented.locator("#undo")).to_be_enabled()
    open_tab(segmented, "Attention")
    expect(segmented.locator("#source input[value=correlator]")).to_be_checked()
    open_tab(segmented, "Adapt")
    segmented.click("#undo")
    expect(segmented.locator("#undo")).to_be_disabled()
    open_tab(segmented, "Attention")
    expect(segmented.locator("#source input[value=key-similarity]")).to_be_checked()
    expect_no_notice(segmented)


def test_adapting_can_be_stopped(segmented: Page) -> None:
    open_tab(segmented, "Adapt")
    set_number(segmented, "#steps", 500)
    segmented.click("#adapt")
    expect(segmented.locator("#adapt-status")).to_contain_text("Step ", timeout=LONG)
    segmented.click("#stop")
    expect(segmented.locator("#adapt-status")).to_contain_text("of 500 steps in", timeout=LONG)
    expect(segmented.locator("#undo")).to_be_enabled(timeout=LONG)
    expect_no_notice(segmented)
