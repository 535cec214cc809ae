"""What axe finds in every state of the viewer, in light and dark, wide and narrow."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.accessibility import violations

from .helpers import set_state, wait_for_frames

STATES = {
    "objects": {"selected": [1, 0]},
    "background": {"background": True, "hidden": [1], "hovered": 1},
    "attention": {"view": "attention", "pins": [{"sample": 0, "y": 0.4, "x": 0.3}]},
    "both": {"view": "both", "divider": 0.4, "selected": [], "n": 14},
    "original": {"view": "original", "n": 1, "pins": []},
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", ["wide", "narrow"])
def test_axe_finds_nothing(opened: Callable[..., Page], axe: str, size: str, scheme: str) -> None:
    page = opened(size, scheme)
    wait_for_frames(page)
    page.locator("summary", has_text="Background").click()
    found = []
    for name, fields in STATES.items():
        set_state(page, **fields)
        found += violations(page, axe, name)
    page.locator(".view").first.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    found += violations(page, axe, "keys")
    assert not found, "\n".join(found)


def test_all_is_in_view_in_a_wide_window(page: Page) -> None:
    height = page.evaluate("innerHeight")
    for part in (".timeline", ".hierarchy", ".objects", ".view"):
        box = page.locator(part).first.bounding_box()
        assert box
        assert box["y"] + box["height"] <= height + 1, part
    assert page.evaluate("document.documentElement.scrollHeight") <= height


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_has_the_focus_has_a_ring(opened: Callable[..., Page], scheme: str) -> None:
    page = opened("wide", scheme)
    seen = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        found = page.evaluate(
            """() => {
              let here = document.activeElement;
              while (here.shadowRoot?.activeElement) here = here.shadowRoot.activeElement;
              const ringed = [here, here.nextElementSibling, here.querySelector('.grip')];
              const name = here.ariaLabel ?? here.textContent ?? here.tagName;
              const hasRing = (part) => part && getComputedStyle(part).outlineStyle !== 'none';
              return [name, ringed.some(hasRing)];
            }"""
        )
        if found[0] in seen or found[0] == "":
            continue
        seen.add(found[0])
        assert found[1] or page.evaluate("document.activeElement === document.body"), found[0]
    assert len(seen) > 10
