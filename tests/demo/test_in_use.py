"""Results that go while a job works with them: too many, too old, or left behind by a visitor."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import gradio as gr
import numpy as np
import pytest

from bavos_core import Analysis, Cancelled, InputError
from bavos_lab.training import TrainedCorrelator
from demo.compute import run_adaptation
from demo.page import Page
from demo.panels.adapting import AdaptingEvents
from demo.panels.downloads import DownloadsEvents
from demo.presets import Preset
from demo.service import Service
from demo.settings import DemoSettings
from demo.store import Result

SENTENCE = "This result no longer exists; press Segment again."
VISITOR = ""  # whose everything is where nobody tells visitors apart
SETTINGS = DemoSettings(backbone="descriptors", max_frames=3, preview_side=64, store_mib=1)
LARGE = Preset(3, 1200)  # gives a result of nearly 1 MiB, so the store has room for one
QUERY = (0, 10.0, 10.0)
Report = Callable[..., None]


def ignore(*_: object) -> None:
    """Take no notice of progress."""


@pytest.fixture(scope="module")
def analysis(small_clip: Path) -> Iterator[Analysis]:
    made = Service(SETTINGS)
    yield made.segment(str(small_clip), "descriptors", LARGE, ignore).analysis
    made.close()


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service(SETTINGS)
    yield made
    made.close()


@pytest.fixture
def segment(service: Service, analysis: Analysis, small_clip: Path) -> Callable[[], Result]:
    """Puts one more result into the store."""

    def put() -> Result:
        with service.store.put(analysis, small_clip, ()) as result:
            return result

    return put


@pytest.fixture
def result(segment: Callable[[], Result]) -> Result:
    return segment()


@pytest.fixture(scope="module")
def block(analysis: Analysis) -> TrainedCorrelator:
    """What was learned on the clip."""
    return next(iter(run_adaptation(analysis.tokens, analysis.grid, 1, None))).correlator


@pytest.fixture(params=["too many", "too old", "left"])
def lose(request, service, segment, monkeypatch) -> Callable[[], object]:
    """Does what a result goes by."""

    def age(seconds: float) -> None:
        later = time.monotonic() + seconds + 1
        monkeypatch.setattr(service.store, "_clock", lambda: later)
        service.store.sweep()

    def leave() -> None:
        service.leave(VISITOR)
        age(SETTINGS.grace_seconds)

    ways = {"too many": segment, "too old": lambda: age(SETTINGS.keep_seconds), "left": leave}
    return ways[request.param]


@contextmanager
def halfway(job: Callable[[Report], object], end: Report = ignore) -> Iterator[Future]:
    """A job that waits when it first tells its progress, and goes on when the block is done."""
    reached, go = threading.Event(), threading.Event()

    def report(*progress: object) -> None:
        reached.set()
        assert go.wait(60)
        end(*progress)

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(job, report)
        try:
            assert reached.wait(60)
            yield running
        finally:
            go.set()


def painting(service: Service, result: Result) -> Callable[[Report], Path]:
    """A job that paints a video which is not there yet."""
    cut = result.analysis.segment(n_clusters=2)
    return lambda report: service.files.overlay(result, cut, report)


def exporting(service: Service, result: Result) -> Callable[[Report], Path]:
    """A job that writes everything that can be taken home."""
    return lambda report: service.downloads(result.id, 4, (), report)[0]


def folders(service: Service) -> int:
    """How many results have their files."""
    return len([*service.store.root.glob("*/clip.*")])


def has_files(service: Service, result: Result) -> bool:
    """Whether a result has its files, as all others have that can be asked for."""
    others = service.store._results.keys() - {result.id}
    assert 0 <= folders(service) - len(others) <= 1
    return folders(service) > len(others)


def is_gone(service: Service, result: Result) -> bool:
    """Whether who asks for a result is told that there is none, and its files are deleted."""
    with pytest.raises(InputError) as caught:
        service.store.get(result.id)
    return str(caught.value) == SENTENCE and not has_files(service, result)


def test_the_store_has_room_for_one(service, result, segment) -> None:
    newer = segment()
    assert is_gone(service, result)
    assert service.store.get(newer.id) is newer
    assert folders(service) == 1


@pytest.mark.parametrize("job", [painting, exporting])
def test_a_job_writes_its_files_to_the_end_and_then_the_result_goes(
    service, result, lose, job
) -> None:
    with halfway(job(service, result)) as written:
        lose()
        assert has_files(service, result)
    assert written.result().stat().st_size > 0
    assert is_gone(service, result)


def test_the_last_of_two_jobs_takes_the_result_along(service, result, lose) -> None:
    with halfway(exporting(service, result)) as exported:
        with halfway(painting(service, result)) as painted:
            lose()
        assert painted.result().is_file()
        assert has_files(service, result)
    assert exported.result().is_file()
    assert is_gone(service, result)


@pytest.mark.parametrize("error", [Cancelled(), KeyError("x")])
def test_a_job_that_fails_takes_the_result_along_as_well(service, result, lose, error) -> None:
    def fail(*_: object) -> None:
        raise error

    with halfway(painting(service, result), end=fail) as painted:
        lose()
        assert has_files(service, result)
    assert painted.exception() is error
    assert is_gone(service, result)


def test_what_is_in_use_stays_although_it_is_too_much(service, result, segment) -> None:
    with halfway(painting(service, result)):
        newer = segment()
        assert service.store.get(result.id) is result
        assert service.store.get(newer.id) is newer
    assert folders(service) == 1


def training(page: Page, result: Result, steps: int) -> Iterator[dict]:
    """Train on a result as the page does."""
    return AdaptingEvents(page).adapt({"result": result.id}, steps)


@pytest.fixture
def page(page_of, service: Service) -> Page:
    return page_of(service)


def test_what_is_learned_on_a_clip_is_shown_although_newer_results_came(
    page, service, result, segment
) -> None:
    steps = training(page, result, 3)
    next(steps)
    segment()
    *_, last = steps
    assert service.store.get(last[page.viewer.view]["result"]).before == result.id
    assert is_gone(service, result)
    assert folders(service) == 1


def test_objects_are_found_anew_although_newer_results_came(
    service, result, segment, block
) -> None:
    newer = block.block.attn.qkv.register_forward_pre_hook(lambda *_: segment() and None)
    try:
        adapted = service.adapted(result.id, block)
    finally:
        newer.remove()
    assert service.store.get(adapted.id) is adapted
    assert folders(service) == 1


def test_a_result_that_goes_while_a_block_learns_keeps_its_files_until_then(
    page, service, result
) -> None:
    steps = training(page, result, 50)
    next(steps)
    service.store.drop(result.id)
    assert has_files(service, result)
    steps.close()  # as Gradio does when nobody listens any more
    assert not has_files(service, result)


def test_a_result_that_goes_while_a_block_learns_is_missed_in_one_sentence(
    page, service, result
) -> None:
    steps = training(page, result, 2)
    next(steps)
    service.store.drop(result.id)
    with pytest.raises(gr.Error) as caught:
        list(steps)
    assert caught.value.message == SENTENCE
    assert not has_files(service, result)


@pytest.mark.parametrize("job", [painting, exporting])
def test_a_server_that_stops_waits_for_no_job_and_leaves_nothing(small_clip, job) -> None:
    service = Service(SETTINGS)
    result = service.segment(str(small_clip), "descriptors", Preset(2, 100), ignore)
    with halfway(job(service, result)) as written:
        service.close()
    assert str(written.exception()) == SENTENCE
    assert not service.store.root.exists()


@pytest.mark.parametrize("ask", ["code", "files", "training", "version", "deleting"])
def test_a_page_whose_result_went_is_told_so_in_one_sentence(page, result, segment, ask) -> None:
    state = {"result": result.id, "n": 4, "versions": [result.id, result.id]}
    downloads, adapting = DownloadsEvents(page), AdaptingEvents(page)
    asked = {
        "code": lambda: downloads.write_code(state, None),
        "files": lambda: downloads.make_files(state, "all", "", False),
        "training": lambda: next(adapting.adapt(state, 3)),
        "version": lambda: adapting.switch(state, "before"),
        "deleting": lambda: downloads.delete(state),
    }
    segment()
    with pytest.raises(gr.Error) as caught:
        asked[ask]()
    assert caught.value.message == SENTENCE


# ---- what is asked for too late, and what was given in time --------------------------------------

GIVEN = {
    "overlay": lambda service, it: service.files.overlay(it, it.analysis.segment(n_clusters=3)),
    "picture": lambda service, it: service.files.picture(it, np.zeros((8, 8, 3), np.uint8)),
    "heatmap": lambda service, it: service.files.heatmap(
        it, it.analysis.attend_all([QUERY])[0], QUERY
    ),
    "downloads": lambda service, it: service.downloads(it.id, 4, (), ignore)[-1],
}


@pytest.mark.parametrize("what", GIVEN)
def test_who_asks_too_late_is_told_so_in_one_sentence(service, result, what) -> None:
    service.store.drop(result.id)
    with pytest.raises(InputError) as caught:
        GIVEN[what](service, result)
    assert str(caught.value) == SENTENCE


@pytest.mark.parametrize("what", GIVEN)
def test_a_file_can_be_sent_although_its_result_is_gone(service, result, what) -> None:
    """Gradio sends files when the handler has returned."""
    path = GIVEN[what](service, result)
    service.store.drop(result.id)
    assert path.stat().st_size > 0


def test_a_video_shows_what_was_asked_for_although_the_next_click_came(service, result) -> None:
    queries = [QUERY, (0, 80.0, 100.0)]
    rows = result.analysis.attend_all(queries)
    first = service.files.heatmap(result, rows[0], queries[0])
    shown = first.read_bytes()
    second = service.files.heatmap(result, rows[1], queries[1])
    assert first.read_bytes() == shown != second.read_bytes()
