"""What strangers tried: each gets one sentence, no traceback, and takes nothing from others."""

import json
import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from demo.gateway import gate
from demo.gateway.said import (
    NO_SUCH_CALL,
    NOT_SERVED,
    TOO_MANY_SESSIONS,
    TOO_MANY_UPLOADS,
    TWO_LENGTHS,
    UNHEARD,
)
from demo.gateway.tool_sessions import SESSION
from demo.strings import BAD_STATE

INITIALIZE = {
    "jsonrpc": "2.0", "id": 1, "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {},
               "clientInfo": {"name": "test", "version": "1"}},
}  # fmt: skip


def of(server: str, address: str) -> httpx.Client:
    return httpx.Client(base_url=server, headers={"X-Forwarded-For": address}, timeout=30)


@pytest.mark.parametrize(
    "path", ["?page=zz", f"static/{'a' * 300}", f"assets/{'a' * 300}", "static/%00"]
)
def test_an_address_of_nothing_is_one_sentence(server, path, caplog) -> None:
    answer = httpx.get(f"{server}{path}")
    assert (answer.status_code, answer.text) == (404, NOT_SERVED)
    assert "Traceback" not in caplog.text


def test_several_ranges_of_a_file_are_no_fault_of_the_server(server, caplog) -> None:
    client = of(server, "192.0.2.60")
    sent = client.post("gradio_api/upload", files={"files": ("a.mp4", b"0123456789")})
    file = f"gradio_api/file={sent.json()[0]}"
    assert client.get(file, headers={"Range": "bytes=0-1,3-4"}).status_code < 500
    assert client.get(file).headers["x-content-type-options"] == "nosniff"
    assert "Traceback" not in caplog.text


def test_what_runs_in_the_browser_is_no_call(server, served, caplog) -> None:
    answer = httpx.post(f"{server}gradio_api/call/js_fn", json={"data": []})
    assert (answer.status_code, answer.json()) == (404, {"detail": NO_SUCH_CALL})
    assert "Traceback" not in caplog.text


def test_an_infinite_number_is_no_state(server) -> None:
    sent = '{"n": 4, "x": 1e999}'
    answer = httpx.post(f"{server}gradio_api/bavos/unknown/html", content=sent)
    assert (answer.status_code, answer.text) == (400, BAD_STATE)


def test_a_folder_is_no_clip(server, caplog) -> None:
    sent = of(server, "192.0.2.61").post("gradio_api/upload", files={"files": ("a.png", b"x")})
    folder = {"path": os.path.dirname(sent.json()[0]), "meta": {"_type": "gradio.FileData"}}
    call = f"{server}gradio_api/call/segment"
    event = httpx.post(call, json={"data": [folder, "descriptors", 2, 48, 0, 0]}).json()["event_id"]
    assert "A folder is no clip" in httpx.get(f"{call}/{event}", timeout=30).text
    assert "Traceback" not in caplog.text


def test_a_length_that_is_told_in_two_ways_is_refused(server) -> None:
    address = urlsplit(server)
    one = socket.create_connection((address.hostname, address.port), timeout=20)
    one.sendall(
        b"POST /gradio_api/cancel HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 3\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    )
    said = b"".join(iter(lambda: one.recv(2000), b""))  # until it hangs up
    one.close()
    assert b" 400 " in said
    assert TWO_LENGTHS.encode() in said


def test_one_address_cannot_take_all_sessions_of_the_tools(server) -> None:
    headers = {"Accept": "application/json, text/event-stream"}
    many, other = of(server, "192.0.2.62"), of(server, "192.0.2.63")
    answers = [many.post("gradio_api/mcp", json=INITIALIZE, headers=headers) for _ in range(25)]
    begun = [answer.headers[SESSION] for answer in answers if SESSION in answer.headers]
    assert len(begun) == 20
    assert (answers[-1].status_code, answers[-1].text) == (429, TOO_MANY_SESSIONS)
    assert other.post("gradio_api/mcp", json=INITIALIZE, headers=headers).status_code == 200
    many.delete("gradio_api/mcp", headers={SESSION: begun[0]})
    assert many.post("gradio_api/mcp", json=INITIALIZE, headers=headers).status_code == 200
    for session in begun:
        many.delete("gradio_api/mcp", headers={SESSION: session})


@pytest.fixture
def three_half_uploads(server) -> Iterator[list[socket.socket]]:
    """As many uploads as one address may have under way, none of which goes on."""
    address = urlsplit(server)
    head = (
        "POST /gradio_api/upload HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Forwarded-For: 192.0.2.64\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 9000\r\n\r\n--b\r\n"
    )
    with ExitStack() as stack:
        connect = partial(socket.create_connection, (address.hostname, address.port), timeout=20)
        held = [stack.enter_context(connect()) for _ in range(3)]
        for one in held:
            one.sendall(head.encode())
        yield held


@pytest.mark.parametrize("one_ends", [True, False])
def test_a_fourth_upload_of_an_address_waits_for_its_turn(server, three_half_uploads, one_ends):
    send = partial(
        httpx.post,
        f"{server}gradio_api/upload",
        headers={"X-Forwarded-For": "192.0.2.64"},
        files={"files": ("a.txt", b"abc")},
        timeout=20,
    )
    with ThreadPoolExecutor(1) as pool:
        fourth = pool.submit(send)
        assert not wait([fourth], timeout=1).done
        if one_ends:
            three_half_uploads[0].close()
        answer = fourth.result(timeout=20)
    if one_ends:
        assert answer.status_code == 200
    else:
        assert (answer.status_code, answer.text) == (429, TOO_MANY_UPLOADS)


def test_answers_that_nobody_fetches_are_bounded(server, monkeypatch) -> None:
    monkeypatch.setattr(gate, "_UNHEARD", 5)
    client = of(server, "192.0.2.65")
    asked = {"data": ["x", 3, 0, []], "session_hash": "unheard-of"}
    answers = [client.post("gradio_api/call/cut", json=asked) for _ in range(8)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 3
    assert json.loads(answers[-1].text)["detail"] == UNHEARD
    assert client.post("gradio_api/call/cancel", json=asked | {"data": []}).status_code == 200


def test_files_of_one_address_are_bounded(server, served, monkeypatch) -> None:
    monkeypatch.setattr("demo.gateway.uploads._MOST_KEPT", 2)
    client = of(server, "192.0.2.66")
    sent = [client.post("gradio_api/upload", files={"files": ("a", b"x")}) for _ in range(3)]
    assert [answer.status_code for answer in sent] == [200, 200, 507]
    for answer in sent[:2]:
        Path(answer.json()[0]).unlink()
