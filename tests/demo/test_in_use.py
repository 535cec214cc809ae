"""Results that go while a job works with them: too many, too old, or left behind by a visitor."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest

from bavos_core import Cancelled, InputError
from bavos_core.progress import Stage
from bavos_lab.training import TrainedCorrelator
from demo.edits import Edits
from demo.page import Page
from demo.panels.adapting import AdaptingEvents
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
def analysed(small_clip: Path) -> Iterator[Service]:
    """The small clip is the example, so it is analysed but once."""
    made = Service(SETTINGS, examples=[small_clip])
    yield made
    made.close()


@pytest.fixture
def service(analysed: Service) -> Iterator[Service]:
    yield analysed
    analysed.leave(VISITOR)


@pytest.fixture
def segment(service: Service, small_clip: Path) -> Callable[[], Result]:
    """Puts one more result into the store."""
    return lambda: service.segment(str(small_clip), "descriptors", LARGE, ignore)[0]


@pytest.fixture
def result(segment: Callable[[], Result]) -> Result:
    return segment()


@pytest.fixture(scope="module")
def block(analysed: Service, small_clip: Path) -> TrainedCorrelator:
    """What was learned on the clip."""
    learned_on, _ = analysed.segment(str(small_clip), "descriptors", LARGE, ignore)
    return next(iter(analysed.adapt(learned_on.id, 1))).correlator


@pytest.fixture(params=["too many", "too old", "left"])
def lose(request, service, segment, monkeypatch) -> Callable[[], object]:
    """Does what a result goes by."""

    def age() -> None:
        later = time.monotonic() + SETTINGS.keep_seconds + 1
        clock = SimpleNamespace(monotonic=lambda: later, time=time.time)
        monkeypatch.setattr("demo.store.time", clock)  # the store's alone: decoders are timed too
        service.store.sweep()

    ways = {"too many": segment, "too old": age, "left": lambda: service.leave(VISITOR)}
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
    return lambda report: service.files.overlay(result, cut, progress=report)


def exporting(service: Service, result: Result) -> Callable[[Report], Path]:
    """A job that writes everything that can be taken home."""
    return lambda report: service.downloads(result.id, 4, Edits(), report)[0]


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


def test_a_visitor_may_leave_while_the_first_video_is_painted(small_clip) -> None:
    service = Service(SETTINGS)
    painted: list[float] = []

    def job(report: Report) -> Path:
        def told(share: float, stage: str) -> None:
            if stage == Stage.MASKS:
                painted.append(share)
                report()

        return service.segment(str(small_clip), "descriptors", LARGE, told)[1]

    with halfway(job) as segmented:
        assert len(painted) == folders(service) == 1
        service.leave(VISITOR)
    assert segmented.result().is_file()
    assert folders(service) == 0
    service.close()


def training(page: Page, result: Result, steps: int) -> Iterator[dict]:
    """Train on a result as the page does."""
    v = page.viewer
    values = {v.key: result.id, v.queries: (), v.position: 1, page.adapting.steps: steps}
    return AdaptingEvents(page).adapt(values)


@pytest.fixture
def page(page_of, service: Service) -> Page:
    return page_of(service)


def test_what_is_learned_on_a_clip_is_shown_although_newer_results_came(
    page, service, result, segment, decode
) -> None:
    steps = training(page, result, 3)
    next(steps)
    segment()
    *_, last = steps
    assert service.store.get(last[page.viewer.key]).before == result.id
    assert decode(last[page.run.overlay]).shape == (4, 48, 64, 3)
    assert is_gone(service, result)
    assert folders(service) == 1


def test_objects_are_found_anew_although_newer_results_came(
    service, result, segment, block
) -> None:
    newer = block.block.attn.qkv.register_forward_pre_hook(lambda *_: segment() and None)
    try:
        adapted, video = service.adapted(result.id, block)
    finally:
        newer.remove()
    assert video.is_file()
    assert service.store.get(adapted.id) is adapted
    assert folders(service) == 1


def test_who_leaves_while_a_block_learns_takes_the_result_along(page, service, result) -> None:
    steps = training(page, result, 50)
    next(steps)
    service.leave(VISITOR)
    assert has_files(service, result)
    steps.close()  # as Gradio does when nobody listens any more
    assert not has_files(service, result)


def test_a_result_that_goes_while_a_block_learns_is_missed_in_one_sentence(
    page, service, result
) -> None:
    steps = training(page, result, 2)
    next(steps)
    service.leave(VISITOR)
    with pytest.raises(gr.Error) as caught:
        list(steps)
    assert caught.value.message == SENTENCE
    assert not has_files(service, result)


@pytest.mark.parametrize("job", [painting, exporting])
def test_a_server_that_stops_waits_for_no_job_and_leaves_nothing(small_clip, job) -> None:
    service = Service(SETTINGS)
    result, _ = service.segment(str(small_clip), "descriptors", Preset(2, 100), ignore)
    with halfway(job(service, result)) as written:
        service.close()
    assert str(written.exception()) == SENTENCE
    assert not service.store.root.exists()


# ---- what is asked for too late, and what was given in time --------------------------------------

GIVEN = {
    "overlay": lambda service, it, _: service.files.overlay(it, it.analysis.segment(n_clusters=3)),
    "picture": lambda service, it, _: service.files.picture(it, np.zeros((8, 8, 3), np.uint8)),
    "heatmap": lambda service, it, _: service.files.heatmap(
        it, it.analysis.attend_all([QUERY])[0], QUERY
    ),
    "levels": lambda service, it, _: service.files.levels(it, 1),
    "downloads": lambda service, it, _: service.downloads(it.id, 4, Edits(), ignore)[-1],
    "adapted": lambda service, it, block: service.adapted(it.id, block)[1],
}


@pytest.mark.parametrize("what", GIVEN)
def test_who_asks_too_late_is_told_so_in_one_sentence(service, result, block, what) -> None:
    service.leave(VISITOR)
    with pytest.raises(InputError) as caught:
        GIVEN[what](service, result, block)
    assert str(caught.value) == SENTENCE


@pytest.mark.parametrize("what", GIVEN)
def test_a_file_can_be_sent_although_its_result_is_gone(service, result, block, what) -> None:
    """Gradio sends files when the handler has returned."""
    path = GIVEN[what](service, result, block)
    service.leave(VISITOR)
    assert path.stat().st_size > 0


def test_the_clip_itself_can_be_sent_although_others_came(service, small_clip, tmp_path) -> None:
    video, _ = service.files.preview(str(small_clip))
    for i in range(100):
        copy = tmp_path / f"{i}.mp4"
        copy.write_bytes(small_clip.read_bytes())
        with service.store.preview_folder(copy):
            pass
    assert video.stat().st_size > 0


def test_a_video_shows_what_was_asked_for_although_the_next_click_came(service, result) -> None:
    queries = [QUERY, (0, 80.0, 100.0)]
    rows = result.analysis.attend_all(queries)
    first = service.files.heatmap(result, rows[0], queries[0])
    shown = first.read_bytes()
    second = service.files.heatmap(result, rows[1], queries[1])
    assert first.read_bytes() == shown != second.read_bytes()
