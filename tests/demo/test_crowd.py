"""A client that asks for far too much, and another one beside it, over HTTP."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import gradio as gr
import httpx
import pytest

from demo.jobs import BRIEF_WAITING
from demo.presets import Preset
from demo.server import launch_options
from demo.service import Service

FLOOD, ONE = "127.0.0.2", "127.0.0.3"  # addresses of this machine
PATIENCE = 20  # seconds


@pytest.fixture(scope="module")
def result(served: Service, small_clip: Path) -> str:
    """The id of a result."""
    return served.segment(str(small_clip), "descriptors", Preset(3, 192), lambda *_: None).id


@pytest.fixture
def client(server: str) -> Iterator[Callable[[str], httpx.Client]]:
    """Makes clients that call from an address."""
    with ExitStack() as opened:

        def calling_from(address: str) -> httpx.Client:
            way = httpx.HTTPTransport(local_address=address)
            return opened.enter_context(
                httpx.Client(base_url=f"{server}gradio_api/", transport=way, timeout=PATIENCE)
            )

        yield calling_from


def call(client: httpx.Client, name: str, *data: object) -> str:
    """What the server answers: the last event of its stream."""
    event = client.post(f"call/{name}", json={"data": data}).raise_for_status().json()
    return client.get(f"call/{name}/{event['event_id']}").text


def test_no_event_is_limited_by_the_queue_that_all_share(
    served: Service, blocks: gr.Blocks
) -> None:
    assert blocks._queue.max_size is None
    assert blocks._queue.default_concurrency_limit is None
    assert {fn.concurrency_limit for fn in blocks.fns.values()} == {"default"}
    assert not [block for block in blocks.blocks.values() if block.stateful]  # it may be forgotten
    most = served.settings.queue_size + BRIEF_WAITING
    assert launch_options(served)["max_threads"] > most


def test_21_jobs_of_one_client_refuse_and_delay_nobody_elses_clicks(
    client, served: Service, result: str
) -> None:
    flood, one = client(FLOOD), client(ONE)
    with ThreadPoolExecutor(22) as pool, served.jobs.lane.turn("a job that goes on"):
        jobs = [pool.submit(call, flood, "export", result, 4, []) for _ in range(21)]
        until(lambda: sum(job.done() for job in jobs) == 11)  # the rest waits
        refused = [job.result() for job in jobs if job.done()]
        assert "event: complete" in call(one, "cut", result, 4, 0, [])
        assert "event: complete" in call(one, "cancel")
        assert one.get(f"bavos/{result}/base").status_code == 200
        assert one.get(f"bavos/{result}/exact?sample=0&y=0&x=0").status_code == 400
        job = pool.submit(call, one, "html", result, 4, [])
        until(lambda: len(served.jobs.lane._waiting) == 11)
        assert not job.done()  # it waits for its turn, which is the next
    assert all("from your address are waiting" in answer for answer in refused)
    assert "event: complete" in job.result()
    assert [job.result() for job in jobs if "complete" in job.result()]
    assert not served.jobs.runs.active


def test_short_work_of_one_client_leaves_room_for_that_of_another(
    client, served: Service, result: str
) -> None:
    flood, one = client(FLOOD), client(ONE)
    with ExitStack() as held:
        for address in (FLOOD, FLOOD, "another"):
            held.enter_context(served.jobs.brief.turn(address))
        with ThreadPoolExecutor(30) as pool:
            asked = [pool.submit(flood.get, f"bavos/{result}/base") for _ in range(30)]
            until(lambda: sum(answer.done() for answer in asked) == 14)
            assert one.get(f"bavos/{result}/base").status_code == 200
            held.close()
    answers = [answer.result() for answer in asked]
    refused = [answer for answer in answers if answer.status_code == 503]
    assert len(refused) == 14
    assert all(int(answer.headers["retry-after"]) > 0 for answer in refused)
    assert {answer.text for answer in refused} == {
        "16 jobs from your address are waiting already; let one finish or cancel it first."
    }
    assert {answer.status_code for answer in answers} == {200, 503}


def test_who_no_longer_waits_for_a_file_frees_the_place(
    client, served: Service, result: str
) -> None:
    one = client(ONE)
    with served.jobs.lane.turn("a job that goes on"):
        with pytest.raises(httpx.ReadTimeout):
            one.post(f"bavos/{result}/html", json={"n": 4}, timeout=0.5)
        until(lambda: not served.jobs.lane._waiting)


def until(true: Callable[[], bool]) -> None:
    """Wait for something to become true."""
    looking = threading.Event()
    for _ in range(PATIENCE * 20):
        if true():
            return
        looking.wait(0.05)
    assert true()
