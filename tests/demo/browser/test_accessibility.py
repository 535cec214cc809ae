"""Accessibility of every panel."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from demo import strings

from .helpers import LONG, Open, click_at, expect_result, open_tab, set_number, upload


@pytest.mark.parametrize(
    ("opened", "theme"), [("wide", "light"), ("narrow", "dark")], indirect=["opened"]
)
def test_axe_finds_nothing_serious(opened: Open, small_clip: Path, axe: str, theme: str) -> None:
    page = opened(f"/?__theme={theme}")
    found = serious(page, axe, "at first")
    upload(page, small_clip)
    expect(page.locator("#original video")).to_be_visible(timeout=LONG)
    page.click("#segment")
    expect_result(page)
    page.locator("#keep input").check()
    click_at(page.locator("#frame img"), 0.2, 0.2)
    expect(page.locator("#caption .dot")).to_have_count(2)
    page.get_by_text(strings.HEAT_STYLE).click()
    found += serious(page, axe, "Attention")
    page.locator("#view input[value=compare]").check()
    expect(page.locator("#compare-frame")).to_be_visible()
    open_tab(page, "Objects")
    page.locator("#objects summary").click()
    page.locator("#objects li button").first.click()
    expect(page.locator("#objects li.unseen")).to_have_count(1)
    found += serious(page, axe, "Objects")
    open_tab(page, "Hierarchy")
    page.click("#play")
    expect(page.locator("#levels video")).to_be_visible(timeout=LONG)
    found += serious(page, axe, "Hierarchy")
    open_tab(page, "Adapt")
    set_number(page, "#steps", 2)
    page.click("#adapt")
    expect(page.locator("#undo")).to_be_enabled(timeout=LONG)
    found += serious(page, axe, "Adapt")
    open_tab(page, "Download")
    page.click("#prepare")
    expect(page.locator('#downloads a[download="bavos.zip"]')).to_be_visible(timeout=LONG)
    found += serious(page, axe, "Download")
    page.click("#cancel")
    assert not found, "\n".join(found)


def serious(page: Page, axe: str, where: str) -> list[str]:
    """What axe calls serious or critical, one line each."""
    page.wait_for_timeout(400)  # transitions of colours
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [
        f"{where}: {rule['id']} ({rule['impact']}) {node['target']} {node['failureSummary']}"
        for rule in found["violations"]
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]
