"""Visitors who are here at the same time, and what is left when they go."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

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
def test_the_id_of_a_result_is_what_opens_it_and_nothing_else_does(arrive, clips, look) -> None:
    owner, other = arrive(), arrive()
    result, _ = ask(owner, clips[0])
    for guess in ("", "arrival/..", result[:-1], result[:-4] + "AAAA", result.swapcase()):
        with pytest.raises(AppError) as caught:
            LOOKS[look](other, guess)
        assert str(caught.value) == NOT_MINE
    assert LOOKS[look](other, result) == LOOKS[look](owner, result)


def test_what_others_are_shown_holds_no_id(arrive, clips, server) -> None:
    owner, other = arrive(), arrive()
    result, _ = ask(owner, clips[0])
    shown = [httpx.get(server + path).text for path in ("", "config", "gradio_api/info")]
    shown.append(httpx.get(f"{server}gradio_api/bavos/arrival/ready").text)
    shown.append(str(ask(other, clips[1])))
    assert not any(result in text for text in shown)


def test_what_a_visitor_had_is_kept_for_a_while_after_the_session(arrive, clips, served) -> None:
    leaving, staying = arrive(), arrive()
    left = ask(leaving, clips[0])[0]
    leaving.close()
    assert until(lambda: not served.store._results[left].visitors)
    assert LOOKS["cut"](staying, left)  # to whom the link was given
    served.store._results[left].used -= served.settings.grace_seconds + 1
    with pytest.raises(AppError) as caught:
        LOOKS["cut"](staying, left)
    assert str(caught.value) == NOT_MINE


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
