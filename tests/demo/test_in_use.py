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
from bavos_lab.training import TrainedCorrelator
from demo.edits import Edits
from demo.handlers import Handlers
from demo.jobs import Jobs
from demo.presets import Preset
from demo.settings import DemoSettings
from demo.store import Result

SENTENCE = "There is no such result (any more); press Segment again."
VISITOR = ""  # whose everything is where nobody tells visitors apart
SETTINGS = DemoSettings(backbone="descriptors", max_frames=3, preview_side=64, store_mib=1)
LARGE = Preset(3, 1200)  # gives a result of nearly 1 MiB, so the store has room for one
QUERY = (0, 10.0, 10.0)
Report = Callable[..., None]


def ignore(*_: object) -> None:
    """Take no notice of progress."""


@pytest.fixture(scope="module")
def analysed(small_clip: Path) -> Iterator[Jobs]:
    """The small clip is the example, so it is analysed but once."""
    made = Jobs(SETTINGS, examples=[small_clip])
    yield made
    made.close()


@pytest.fixture
def jobs(analysed: Jobs) -> Iterator[Jobs]:
    yield analysed
    analysed.leave(VISITOR)


@pytest.fixture
def segment(jobs: Jobs, small_clip: Path) -> Callable[[], Result]:
    """Puts one more result into the store."""
    return lambda: jobs.segment(str(small_clip), "descriptors", LARGE, ignore)[0]


@pytest.fixture
def result(segment: Callable[[], Result]) -> Result:
    return segment()


@pytest.fixture(scope="module")
def block(analysed: Jobs, small_clip: Path) -> TrainedCorrelator:
    """What was learned on the clip."""
    learned_on, _ = analysed.segment(str(small_clip), "descriptors", LARGE, ignore)
    return next(iter(analysed.adapt(learned_on.id, 1))).trained


@pytest.fixture(params=["too many", "too old", "left"])
def lose(request, jobs, segment, monkeypatch) -> Callable[[], object]:
    """Does what a result goes by."""

    def age() -> None:
        later = time.monotonic() + SETTINGS.keep_seconds + 1
        clock = SimpleNamespace(monotonic=lambda: later, time=time.time)
        monkeypatch.setattr("demo.store.time", clock)  # the store's alone: decoders are timed too
        jobs.store.sweep()

    ways = {"too many": segment, "too old": age, "left": lambda: jobs.leave(VISITOR)}
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


def painting(jobs: Jobs, result: Result) -> Callable[[Report], Path]:
    """A job that paints a video which is not there yet."""
    cut = result.analysis.segment(n_clusters=2)
    return lambda report: jobs.overlay(result, cut, report=report)


def exporting(jobs: Jobs, result: Result) -> Callable[[Report], Path]:
    """A job that writes everything that can be taken home."""
    return lambda report: jobs.files(result.id, 4, Edits(), report)[0]


def folders(jobs: Jobs) -> int:
    """How many results have their files."""
    return len([*jobs.store.root.glob("*/clip.*")])


def has_files(jobs: Jobs, result: Result) -> bool:
    """Whether a result has its files, as all others have that can be asked for."""
    others = jobs.store._results.keys() - {result.id}
    assert 0 <= folders(jobs) - len(others) <= 1
    return folders(jobs) > len(others)


def is_gone(jobs: Jobs, result: Result) -> bool:
    """Whether who asks for a result is told that there is none, and its files are deleted."""
    with pytest.raises(InputError) as caught:
        jobs.store.get(result.id)
    return str(caught.value) == SENTENCE and not has_files(jobs, result)


def test_the_store_has_room_for_one(jobs, result, segment) -> None:
    newer = segment()
    assert is_gone(jobs, result)
    assert jobs.store.get(newer.id) is newer
    assert folders(jobs) == 1


@pytest.mark.parametrize("job", [painting, exporting])
def test_a_job_writes_its_files_to_the_end_and_then_the_result_goes(
    jobs, result, lose, job
) -> None:
    with halfway(job(jobs, result)) as written:
        lose()
        assert has_files(jobs, result)
    assert written.result().stat().st_size > 0
    assert is_gone(jobs, result)


def test_the_last_of_two_jobs_takes_the_result_along(jobs, result, lose) -> None:
    with halfway(exporting(jobs, result)) as exported:
        with halfway(painting(jobs, result)) as painted:
            lose()
        assert painted.result().is_file()
        assert has_files(jobs, result)
    assert exported.result().is_file()
    assert is_gone(jobs, result)


@pytest.mark.parametrize("error", [Cancelled(), KeyError("x")])
def test_a_job_that_fails_takes_the_result_along_as_well(jobs, result, lose, error) -> None:
    def fail(*_: object) -> None:
        raise error

    with halfway(painting(jobs, result), end=fail) as painted:
        lose()
        assert has_files(jobs, result)
    assert painted.exception() is error
    assert is_gone(jobs, result)


def test_what_is_in_use_stays_although_it_is_too_much(jobs, result, segment) -> None:
    with halfway(painting(jobs, result)):
        newer = segment()
        assert jobs.store.get(result.id) is result
        assert jobs.store.get(newer.id) is newer
    assert folders(jobs) == 1


def test_a_visitor_may_leave_while_the_first_video_is_painted(small_clip) -> None:
    jobs = Jobs(SETTINGS)
    painted: list[float] = []

    def job(report: Report) -> Path:
        def told(share: float, stage: str) -> None:
            if stage == "masks and video":
                painted.append(share)
                report()

        return jobs.segment(str(small_clip), "descriptors", LARGE, told)[1]

    with halfway(job) as segmented:
        assert len(painted) == folders(jobs) == 1
        jobs.leave(VISITOR)
    assert segmented.result().is_file()
    assert folders(jobs) == 0
    jobs.close()


def test_what_is_learned_on_a_clip_is_shown_although_newer_results_came(
    jobs, result, segment, decode
) -> None:
    steps = Handlers(jobs).adapt(result.id, (), 1, 3)
    next(steps)
    segment()
    *_, (_, _, _, key, video, *_) = steps
    assert jobs.store.get(key).before == result.id
    assert decode(video).shape == (4, 48, 64, 3)
    assert is_gone(jobs, result)
    assert folders(jobs) == 1


def test_objects_are_found_anew_although_newer_results_came(jobs, result, segment, block) -> None:
    newer = block.block.attn.qkv.register_forward_pre_hook(lambda *_: segment() and None)
    try:
        adapted, video = jobs.adapted(result.id, block)
    finally:
        newer.remove()
    assert video.is_file()
    assert jobs.store.get(adapted.id) is adapted
    assert folders(jobs) == 1


def test_who_leaves_while_a_block_learns_takes_the_result_along(jobs, result) -> None:
    steps = Handlers(jobs).adapt(result.id, (), 1, 50)
    next(steps)
    jobs.leave(VISITOR)
    assert has_files(jobs, result)
    steps.close()  # as Gradio does when nobody listens any more
    assert not has_files(jobs, result)


def test_a_result_that_goes_while_a_block_learns_is_missed_in_one_sentence(jobs, result) -> None:
    steps = Handlers(jobs).adapt(result.id, (), 1, 2)
    next(steps)
    jobs.leave(VISITOR)
    with pytest.raises(gr.Error) as caught:
        list(steps)
    assert caught.value.message == SENTENCE
    assert not has_files(jobs, result)


@pytest.mark.parametrize("job", [painting, exporting])
def test_a_server_that_stops_waits_for_no_job_and_leaves_nothing(small_clip, job) -> None:
    jobs = Jobs(SETTINGS)
    result, _ = jobs.segment(str(small_clip), "descriptors", Preset(2, 100), ignore)
    with halfway(job(jobs, result)) as written:
        jobs.close()
    assert str(written.exception()) == SENTENCE
    assert not jobs.store.root.exists()


# ---- what is asked for too late, and what was given in time --------------------------------------

GIVEN = {
    "overlay": lambda jobs, it, _: jobs.overlay(it, it.analysis.segment(n_clusters=3)),
    "picture": lambda jobs, it, _: jobs.picture_file(it, np.zeros((8, 8, 3), np.uint8)),
    "heatmap": lambda jobs, it, _: jobs.heat_video(it, it.analysis.attend_all([QUERY])[0], QUERY),
    "levels": lambda jobs, it, _: jobs.levels_video(it.id, 1),
    "downloads": lambda jobs, it, _: jobs.files(it.id, 4, Edits(), ignore)[-1],
    "adapted": lambda jobs, it, block: jobs.adapted(it.id, block)[1],
}


@pytest.mark.parametrize("what", GIVEN)
def test_who_asks_too_late_is_told_so_in_one_sentence(jobs, result, block, what) -> None:
    jobs.leave(VISITOR)
    with pytest.raises(InputError) as caught:
        GIVEN[what](jobs, result, block)
    assert str(caught.value) == SENTENCE


@pytest.mark.parametrize("what", GIVEN)
def test_a_file_can_be_sent_although_its_result_is_gone(jobs, result, block, what) -> None:
    """Gradio sends files when the handler has returned."""
    path = GIVEN[what](jobs, result, block)
    jobs.leave(VISITOR)
    assert path.stat().st_size > 0


def test_the_clip_itself_can_be_sent_although_others_came(jobs, small_clip, tmp_path) -> None:
    video, _ = jobs.preview(str(small_clip))
    for i in range(100):
        copy = tmp_path / f"{i}.mp4"
        copy.write_bytes(small_clip.read_bytes())
        with jobs.store.preview_folder(copy):
            pass
    assert video.stat().st_size > 0


def test_a_video_shows_what_was_asked_for_although_the_next_click_came(jobs, result) -> None:
    queries = [QUERY, (0, 80.0, 100.0)]
    rows = result.analysis.attend_all(queries)
    first = jobs.heat_video(result, rows[0], queries[0])
    shown = first.read_bytes()
    second = jobs.heat_video(result, rows[1], queries[1])
    assert first.read_bytes() == shown != second.read_bytes()
