"""Adapting the correlator to a clip."""

import gradio as gr
from playwright.sync_api import expect

from .helpers import LONG, Open, expect_no_message, expect_result, open_panel, set_number


def test_adapting_is_watched_and_before_and_after_are_both_there(
    opened: Open, result: str, blocks: gr.Blocks
) -> None:
    page = opened(f"/?result={result}")
    expect_result(page)
    open_panel(page, "#adapting")
    expect(page.locator("#stop")).to_be_disabled()
    set_number(page, "#steps", 20)
    page.click("#adapt")
    expect(page.locator("#adapt-status progress")).to_be_visible(timeout=LONG)
    expect(page.locator("#seen img")).to_be_visible(timeout=LONG)
    status = page.locator("#adapt-status")
    expect(status).to_contain_text("Trained for 20 steps in", timeout=LONG)
    expect(status).to_contain_text("trained on this clip", timeout=LONG)
    after = expect_result(page, other_than=result)
    expect(page.locator("#losses canvas, #losses svg").first).to_be_visible()
    blocks.app.state_holder.session_data.clear()  # as for a page that was not used for long
    page.locator("#versions input[value=before]").check()
    assert expect_result(page, other_than=after) == result
    expect(status).to_contain_text("from before the training")
    page.locator("#versions input[value=after]").check()
    assert expect_result(page, other_than=result) == after
    expect(page.locator("#adapt")).to_be_enabled()
    expect_no_message(page)


def test_adapting_can_be_stopped(opened: Open, result: str) -> None:
    page = opened(f"/?result={result}")
    expect_result(page)
    open_panel(page, "#adapting")
    set_number(page, "#steps", 500)
    page.click("#adapt")
    expect(page.locator("#adapt-status")).to_contain_text("Step ", timeout=LONG)
    page.click("#stop")
    expect(page.locator("#adapt-status")).to_contain_text("of 500 steps in", timeout=LONG)
    expect_result(page, other_than=result)
    expect(page.locator("#stop")).to_be_disabled()
    expect_no_message(page)
