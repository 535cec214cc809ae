"""What one address may do: how often, how much, and how slowly."""

import asyncio
import json
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

import event_loops
import httpx
import pytest
from starlette.datastructures import Headers

from demo.gateway import connections, pages, rates
from demo.gateway.bodies import Patient, whole_body
from demo.gateway.pages import Pages
from demo.gateway.rates import AtOnce, Rate
from demo.gateway.said import NO_JSON, TOO_OFTEN, TOO_SLOW, Refusal, too_large

KIB = 1024


def run(coroutine):
    """Run a coroutine to its end."""

    async def awaited():
        return await coroutine

    return event_loops.run(awaited)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch):
    """Sets the clock of the rates."""
    now = [1000.0]
    monkeypatch.setattr(rates.time, "monotonic", lambda: now[0])
    return now


def test_an_address_may_ask_in_a_burst_and_then_steadily(clock) -> None:
    rate = Rate(2, 5)
    for _ in range(5):
        rate.take("a")
    with pytest.raises(Refusal) as caught:
        rate.take("a")
    assert (caught.value.status, caught.value.sentence) == (429, TOO_OFTEN)
    assert caught.value.wait >= 1
    rate.take("b")  # another address has its own
    clock[0] += 1
    rate.take("a")
    rate.take("a")
    with pytest.raises(Refusal):
        rate.take("a")
    clock[0] -= 7200  # a clock that goes wrong gives no credit
    with pytest.raises(Refusal):
        rate.take("a")


def test_addresses_that_are_remembered_are_bounded(clock, monkeypatch) -> None:
    monkeypatch.setattr(rates, "_MOST_KNOWN", 10)
    rate = Rate(1, 1)
    for i in range(100):
        rate.take(str(i))
    assert len(rate._left) == 10


def test_requests_at_the_same_time_are_bounded_for_each_and_for_all() -> None:
    limit = AtOnce(each=1, together=2)
    with limit.one("a"):
        with pytest.raises(Refusal, match="too many requests open"), limit.one("a"):
            pass
        with limit.one("b"):
            with pytest.raises(Refusal) as caught, limit.one("c"):
                pass
            assert caught.value.status == 503
    with limit.one("a"):
        pass


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Pages:
    monkeypatch.setattr(pages, "_OPEN_EACH", 2)
    monkeypatch.setattr(pages, "_KEPT_EACH", 3)
    monkeypatch.setattr(pages, "_TOGETHER", 5)
    return Pages(lambda session: session != "busy")


def test_sessions_of_an_address_push_out_only_its_own(known: Pages) -> None:
    known.arrive("b", "other")
    for session in ("1", "busy", "3", "4"):
        known.arrive("a", session)
    assert set(known._of) == {"other", "busy", "3", "4"}
    with known.listening("a", "busy"), known.listening("a", "3"), known.listening("a", "3"):
        with pytest.raises(Refusal) as caught, known.listening("a", "5"):
            pass
        assert caught.value.status == 429
        assert "Too many pages" in caught.value.sentence
        assert "other" in known._of
    assert not known.is_open("3")


def test_all_sessions_together_are_bounded_and_those_that_are_open_stay(known: Pages) -> None:
    with known.listening("a", "a1"), known.listening("b", "b1"):
        for address in "cdefg":
            known.arrive(address, f"{address}1")
        assert set(known._of) == {"a1", "b1", "e1", "f1", "g1"}
        with known.listening("e", "e1"), known.listening("f", "f1"), known.listening("g", "g1"):
            with pytest.raises(Refusal) as caught:
                known.arrive("h", "h1")
            assert caught.value.status == 503


# ---- bodies -------------------------------------------------------------------------------------


def test_a_client_that_stalls_or_drips_is_given_up() -> None:
    async def dripping() -> dict:
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def silent() -> dict:
        await asyncio.sleep(60)
        return {}

    async def all_of(receive) -> int:
        patient = Patient(receive, idle=0.2)
        while True:
            await patient()

    for receive in (dripping, silent):
        start = time.monotonic()
        with pytest.raises(Refusal) as caught:
            run(all_of(receive))
        assert (caught.value.status, caught.value.sentence) == (408, TOO_SLOW)
        assert time.monotonic() - start < 2


def test_a_body_that_does_not_say_how_long_it_is_is_bounded_too() -> None:
    async def endless() -> dict:
        return {"type": "http.request", "body": b"x" * KIB, "more_body": True}

    with pytest.raises(Refusal) as caught:
        run(whole_body(Headers({}), endless, 4 * KIB))
    assert (caught.value.status, caught.value.sentence) == (413, too_large(4 * KIB))


@pytest.mark.parametrize("path", ["call/cut", "queue/join", "cancel", "bavos/x/html"])
def test_a_large_body_is_refused_in_a_sentence_that_names_the_limit(path, server) -> None:
    body = b"[" * (513 * KIB)
    for content in (body, iter([body])):
        answer = httpx.post(f"{server}gradio_api/{path}", content=content, timeout=20)
        assert answer.status_code == 413
        assert "512 KiB" in answer.text
        assert len(answer.text) < 200


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"null", b"7", b'{"data": ', b"[" * 100_000, b"\x1f\x8b\x08", b"\xff", b"a=b&c=d"],
)
def test_what_is_no_call_is_one_short_sentence(body, server) -> None:
    for path in ("call/cut", "queue/join"):
        answer = httpx.post(f"{server}gradio_api/{path}", content=body)
        assert answer.status_code == 400
        assert answer.json() == {"detail": NO_JSON}


def test_calls_of_nothing_are_refused_before_gradio_sees_them(server, caplog) -> None:
    for path, asked, status in (
        ("call/nothing", {"data": []}, 404),
        ("queue/join", {"data": [], "fn_index": 9999, "session_hash": "s"}, 404),
        ("queue/join", {"data": [], "fn_index": "1", "session_hash": "s"}, 404),
        ("queue/join", {"data": [], "fn_index": True, "session_hash": "s"}, 404),
        ("queue/join", {"data": [], "fn_index": 0}, 400),
        ("queue/join", {"data": [], "fn_index": 0, "session_hash": "x" * 1000}, 400),
        ("call/cut", {"data": {}}, 400),
        ("call/cut", {"data": [1] * 4, "batched": True}, 400),
    ):
        answer = httpx.post(f"{server}gradio_api/{path}", json=asked)
        assert answer.status_code == status, asked
        said = answer.json()["detail"]
        assert said.endswith((".", "info"))
        assert len(said) < 120
    assert not caplog.records


def test_cancelling_is_never_refused_for_what_else_an_address_does(server) -> None:
    client = httpx.Client(base_url=server, headers={"X-Forwarded-For": "192.0.2.7"})
    asked = {"data": ["x"]}
    answers = [client.post("gradio_api/call/cut", json=asked) for _ in range(300)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert json.loads(refused[0].text)["detail"] == TOO_OFTEN
    assert int(refused[0].headers["retry-after"]) >= 1
    assert client.post("gradio_api/call/cancel", json={"data": []}).status_code == 200
    body = {"session_hash": "s", "fn_index": 1, "event_id": "e"}
    assert client.post("gradio_api/cancel", json=body).status_code == 200
    assert 429 not in told(client, "POST", "notifications/cancelled")
    assert 429 not in told(client, "DELETE", "notifications/cancelled")
    assert 429 in told(client, "POST", "tools/list")


def told(client: httpx.Client, way: str, method: str) -> list[int]:
    """The statuses of many messages to the MCP tools."""
    message = {"jsonrpc": "2.0", "method": method, "params": {}}
    client.headers["mcp-session-id"] = "x" * 32
    return [client.request(way, "gradio_api/mcp", json=message).status_code for _ in range(60)]


@pytest.mark.parametrize("path", ["queue/join", "call/cut", "cancel", "reset"])
@pytest.mark.parametrize("kind", ["application/json", "text/plain", "multipart/form-data"])
def test_a_body_that_does_not_fit_is_not_sent_back(path, kind, server, caplog) -> None:
    asked = {"data": [], "fn_index": 0, "session_hash": "s", "trigger_id": "x" * 100_000}
    headers = {"Content-Type": kind, "X-Forwarded-For": "192.0.2.30"}
    answer = httpx.post(f"{server}gradio_api/{path}", content=json.dumps(asked), headers=headers)
    assert answer.status_code in (200, 400, 422)
    assert len(answer.content) < 200
    assert not caplog.records


def test_a_connection_that_asks_for_nothing_is_closed(server, monkeypatch) -> None:
    monkeypatch.setattr(connections, "_WITHOUT_REQUEST", 0.3)
    place = urlsplit(server)
    for begun in (b"", b"GET /config HTTP/1.1\r\nHost: local"):
        with socket.create_connection((place.hostname, place.port), timeout=10) as one:
            one.sendall(begun)
            assert one.recv(100) == b""


def test_no_answer_names_the_program_or_a_folder_of_the_server(server, served) -> None:
    root = Path(connections.__file__).parents[2]
    for path in ("", "config", "gradio_api/info", "assets/none", "static/none", "gradio_api/none"):
        answer = httpx.get(server + path)
        assert "server" not in answer.headers
        for folder in (root, served.store.root, Path.home(), Path(httpx.__file__).parents[1]):
            assert str(folder) not in answer.text, (path, folder)
