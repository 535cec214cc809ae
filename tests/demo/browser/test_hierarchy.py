"""The hierarchy and its cut."""

import pytest
from playwright.sync_api import Page, expect

from .helpers import (
    expect_another,
    expect_no_notice,
    expect_to_play,
    in_both_widths,
    number_of,
    open_tab,
    set_number,
    source_of,
)


@pytest.fixture
def tree(segmented: Page) -> Page:
    """The page with the hierarchy in view."""
    open_tab(segmented, "Hierarchy")
    expect(segmented.locator("#tree svg")).to_be_visible()
    return segmented


@in_both_widths
def test_a_click_on_a_branch_shows_its_patches_over_time(tree: Page) -> None:
    thumbnail = tree.locator("#tree image[data-node]").first
    expect(thumbnail).to_be_visible()
    assert thumbnail.get_attribute("href").startswith("data:image/jpeg")
    tree.locator("#tree").scroll_into_view_if_needed()
    thumbnail.click()
    tiles = tree.locator("#node-tiles img")
    expect(tiles).to_have_count(4)
    before = source_of(tiles.first)
    places = tree.locator("#tree path[data-node]").evaluate_all(
        "paths => paths.map(path => {"
        " const p = path.getPointAtLength(2).matrixTransform(path.getScreenCTM());"
        " return [p.x, p.y] })"
    )
    place = next(p for p in places if p[0] < tree.viewport_size["width"] - 10)  # others: scroll
    tree.mouse.click(place[0] + 2, place[1])  # a little beside it
    expect_another(tiles.first, before)
    expect_no_notice(tree)


@in_both_widths
def test_the_dashed_line_and_the_slider_are_one_thing(tree: Page) -> None:
    def line() -> tuple[float, float]:
        box = tree.locator("#tree line.cut").evaluate(
            "e => { const b = e.getBoundingClientRect(); return [b.x, b.y + b.height / 2] }"
        )
        return box[0] + 60, box[1]

    tree.locator("#tree").scroll_into_view_if_needed()
    frame, overlay = tree.locator("#frame img"), tree.locator("#overlay video")
    before, video = source_of(frame), source_of(overlay)
    first = number_of(tree, "#clusters")
    x, y = line()
    tree.mouse.move(x, y)
    tree.mouse.down()
    tree.mouse.move(x, y + 15, steps=4)
    tree.mouse.move(x, y + 45, steps=4)
    tree.mouse.up()
    expect(tree.locator("#clusters input[type=number]")).not_to_have_value(f"{first:g}")
    finer = number_of(tree, "#clusters")
    assert finer > first
    expect(tree.locator("#tree svg title").first).to_contain_text(f"{finer:g} clusters")
    expect_another(frame, before)
    expect_another(overlay, video)
    lowered = line()[1]
    assert lowered > y
    set_number(tree, "#clusters", 2)
    expect(tree.locator("#tree svg title").first).to_contain_text("2 clusters")
    assert line()[1] < lowered
    expect_no_notice(tree)


def test_the_line_may_be_let_go_outside_the_tree(tree: Page) -> None:
    tree.locator("#tree").scroll_into_view_if_needed()
    box = tree.locator("#tree line.cut").bounding_box()
    tree.mouse.move(box["x"] + 60, box["y"] + 1)
    tree.mouse.down()
    tree.mouse.move(box["x"] + 60, 2, steps=5)
    tree.mouse.up()
    expect(tree.locator("#clusters input[type=number]")).to_have_value("1")
    expect_no_notice(tree)


def test_the_levels_play(tree: Page) -> None:
    tree.click("#play")
    expect(tree.locator("#levels video")).to_be_visible()
    expect_to_play(tree.locator("#levels video"))
    expect_no_notice(tree)
