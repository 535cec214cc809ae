"""Who can cancel what."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bavos_core import Cancelled
from demo.jobs import Jobs
from demo.runs import Kind
from demo.service import Service
from demo.sessions import Visitor, acting_as, visitor
from demo.settings import DemoSettings
from demo.turns import unheard

ANN, BEN = Visitor("192.0.2.1", "ann"), Visitor("192.0.2.1", "ben")  # two at one address


@pytest.fixture
def jobs() -> Jobs:
    return Jobs(4, visitor)


@pytest.fixture
def begin(jobs: Jobs) -> Iterator:
    """Begins a job of a visitor, which goes on until the test ends; returns its flag."""
    with ExitStack() as running:

        def begun(who: Visitor, kind: Kind) -> threading.Event:
            with acting_as(who):
                return running.enter_context(jobs.cancellable(kind))

        yield begun
    assert not jobs.runs.active


@pytest.mark.parametrize("cancelled", Kind)
def test_cancelling_one_kind_of_job_leaves_the_others_of_the_page_alone(
    jobs, begin, cancelled
) -> None:
    flags = {kind: begin(ANN, kind) for kind in Kind}
    with acting_as(ANN):
        jobs.cancel(cancelled)
    assert {kind for kind, flag in flags.items() if flag.is_set()} == {cancelled}


def test_cancelling_all_reaches_every_job_of_the_session_and_no_other(jobs, begin) -> None:
    mine = [begin(ANN, kind) for kind in (*Kind, Kind.FILES)]
    theirs = [begin(BEN, kind) for kind in Kind]
    with acting_as(ANN):
        jobs.cancel()
    assert all(flag.is_set() for flag in mine)
    assert not any(flag.is_set() for flag in theirs)
    with pytest.raises(Cancelled):
        mine[0].raising(unheard)(0.5, "features")
    theirs[0].raising(unheard)(0.5, "features")


def test_the_end_of_one_job_leaves_another_of_the_session_cancellable(jobs, begin) -> None:
    other = begin(ANN, Kind.FILES)
    with acting_as(ANN), jobs.cancellable(Kind.FILES):
        pass
    with acting_as(ANN):
        jobs.cancel(Kind.FILES)
        with jobs.cancellable(Kind.FILES) as later:
            assert not later.is_set()
    assert other.is_set()


@pytest.mark.parametrize("session", ["", "warm-up", "None", "training of ann", "<object object>"])
def test_no_session_names_the_job_of_one_without_a_session(jobs, begin, session) -> None:
    stranger = Visitor("192.0.2.9", session)
    unnamed, ann = begin(Visitor("192.0.2.1", ""), Kind.FILES), begin(ANN, Kind.TRAINING)
    with acting_as(stranger):
        jobs.cancel()
    assert not unnamed.is_set()
    assert not ann.is_set()


def test_a_session_called_warm_up_cancels_no_warm_up(small_clip: Path) -> None:
    service = Service(DemoSettings(backbone="descriptors", max_frames=2), examples=[small_clip])
    with service.jobs.lane.turn("another"):
        warm_up = threading.Thread(target=service.warm_up, args=("descriptors",))
        warm_up.start()
        while not service.jobs.lane._waiting:
            warm_up.join(0.01)
        with acting_as(Visitor("192.0.2.9", "warm-up")):
            service.jobs.cancel()
        service.leave("warm-up")
    warm_up.join(60)
    assert service.examples.first_of(small_clip.stem)
    service.close()


def test_who_leaves_takes_all_jobs_along(small_clip: Path) -> None:
    service = Service(DemoSettings(backbone="descriptors"))
    with acting_as(ANN), ExitStack() as running:
        flags = [running.enter_context(service.jobs.cancellable(kind)) for kind in Kind]
        service.leave(ANN.session)
        assert all(flag.is_set() for flag in flags)
    service.close()
