"""The page as it opens: an example plays, and everything to begin with is in view."""

import json

import pytest
from playwright.sync_api import Page, expect

from demo.examples import EXAMPLES, example_path
from demo.presets import PRESETS
from demo.service import Service

from .helpers import SIZES, Open, expect_no_message, expect_result, in_both_widths, shown


@pytest.fixture
def fresh(served: Service, opened: Open, monkeypatch: pytest.MonkeyPatch) -> Page:
    """The page of a server that has not analysed the example yet."""
    monkeypatch.setattr(served, "arrived", lambda: None)
    return opened()


def test_an_example_plays_on_arrival_and_the_viewer_is_in_view(fresh: Page) -> None:
    page = fresh
    expect(page.locator("[data-opened]")).to_have_attribute("data-opened", "arrival")
    page.wait_for_function("window.bavos.state().time > 0.2")
    head = page.locator("#head").bounding_box()
    assert head["y"] + head["height"] <= 130
    viewer = page.locator(".bavos-place").bounding_box()
    assert viewer["y"] + viewer["height"] <= SIZES["wide"]["height"]
    for part in ("canvas", "[aria-label=Time]", "[role=toolbar]", "[aria-label=Hierarchy]"):
        box = page.locator(f".bavos-place {part}").first.bounding_box()
        assert box["y"] >= viewer["y"] and box["y"] + box["height"] <= SIZES["wide"]["height"]
    expect(page.locator("#segment")).to_be_disabled()
    expect(page.locator("#cancel")).to_be_disabled()
    expect_no_message(page)


def test_the_servers_own_result_takes_over_without_disturbing(
    fresh: Page, served: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    expect(fresh.locator("[data-opened]")).to_have_attribute("data-opened", "arrival")
    fresh.evaluate("window.here = true")
    clip = str(example_path("rolling-balls"))
    own = served.segment(clip, "descriptors", PRESETS["fast"], lambda *_: None)
    monkeypatch.setattr(served, "arrived", lambda: own)
    assert expect_result(fresh) == own.id
    assert fresh.evaluate("window.here")
    expect_no_message(fresh)


@in_both_widths
def test_the_strip_shows_every_example_with_its_title_and_nothing_jumps(page: Page) -> None:
    facts = json.loads((EXAMPLES / "examples.json").read_text(encoding="utf-8"))
    expect(page.locator("#examples button img")).to_have_count(len(facts))
    for clip in facts:
        expect(page.get_by_role("button", name=clip["title"], exact=True)).to_be_visible()
    top_of_strip = "document.querySelector('#examples').getBoundingClientRect().top + scrollY"
    before = page.evaluate(top_of_strip)
    current = shown(page)
    page.get_by_role("button", name="Two fish", exact=True).click()
    expect_result(page, other_than=current)
    assert page.evaluate(top_of_strip) == before
    top = page.locator(".bavos-place").bounding_box()["y"]
    page.wait_for_function(
        "document.querySelector('.bavos-place').getBoundingClientRect().top < innerHeight / 2"
    )
    assert top < 2000
    expect_no_message(page)


def test_a_second_click_on_an_example_waits_for_nothing(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = opened("/?example=orbit&preset=fast")
    found = expect_result(first)
    monkeypatch.setattr("demo.compute.run_analysis", None)  # it would fail now
    second = opened("/?example=orbit&preset=fast")
    assert expect_result(second) == found
    expect_no_message(second)


def test_an_address_that_makes_no_sense_is_ignored(opened: Open) -> None:
    page = opened("/?backbone=nonsense&preset=%3Cb%3E&t=x&pins=1_9_9~a_b_c&source=none")
    expect(page.locator("#preset input[value=fast]")).to_be_checked()
    expect(page.locator("[data-opened]")).to_have_count(1)
    expect_no_message(page)


def test_a_shared_link_has_a_title_a_sentence_and_a_picture(page: Page, server: str) -> None:
    for name in ("og:title", "og:description", "og:image"):
        content = page.locator(f'meta[property="{name}"]').first.get_attribute("content")
        assert content
    answer = page.request.get(server.rstrip("/") + "/gradio_api/bavos/preview.jpg")
    assert answer.ok
    assert answer.headers["content-type"] == "image/jpeg"
    assert len(answer.body()) <= 300_000
