"""Visitors who are here at the same time, and what is left when they go."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from demo.service import Service
from experiments.soak import LOOKS, answers, ask, write_clip

NOT_MINE = "This result no longer exists; press Segment again."


@pytest.fixture
def clips(tmp_path: Path) -> list[Path]:
    """Three clips that have nothing in common."""
    paths = [tmp_path / f"{i}.mp4" for i in range(3)]
    for i, path in enumerate(paths):
        write_clip(path, i)
    return paths


@pytest.fixture
def arrive(server: str, tmp_path: Path) -> Iterator[Callable[[], Client]]:
    """Lets a visitor come: a client with a session and a folder of its own."""
    clients: list[Client] = []

    def arrived() -> Client:
        folder = tmp_path / f"visitor-{len(clients)}"
        clients.append(
            Client(server, verbose=False, download_files=str(folder), analytics_enabled=False)
        )
        return clients[-1]

    yield arrived
    for client in clients:
        client.close()


def until(true: Callable[[], bool], seconds: float = 40) -> bool:
    """Whether something becomes true in time."""
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.1)
    return true()


def test_interleaved_visitors_get_byte_for_byte_what_each_gets_alone(arrive, clips) -> None:
    alone = [answers(arrive(), clip) for clip in clips]
    assert len({str(answer) for answer in alone}) == len(clips)  # a mix-up would be seen
    visitors = [arrive() for _ in range(6)]
    with ThreadPoolExecutor(len(visitors)) as pool:
        asked = [clips[i % 3] for i in range(len(visitors))]
        together = list(pool.map(answers, visitors, asked))
    for i, answer in enumerate(together):
        assert answer == alone[i % 3]


@pytest.mark.parametrize("look", LOOKS)
def test_the_id_of_a_result_opens_nothing_in_another_session(arrive, clips, look) -> None:
    owner, other = arrive(), arrive()
    result, _ = ask(owner, clips[0])
    with pytest.raises(AppError) as caught:
        LOOKS[look](other, result)
    assert str(caught.value) == NOT_MINE
    assert LOOKS[look](owner, result)


def test_what_a_visitor_had_goes_with_the_session(arrive, clips, served: Service) -> None:
    leaving, staying = arrive(), arrive()
    gone, kept = ask(leaving, clips[0])[0], ask(staying, clips[1])[0]
    with served.store.room(served.store._results[gone]) as folder:
        assert folder.is_dir()
    leaving.close()
    assert until(lambda: gone not in served.store._results and not folder.exists())
    assert LOOKS["cut"](staying, kept)


def test_a_visitor_may_leave_while_downloads_are_written(arrive, clips, served, caplog) -> None:
    leaving, staying = arrive(), arrive()
    result = served.store._results[ask(leaving, clips[0])[0]]
    with served.store.room(result) as folder:
        assert folder.is_dir()
    with result.writing:  # so that they cannot be completed yet
        leaving.submit(result.id, 3, api_name="/export")
        assert until(lambda: any(folder.glob("tmp*")))
        leaving.close()
        assert until(lambda: result.id not in served.store._results)
    assert ask(staying, clips[1])  # when the one job has ended: such go one at a time
    assert not folder.exists()
    assert not caplog.records


def test_cancel_ends_what_the_same_client_started_and_nothing_else(arrive, clips) -> None:
    one, other = arrive(), arrive()
    patient = other.submit(handle_file(clips[1]), "descriptors", 6, 100, api_name="/segment")
    job = one.submit(handle_file(clips[0]), "descriptors", 6, 4000, api_name="/segment")

    def cancelled() -> bool:
        one.predict(api_name="/cancel")  # again, for a job that waits in the queue is not yet one
        return job.done()

    assert until(cancelled)
    with pytest.raises(AppError) as caught:
        job.result()
    assert str(caught.value) == "Cancelled."
    assert patient.result()[0]["clusters"] >= 1
