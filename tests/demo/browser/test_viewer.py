"""The viewer: time, views and styles."""

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from .helpers import (
    changes,
    expect_another,
    expect_no_notice,
    in_both_widths,
    number_of,
    open_tab,
    pixels_of,
    set_number,
    source_of,
)


@in_both_widths
def test_the_large_frame_fills_its_column(segmented: Page) -> None:
    for name in ("#frame", "#heat"):
        picture = segmented.locator(f"{name} img").bounding_box()
        column = segmented.locator(name).bounding_box()
        assert picture["width"] > 0.95 * column["width"]
        assert picture["width"] / picture["height"] == pytest.approx(128 / 96, rel=0.02)


def test_the_time_slider_changes_frame_and_heatmap(segmented: Page) -> None:
    frame, heat = segmented.locator("#frame img"), segmented.locator("#heat img")
    before = source_of(frame)
    changes(heat, lambda: set_number(segmented, "#position", 0))
    expect_another(frame, before)
    expect_no_notice(segmented)


def test_arrow_keys_step_through_time_but_not_while_typing(segmented: Page) -> None:
    frame, start = segmented.locator("#frame img"), number_of(segmented, "#position")
    segmented.locator("h1").click()
    changes(frame, lambda: segmented.keyboard.press("ArrowRight"))
    assert number_of(segmented, "#position") == start + 1
    changes(frame, lambda: segmented.keyboard.press("ArrowLeft"))
    assert number_of(segmented, "#position") == start
    for _ in range(9):
        segmented.keyboard.press("ArrowLeft")
    expect(segmented.locator("#position input[type=number]")).to_have_value("0")
    open_tab(segmented, "Objects")
    segmented.locator("#objects input").first.focus()
    segmented.keyboard.press("ArrowRight")
    segmented.wait_for_timeout(200)
    assert number_of(segmented, "#position") == 0
    expect_no_notice(segmented)


def test_a_slider_that_is_dragged_fast_ends_where_it_was_let_go(segmented: Page) -> None:
    slider = segmented.locator("#position input[type=range]")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    y = box["y"] + box["height"] / 2
    segmented.mouse.move(box["x"] + 5, y)
    segmented.mouse.down()
    for i in range(40):
        segmented.mouse.move(box["x"] + box["width"] * abs(np.sin(i / 4)), y)
    segmented.mouse.move(box["x"] + box["width"] + 5, y)
    segmented.mouse.up()
    expect(segmented.locator("#position input[type=number]")).to_have_value("3")
    segmented.wait_for_timeout(700)
    last = pixels_of(segmented.locator("#frame img"))
    for position in (2, 3):
        changes(
            segmented.locator("#frame img"),
            lambda position=position: set_number(segmented, "#position", position),
        )
    np.testing.assert_array_equal(pixels_of(segmented.locator("#frame img")), last)
    expect_no_notice(segmented)


def test_original_compare_and_objects(segmented: Page) -> None:
    frame, both = segmented.locator("#frame"), segmented.locator("#compare-frame")
    painted = pixels_of(frame.locator("img"))
    changes(frame.locator("img"), segmented.locator("#view input[value=original]").check)
    original = pixels_of(frame.locator("img"))
    assert abs(original - painted).max() > 30
    segmented.locator("#view input[value=compare]").check()
    expect(both).to_be_visible()
    expect(both.locator("img")).to_have_count(2)
    expect(frame).to_be_hidden()
    segmented.locator("#view input[value=objects]").check()
    expect(frame.locator("img")).to_be_visible()
    expect(both).to_be_hidden()
    expect_no_notice(segmented)


def test_style_opacity_and_background_repaint_the_frame(segmented: Page) -> None:
    frame, overlay = segmented.locator("#frame img"), segmented.locator("#overlay video")
    changes(frame, lambda: set_number(segmented, "#clusters", 8))
    for style in ("fills", "outlines", "both"):
        video = source_of(overlay)
        changes(frame, segmented.locator(f"#style input[value={style}]").check)
        expect_another(overlay, video)
    changes(frame, lambda: set_number(segmented, "#opacity", 0.9))
    before = source_of(overlay)
    changes(frame, segmented.locator("#background input").check)
    expect_another(overlay, before)
    expect_no_notice(segmented)
