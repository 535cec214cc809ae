"""Cancelling a run, and a run in the queue."""

import threading
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from demo import compute, strings
from demo.service import Service

from .helpers import LONG, Open, expect_no_notice, expect_result, upload


def test_cancel_ends_a_run_with_one_notice_and_frees_the_lane(
    page: Page, small_clip: Path, monkeypatch: pytest.MonkeyPatch
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
    expect(page.locator("#original video")).to_be_visible(timeout=LONG)
    with monkeypatch.context() as patch:
        patch.setattr(compute, "run_analysis", endless)
        page.click("#segment")
        assert started.wait(20)
        expect(page.get_by_text("features", exact=False).first).to_be_visible()
        page.click("#cancel")
        assert ended.wait(10)
    expect(page.get_by_test_id("toast-body")).to_have_count(1)
    expect(page.get_by_test_id("toast-text")).to_have_text(strings.CANCELLED)
    expect(page.locator("#frame")).to_be_hidden()
    page.click("#segment")
    expect_result(page)


def test_cancel_takes_a_run_out_of_the_queue(
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
        expect(page.locator("#original video")).to_be_visible(timeout=LONG)
    with monkeypatch.context() as patch:
        patch.setattr(compute, "run_analysis", endless)
        first.click("#segment")
        assert runs.acquire(timeout=20)
        second.click("#segment")
        expect(second.get_by_text("queue", exact=False).first).to_be_visible()
        second.click("#cancel")
        expect(second.get_by_text("queue", exact=False)).to_have_count(0)
        first.click("#cancel")
        expect(first.get_by_test_id("toast-text")).to_have_text(strings.CANCELLED)
        assert not runs.acquire(timeout=2)  # the second one never begins
    second.click("#segment")
    expect_result(second)


def test_cancel_without_a_run_does_nothing(page: Page) -> None:
    page.click("#cancel")
    page.wait_for_timeout(300)
    expect_no_notice(page)


def test_the_server_forgets_no_jobs(served: Service) -> None:
    """After all of the above nothing is left running."""
    assert not served.runs.active
    assert not served.lane.busy
