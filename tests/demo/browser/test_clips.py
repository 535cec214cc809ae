"""From a clip to downloads and code; clips that cannot be used."""

import json
import re
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from demo import compute
from demo.examples import EXAMPLES

from .helpers import (
    LONG,
    Open,
    changes,
    choose,
    download,
    expect_no_notice,
    expect_result,
    expect_to_play,
    in_both_widths,
    open_tab,
    set_number,
    upload,
)

# ---- from a clip to downloads -------------------------------------------------------------------


def test_an_uploaded_clip_becomes_objects_attention_and_downloads(
    page: Page, example: Path, example_facts: dict
) -> None:
    expect(page.locator("#frame")).to_be_hidden()
    upload(page, example)
    expect_to_play(page.locator("#original video"))
    page.locator("#preset input[value=fast]").check()
    page.click("#segment")
    expect_result(page)
    expect(page.locator("#notice")).to_contain_text("objects")
    expect(page.locator("#notice")).to_contain_text("descriptors")
    expect_to_play(page.locator("#overlay video"))
    expect_to_play(page.locator("#heat-video video"))
    changes(page.locator("#overlay video"), lambda: set_number(page, "#clusters", 30))

    open_tab(page, "Download")
    choose(page, "#cut-out", "Video with alpha (VP9, webm)")
    page.click("#prepare")
    everything = download(page, "bavos.zip")
    with zipfile.ZipFile(BytesIO(everything)) as archive:
        pictures = [name for name in archive.namelist() if name.endswith(".png")]
        assert len(pictures) == example_facts["frames"]
        assert list(Image.open(archive.open(pictures[0])).size) == example_facts["size"]
    for name in ("overlay.mp4", "masks.zip", "hierarchy.svg", "heatmap.mp4", "objects.webm"):
        expect(page.locator(f'#downloads a[download="{name}"]')).to_be_visible()
    expect_no_notice(page)


def test_a_click_on_an_example_is_all_it_takes_and_the_next_visitor_waits_for_nothing(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = opened()
    first.locator("#examples button img").nth(1).click()
    expect_result(first)
    expect_to_play(first.locator("#overlay video"))
    expect_to_play(first.locator("#original video"))

    monkeypatch.setattr(compute, "run_analysis", None)  # it would fail now
    second = opened()
    second.locator("#examples button img").nth(1).click()
    expect(second.locator("#overlay video")).to_be_visible(timeout=10_000)
    expect_result(second)
    expect(second.locator("#overlay video")).to_be_visible()  # the preview does not take it away
    expect_no_notice(second)


@in_both_widths
def test_the_gallery_shows_every_example_with_its_title(page: Page) -> None:
    facts = json.loads((EXAMPLES / "examples.json").read_text(encoding="utf-8"))
    expect(page.locator("#examples button img")).to_have_count(len(facts))
    for clip in facts:
        expect(page.get_by_role("button", name=clip["title"], exact=True)).to_be_visible()


def test_the_address_chooses_example_backbone_and_quality(opened: Open) -> None:
    page = opened("/?example=rolling-balls&backbone=builtin&preset=fast")
    expect(page.locator("#preset input[value=fast]")).to_be_checked()
    expect_to_play(page.locator("#original video"))
    page.get_by_text("Settings", exact=True).first.click()
    expect(page.get_by_role("combobox", name="Backbone")).to_have_value(
        "bundled-vits14 (tuned on saliency labels)"
    )
    expect_no_notice(page)


def test_an_address_that_makes_no_sense_is_ignored(opened: Open) -> None:
    page = opened("/?example=../../etc/passwd&backbone=nonsense&preset=%3Cb%3E")
    expect(page.locator("#preset input[value=fast]")).to_be_checked()
    page.click("#segment")
    expect(page.get_by_test_id("toast-text")).to_contain_text("Choose a clip first")


def test_presets_tell_frames_and_after_a_run_seconds(segmented: Page) -> None:
    for name in ("fast", "balanced", "fine"):
        label = segmented.locator(f"#preset label:has(input[value={name}])")
        expect(label).to_contain_text(re.compile(r": 6 × \d+, \d+ s"), timeout=LONG)
    expect(segmented.locator("#preset input[value=fast]")).to_be_checked()


@in_both_widths
def test_nothing_moves_while_results_arrive(page: Page, small_clip: Path) -> None:
    upload(page, small_clip)
    expect(page.locator("#original video")).to_be_visible(timeout=LONG)
    page.click("#segment")
    expect(page.locator("#frame img")).to_be_visible(timeout=LONG)
    places = {name: page.locator(name).bounding_box()["y"] for name in ("#frame", "#clusters")}
    expect_result(page)
    page.wait_for_timeout(500)
    for name, y in places.items():
        assert page.locator(name).bounding_box()["y"] == pytest.approx(y, abs=2)


# ---- what cannot be used ------------------------------------------------------------------------


@in_both_widths
def test_text_that_says_it_is_a_video_gets_one_sentence(page: Page, not_a_video: Path) -> None:
    upload(page, not_a_video)
    notice = page.get_by_test_id("toast-text")
    expect(notice).to_be_in_viewport()
    expect(notice).to_contain_text("'notes.mp4' is no video, image or zip that can be read")
    expect(page.locator("body")).not_to_contain_text("Traceback")
    expect(page.locator("#frame")).to_be_hidden()


def test_segment_without_a_clip_says_what_to_do(page: Page) -> None:
    page.click("#segment")
    expect(page.get_by_test_id("toast-text")).to_have_text(
        "Choose a clip first: upload one or click an example."
    )
    expect(page.locator("#frame")).to_be_hidden()


# ---- code ---------------------------------------------------------------------------------------


def test_the_code_follows_what_is_shown(segmented: Page, server: str) -> None:
    open_tab(segmented, "Download")
    code = segmented.locator("#code")
    expect(code).to_contain_text("python -m bavos_core segment")
    expect(code).to_contain_text(f'Client("{server.rstrip("/")}')
    expect(code).to_contain_text("--frames 6")
    set_number(segmented, "#clusters", 7)
    expect(code).to_contain_text("segment(n_clusters=7)")
    python = code.locator(".cm-content").inner_text().split("# Python")[1].split("# This")[0]
    compile(python, "code", "exec")
    expect_no_notice(segmented)


def test_a_part_of_a_video_is_chosen_with_two_sliders(page: Page, small_clip: Path) -> None:
    start, end = (page.locator(f"#part-{side} input[type=number]") for side in ("start", "end"))
    expect(start).to_be_hidden()
    upload(page, small_clip)
    expect(end).to_have_value("2", timeout=LONG)
    set_number(page, "#part-start", 0.9)
    page.click("#segment")
    expect_result(page)
    last = page.locator("#position input[type=number]")
    expect(last).to_have_attribute("max", "1")  # two frames, at 1 and 1.5 seconds
