"""Workers that are processes: they die, refuse, and are stopped. Processes are real."""

import os
import threading
from pathlib import Path

import pytest

from bavos_core import InputError
from bavos_lab.workers import Share
from bavos_lab.workers.processes import over_processes

from .tasks import Deadly, Refusing, Stillborn, Told, Waiting

TWO = Share(workers=2, threads=3)


def test_every_item_comes_back_from_one_of_the_workers() -> None:
    before = dict(os.environ)
    results = dict(over_processes(Told(), enumerate(range(5, 25)), TWO))
    assert [results[number][0] for number in range(20)] == list(range(5, 25))
    workers = {pid for _, pid, _ in results.values()}
    assert os.getpid() not in workers and 1 <= len(workers) <= 2
    assert {threads for *_, threads in results.values()} == {"3"}
    assert dict(os.environ) == before


def test_items_are_taken_only_when_a_worker_is_free() -> None:
    taken: list[int] = []

    def items():
        for item in range(50):
            taken.append(item)
            yield item, item

    results = over_processes(Told(), items(), TWO)
    next(results)
    assert len(taken) <= 3  # one done, at most two in hand
    results.close()


def test_a_worker_that_is_killed_costs_its_item_only(tmp_path: Path) -> None:
    task = Deadly(always=(3,), once=(7, 8), room=tmp_path)
    results = dict(over_processes(task, enumerate(range(12)), TWO))
    wanted = {n: None if n in (3, 7, 8) else n * n for n in range(12)}
    assert results == wanted


def test_a_task_that_cannot_begin_ends_the_run() -> None:
    with pytest.raises(InputError, match="There are no weights"):
        list(over_processes(Refusing(), enumerate(range(3)), TWO))


def test_a_result_may_end_the_run() -> None:
    results = []
    with pytest.raises(InputError, match="The disk is full"):
        results.extend(over_processes(Refusing(4), enumerate(range(100)), TWO))
    assert len(results) < 100


def test_workers_that_die_before_they_are_ready_end_the_run() -> None:
    with pytest.raises(InputError, match=r"3 workers in a row .* with 7"):
        list(over_processes(Stillborn(), enumerate(range(3)), TWO))


def test_a_run_that_is_given_up_leaves_no_process(tmp_path: Path) -> None:
    said, heard = tmp_path / "said", tmp_path / "heard"
    os.mkfifo(said), os.mkfifo(heard)

    def answer_once() -> None:
        said.read_text()
        heard.write_bytes(b"go on")

    results = over_processes(Waiting(said, heard), enumerate(range(3)), Share(1, 1))
    other_side = threading.Thread(target=answer_once)
    other_side.start()
    assert next(results) == (0, b"go on")
    other_side.join()
    worker = int(said.read_text())  # it has the second item in hand
    results.close()
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)
