"""From a clip to its result; results found again, lost and deleted; clips that are none."""

import re
import threading
from pathlib import Path

import gradio as gr
import pytest
from playwright.sync_api import Page, expect

from demo import compute, strings
from demo.service import Service

from .helpers import (
    LONG,
    Open,
    expect_no_message,
    expect_result,
    in_both_widths,
    segment,
    set_number,
    shown,
    upload,
)


@in_both_widths
def test_an_uploaded_clip_becomes_a_result_in_view(page: Page, small_clip: Path) -> None:
    upload(page, small_clip)
    expect(page.locator("#notice")).to_contain_text("4 frames of 128×96, 2.0 s.")
    result = segment(page)
    assert f"result={result}" in page.url
    expect(page.locator("#notice")).to_contain_text("found")
    expect(page.locator("#notice")).to_contain_text("descriptors")
    page.wait_for_function(
        "document.querySelector('.bavos-place').getBoundingClientRect().top < innerHeight / 2"
    )
    expect(page.locator("#cancel")).to_be_disabled()
    expect(page.locator("#segment")).to_be_enabled()
    expect_no_message(page)


def test_reload_back_and_a_second_tab_find_the_result(opened: Open, small_clip: Path) -> None:
    page = opened()
    upload(page, small_clip)
    first = segment(page)
    page.reload()
    assert expect_result(page) == first
    expect(page.locator("#notice")).to_contain_text("found")
    tab = opened(f"/?result={first}&t=1.00&pins=1_0.5_0.5")
    assert expect_result(tab) == first
    state = tab.evaluate("window.bavos.state()")
    assert state["time"] == 1
    assert state["pins"] == [{"sample": 1, "y": 0.5, "x": 0.5}]
    upload(page, small_clip)
    second = segment(page)
    assert second != first
    page.go_back()
    assert expect_result(page, other_than=second) == first
    expect_no_message(page)


def test_a_page_left_during_a_run_comes_back_ready(page: Page, small_clip: Path) -> None:
    upload(page, small_clip)
    page.click("#segment")
    expect(page.locator("#cancel")).to_be_enabled()
    page.reload()
    upload(page, small_clip)
    segment(page)
    expect_no_message(page)


def test_a_link_keeps_edits(opened: Open, result: str) -> None:
    page = opened(f"/?result={result}")
    assert expect_result(page) == result
    page.locator("#panel-objects").get_by_role("button", name="Make").first.click()
    page.wait_for_url("**edits=**")
    made = page.evaluate("window.bavos.state()")
    assert [edit["action"] for edit in made["edits"]] == ["role"]
    tab = opened(page.url.removeprefix(page.url.partition("/?")[0]))
    assert expect_result(tab) == result
    again = tab.evaluate("window.bavos.state()")
    assert (again["n"], again["edits"]) == (made["n"], made["edits"])
    torn = opened(f"/?result={result}&n=99999&edits=W3siYWN0aW9uI")
    assert expect_result(torn) == result
    assert torn.evaluate("window.bavos.state().edits") == []


def test_a_lost_result_is_said_with_the_way_on(opened: Open) -> None:
    page = opened("/?result=" + "x" * 32)
    expect(page.locator("#notice")).to_contain_text("no longer on the server")
    expect(page.locator("[data-opened]")).to_have_count(1)
    assert "result=" not in page.url


def test_a_result_is_deleted_when_asked_for(page: Page, small_clip: Path, served: Service) -> None:
    upload(page, small_clip)
    result = segment(page)
    page.locator("#take-home > button").click()
    page.click("#delete")
    expect(page.locator("#notice")).to_contain_text(strings.DELETED)
    assert result not in served.store._results
    expect(page.locator("[data-opened]")).not_to_have_attribute("data-opened", result)
    assert "result=" not in page.url


def test_a_part_of_a_video_is_chosen_with_two_sliders(
    page: Page, small_clip: Path, blocks: gr.Blocks
) -> None:
    upload(page, small_clip)
    page.locator("#settings > button").click()
    expect(page.locator("#part-end input[type=number]")).to_have_value("2", timeout=LONG)
    set_number(page, "#part-start", 0.9)
    page.locator("#settings > button").click()
    blocks.app.state_holder.session_data.clear()  # as for a page that was not used for long
    segment(page)
    expect(page.locator("#notice")).to_contain_text("2 frames ×")


def test_the_expected_seconds_are_told_after_a_run(page: Page, small_clip: Path) -> None:
    upload(page, small_clip)
    segment(page)
    page.locator("#preset input[value=balanced]").check()
    expect(page.locator("#notice")).to_contain_text(re.compile(r"About \d+ s on this server"))


# ---- cancelling ---------------------------------------------------------------------------------


def test_cancel_ends_a_run_and_frees_the_lane(
    page: Page, small_clip: Path, monkeypatch: pytest.MonkeyPatch, served: Service
) -> None:
    started, ended = threading.Event(), threading.Event()

    def endless(clip, settings, progress):
        started.set()
        try:
            for _ in range(600):
                progress("features", 0.5)
                threading.Event().wait(0.05)
        finally:
            ended.set()

    upload(page, small_clip)
    before = shown(page)
    with monkeypatch.context() as patch:
        patch.setattr(compute, "run_analysis", endless)
        page.click("#segment")
        assert started.wait(20)
        expect(page.locator("#segment")).to_be_disabled()
        expect(page.get_by_text("features", exact=False).first).to_be_visible()
        page.click("#cancel")
        assert ended.wait(10)
    expect(page.locator("#cancel")).to_be_disabled()
    expect_no_message(page)
    assert shown(page) == before
    segment(page)
    assert served.jobs.runs.ended(20)
    assert not served.jobs.lane.busy


def test_cancel_takes_a_run_that_waits_out_at_once(
    opened: Open, small_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = opened(), opened()
    runs = threading.Semaphore(0)

    def endless(clip, settings, progress):
        runs.release()
        while True:
            progress("features", 0.5)
            threading.Event().wait(0.05)

    for page in (first, second):
        upload(page, small_clip)
    with monkeypatch.context() as patch:
        patch.setattr(compute, "run_analysis", endless)
        first.click("#segment")
        assert runs.acquire(timeout=20)
        second.click("#segment")
        waits = second.get_by_text("waiting: 1 job before yours", exact=False)
        expect(waits.first).to_be_visible()
        second.click("#cancel")
        expect(waits).to_have_count(0)
        first.click("#cancel")
        expect(first.locator("#cancel")).to_be_disabled()
        assert not runs.acquire(timeout=2)  # the second one never begins
    segment(second)


# ---- what cannot be used ------------------------------------------------------------------------


@in_both_widths
def test_text_that_says_it_is_a_video_gets_one_sentence_that_goes(
    page: Page, not_a_video: Path, small_clip: Path
) -> None:
    page.locator("#clip input[type=file]").set_input_files(not_a_video)
    message = page.get_by_test_id("toast-text")
    expect(message).to_have_count(1)
    expect(message).to_be_in_viewport()
    expect(message).to_contain_text("'notes.mp4' is no video, image or zip that can be read")
    expect(page.locator("body")).not_to_contain_text("Traceback")
    page.mouse.click(5, 500)
    expect_no_message(page)
