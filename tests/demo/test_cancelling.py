"""Every kind of job ends when it is cancelled, when its client leaves and when the server ends."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from bavos_core import Cancelled, Edit
from bavos_core.export import CutOuts
from bavos_io.stopping import checkpoint, stoppable
from demo.jobs import Jobs
from demo.presets import Preset
from demo.runs import Kind, StopFlag, held
from demo.service import Service
from demo.sessions import Visitor
from demo.settings import DemoSettings
from demo.store import Result

SECONDS = 30  # within which what is cancelled must have ended, on a busy machine
FEW = Preset(3, 192)
CLICK = (0, 9.0, 9.0)
EDITS = tuple(Edit.name(0, str(i)) for i in range(30))


def ignore(_share: float, _doing: str) -> None:
    """Take no notice of progress."""


class After:
    """Cancels at the n-th moment at which work can be stopped; counts them."""

    def __init__(self, most: float = float("inf")):
        self.heard, self.most = 0, most

    def __call__(self) -> None:
        self.heard += 1
        if self.heard >= self.most:
            raise Cancelled


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    made = Service(DemoSettings(backbone="descriptors", max_frames=3, preview_side=64))
    yield made
    made.close()


@pytest.fixture(scope="module")
def result(service: Service, small_clip: Path) -> Result:
    return service.segment(str(small_clip), "descriptors", FEW, ignore)


def adapted(service: Service, result: Result) -> Result:
    *_, step = service.adapt(result.id, 2, threading.Event())
    return service.adapted(result.id, step.correlator)


def files_of(service: Service) -> set[Path]:
    """All files but the frames in between, which are made in the background."""
    found = service.store.root.rglob("*")
    return {path for path in found if path.is_file() and path.parent.name != "frame"}


# What is done, and how often it can be stopped at least.
JOBS: dict[str, tuple[int, Callable[[Service, Result, str], object]]] = {
    "segment": (30, lambda s, _, clip: s.segment(clip, "descriptors", Preset(3, 150), ignore)),
    "overlay": (4, lambda s, r, _: s.files.overlay(r, r.analysis.segment(n_clusters=3))),
    "export": (60, lambda s, r, _: s.downloads(r.id, 4, EDITS)),
    "cut-outs": (60, lambda s, r, _: s.downloads(r.id, 5, (), ignore, CutOuts("vp9", each=True))),
    "html": (20, lambda s, r, _: s.html(r.id, {"n": 4})),
    "heatmap": (4, lambda s, r, _: s.files.heatmap(r, r.analysis.attend(*CLICK), CLICK)),
    "cut": (30, lambda s, r, _: s.cut(r.id, 6, EDITS)),
    "adapt": (20, lambda s, r, _: adapted(s, r)),
    "readings": (5, lambda s, r, _: s.parts.get(r.id, "readings")),
}


@pytest.mark.parametrize("kind", JOBS)
def test_a_job_that_is_cancelled_anywhere_leaves_nothing(
    kind: str, service: Service, result: Result, small_clip: Path
) -> None:
    least, work = JOBS[kind]
    before = files_of(service)
    for when in (1, least // 2, least):
        with pytest.raises(Cancelled), stoppable(After(when)):
            work(service, result, str(small_clip))
        assert files_of(service) == before
        assert not service.jobs.lane.busy
    with stoppable(counted := After()):
        work(service, result, str(small_clip))
    assert counted.heard >= least


# ---- who cancels --------------------------------------------------------------------------------


@pytest.fixture
def jobs() -> Jobs:
    return Jobs(4, lambda: Visitor("192.0.2.1", "ann"))


def test_cancelling_ends_short_work(jobs: Jobs) -> None:
    def work() -> None:
        with jobs.briefly():
            assert jobs.cancel()
            checkpoint()

    with pytest.raises(Cancelled):
        work()
    assert not jobs.runs.active


def test_cancelling_ends_the_wait_for_a_turn(jobs: Jobs) -> None:
    def work() -> None:
        with jobs.cancellable(Kind.FILES) as stop:
            stop.set()
            with jobs.costly(ignore):
                pytest.fail("It had a turn.")

    with jobs.costly(ignore), pytest.raises(Cancelled):
        work()
    assert not jobs.runs.active


def test_waiting_for_a_file_that_another_job_writes_ends_too() -> None:
    writing, stop = threading.Lock(), StopFlag()
    stop.set()
    with writing, pytest.raises(Cancelled), stoppable(stop.check), held(writing):
        pass
    with held(writing):
        assert writing.locked()
    assert not writing.locked()


def test_when_the_server_ends_jobs_that_begin_are_cancelled_as_well(jobs: Jobs) -> None:
    with jobs.flag(Kind.FILES) as running:
        jobs.runs.cancel_all()
        assert running.is_set()
        with jobs.flag(Kind.FILES) as later:
            assert later.is_set()
        assert not jobs.runs.ended(0)
    assert jobs.runs.ended(0)


@pytest.mark.parametrize("asked_by", ["call", "queue"])
def test_a_job_ends_when_its_client_hangs_up(
    asked_by: str, server: str, served: Service, example: Path
) -> None:
    file = {"files": ("clip.mp4", example.read_bytes())}
    (path,) = httpx.post(f"{server}gradio_api/upload", files=file).json()
    clip = {"path": path, "meta": {"_type": "gradio.FileData"}}
    data = [clip, "descriptors", 6, 2500, 0.5, 0]
    known = set(served.store._results)
    with httpx.Client(base_url=f"{server}gradio_api/", timeout=SECONDS) as client:
        if asked_by == "call":
            event = client.post("call/segment", json={"data": data}).json()["event_id"]
            stream = f"call/segment/{event}"
        else:
            (index,) = [
                dependency["id"]
                for dependency in httpx.get(f"{server}config").json()["dependencies"]
                if dependency["api_name"] == "segment"
            ]
            body = {"data": data, "fn_index": index, "session_hash": "hangs-up"}
            assert client.post("queue/join", json=body).status_code == 200
            stream = "queue/data?session_hash=hangs-up"
        with client.stream("GET", stream) as answer:
            said = []
            for line in answer.iter_lines():
                said.append(line)
                if served.jobs.lane.busy:
                    break
            assert served.jobs.lane.busy, said
    assert served.jobs.runs.ended(SECONDS)
    assert set(served.store._results) == known
