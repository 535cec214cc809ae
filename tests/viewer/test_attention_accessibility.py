"""What axe finds in the panel of attention and in further panes; the panel by keyboard alone."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.accessibility import violations

from .helpers import set_state, wait_for_frames

PINS = [{"sample": 0, "y": 0.17, "x": 0.18}, {"sample": 2, "y": 0.6, "x": 0.7}]
STATES = {
    "attention": {"view": "attention"},
    "pins": {"pins": PINS, "mass": 0.6},
    "similarity": {"reading": "cosine"},
    "pca": {"reading": "pca"},
    "k-means": {"reading": "kmeans"},
    "compare": {
        "reading": "attention",
        "compare": {"choice": "untrained", "view": "attention", "source": "untrained", "head": -1},
    },
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", ["wide", "narrow"])
def test_axe_finds_nothing_in_the_panel(
    opened: Callable[..., Page], axe: str, size: str, scheme: str
) -> None:
    page = opened(size, scheme)
    wait_for_frames(page)
    page.click("#tab-attention")
    found = []
    for name, fields in STATES.items():
        set_state(page, **fields)
        found += violations(page, axe, name)
        if name == "pins":
            page.get_by_role("button", name="Numbers of pin 1").click()
            expect(page.locator(".numbers").first).to_contain_text("nats")
            found += violations(page, axe, "numbers")
    assert not found, "\n".join(found)


def test_the_panel_works_by_keyboard_alone(page: Page) -> None:
    page.locator("#tab-objects").focus()
    page.keyboard.press("ArrowRight")  # to the tab of attention
    expect(page.locator("#tab-attention")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("viewer.state.reading") == "cosine"
    assert page.evaluate("viewer.state.view") == "attention"
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".sources")).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("viewer.state.source") == "untrained"
    page.evaluate("viewer.store.flush()")  # the heads of that source are there
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("viewer.state.head") == 0
