"""Attention of the clicked patches."""

import re

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from demo import strings

from .helpers import (
    changes,
    choose,
    click_at,
    expect_another,
    expect_no_notice,
    in_both_widths,
    pixels_of,
    set_number,
    source_of,
)


@in_both_widths
def test_the_ring_on_the_heatmap_lies_where_the_frame_was_clicked(segmented: Page) -> None:
    heat = segmented.locator("#heat img")
    changes(heat, lambda: click_at(segmented.locator("#frame img"), 0.25, 0.75))
    picture = pixels_of(heat).mean(2)
    height, width = picture.shape
    radius = max(4, 0.014 * max(height, width))

    def ring_at(y: float, x: float) -> float:
        """How much brighter a ring around a point is than what lies just inside and outside."""
        rows, columns = np.ogrid[:height, :width]
        away = abs(np.hypot(rows + 0.5 - y, columns + 0.5 - x) - radius) / radius
        return picture[away < 0.15].mean() - picture[(away > 0.27) & (away < 0.4)].mean()

    places = [(y, x) for y in range(8, height - 8) for x in range(8, width - 8)]
    found = max(places, key=lambda place: ring_at(*place))
    assert found == pytest.approx((0.75 * height, 0.25 * width), abs=1.5)
    assert ring_at(*found) > 60


def test_several_points_have_a_plot_and_a_colour_each_until_they_are_cleared(
    segmented: Page,
) -> None:
    frame, heat = segmented.locator("#frame img"), segmented.locator("#heat img")
    plots, dots = segmented.locator("#caption svg"), segmented.locator("#caption .dot")
    expect(plots).to_have_count(1)
    expect(dots).to_have_count(0)
    segmented.locator("#keep input").check()
    changes(heat, lambda: click_at(frame, 0.2, 0.2))
    expect(plots).to_have_count(2)
    changes(heat, lambda: click_at(frame, 0.8, 0.8))
    expect(plots).to_have_count(3)
    colours = {dot.get_attribute("style") for dot in dots.all()}
    assert len(colours) == 3
    expect(segmented.locator("#caption")).to_contain_text("of its attention stays in that frame")
    segmented.locator("#keep input").uncheck()
    changes(heat, lambda: click_at(frame, 0.5, 0.5))
    expect(plots).to_have_count(1)
    segmented.click("#clear")
    expect(heat).to_have_count(0)
    expect(segmented.locator("#caption")).to_contain_text("Click a patch")
    expect(segmented.locator("#tiles")).to_be_hidden()
    expect(segmented.locator("#heat-video")).to_be_hidden()
    click_at(frame, 0.3, 0.3)
    expect(heat).to_be_visible()
    expect_no_notice(segmented)


def test_colours_opacity_percentile_and_grid_repaint_the_heatmap(segmented: Page) -> None:
    heat = segmented.locator("#heat img")
    segmented.get_by_text(strings.HEAT_STYLE).click()
    changes(heat, lambda: choose(segmented, "#colours", "viridis"))
    changes(heat, lambda: set_number(segmented, "#heat-opacity", 0.3))
    changes(heat, lambda: set_number(segmented, "#percentile", 92))
    changes(heat, segmented.locator("#grid input").check)
    expect_no_notice(segmented)


def test_sources_heads_and_frames_are_shown_side_by_side_and_can_be_picked(
    segmented: Page,
) -> None:
    tiles = segmented.locator("#tiles button")
    expect(tiles).to_have_count(4)  # the frames of the clip
    frame, heat = segmented.locator("#frame img"), segmented.locator("#heat img")
    changes(frame, tiles.nth(3).click)
    expect(segmented.locator("#position input[type=number]")).to_have_value("3")
    segmented.locator("#compare input[value=sources]").check()
    for source, name in strings.SOURCES.items():
        if source != "correlator":  # there is no trained block
            expect(segmented.locator("#tiles")).to_contain_text(name)
    changes(heat, segmented.locator("#source input[value=untrained]").check)
    segmented.locator("#compare input[value=heads]").check()
    expect(tiles).to_have_count(8)
    changes(heat, tiles.nth(5).click)
    expect(segmented.locator("#head input")).to_have_value("Head 5")
    expect_no_notice(segmented)


def test_a_source_with_fewer_heads_can_follow_any_head(segmented: Page) -> None:
    heat, video = segmented.locator("#heat img"), segmented.locator("#heat-video video")
    before = source_of(video)
    changes(heat, segmented.locator("#source input[value=untrained]").check)
    expect_another(video, before)  # or its arrival may close the list that is opened next
    before = source_of(video)
    changes(heat, lambda: choose(segmented, "#head", "Head 7"))
    expect_another(video, before)
    changes(heat, segmented.locator("#source input[value=key-similarity]").check)
    expect(segmented.locator("#head input")).to_have_value("Mean of all")
    expect_no_notice(segmented)


def test_a_click_into_the_heatmap_tells_weight_and_rank(segmented: Page) -> None:
    weight = segmented.locator("#weight")
    expect(weight).to_have_text(strings.WEIGH)
    click_at(segmented.locator("#heat img"), 0.5, 0.5)
    expect(weight).to_contain_text(
        re.compile(r"receives \d+\.\d+% of the attention: rank \d+ of \d+")
    )
    first = weight.inner_text()
    click_at(segmented.locator("#heat img"), 0.05, 0.05)
    expect(weight).not_to_have_text(first)
    expect_no_notice(segmented)


def test_a_patch_can_be_chosen_without_a_mouse(segmented: Page) -> None:
    heat = segmented.locator("#heat img")
    picture = segmented.locator("#frame .image-container > button")
    picture.focus()
    for _ in range(6):
        segmented.keyboard.press("Shift+ArrowUp")
    expect(segmented.locator(".bavos-point")).to_be_visible()
    changes(heat, lambda: segmented.keyboard.press("Enter"))
    expect(segmented.locator("#caption")).to_contain_text("Patch in row")
    expect_no_notice(segmented)
