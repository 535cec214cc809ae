"""Uploads to the running server: what stays, what is refused, and what is left of half ones."""

import contextlib
import json
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from demo import strings
from demo.disk import FULL
from demo.gateway.bodies import Patient
from demo.gateway.said import NO_FILES, SHARE_USED, TOO_SLOW
from demo.service import Service
from demo.store import Store

MIB = 2**20
OTHERS: set[int] = set()  # inodes of files that were open before, those of pytest for example


@pytest.fixture(autouse=True)
def small(served: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk of 64 MiB beside what is there already, which is counted anew each time."""
    OTHERS.update(opened())
    monkeypatch.setattr("demo.gateway.uploads._TOGETHER", 1.0)
    monkeypatch.setattr("demo.disk._FRESH", -1.0)
    monkeypatch.setattr(served.store.disk, "most_bytes", served.store.disk.used_bytes() + 64 * MIB)


def upload(server: str, content: bytes, name: str = "clip.mp4", **how: str) -> httpx.Response:
    return httpx.post(
        f"{server}gradio_api/upload", files={"files": (name, content)},
        headers={"X-Forwarded-For": how.get("address", "192.0.2.1")},
        params={key: value for key, value in how.items() if key == "upload_id"}, timeout=60,
    )  # fmt: skip


def incoming(store: Store) -> list[Path]:
    """Files without a name that this process has open, and drafts of those with one."""
    nameless = [path for inode, path in opened().items() if inode not in OTHERS]
    return [*nameless, *store.cache.rglob("*.part*")]


def opened() -> dict[int, Path]:
    """The files without a name, by inode."""
    found = {}
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            place = os.readlink(path)
            if place.startswith(f"{tempfile.gettempdir()}/") and place.endswith("(deleted)"):
                found[path.stat().st_ino] = path
    return found


def until(true: Callable[[], bool], seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.02)
    return true()


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("clip.mp4", "clip.mp4"), ("../../etc/passwd", "passwd"), ("..", "upload"), ("", "upload"),
        ("a/b\\c:d*.mp4", "bcd.mp4"), ("ü 1.mp4", "ü 1.mp4"),
        ("x" * 300 + ".mp4", "x" * 56 + ".mp4"),
    ],
)  # fmt: skip
def test_a_file_arrives_where_nobody_can_guess_and_its_name_is_only_a_name(
    server, served, sent, kept
) -> None:
    content = os.urandom(1000)
    body = (
        b'--b\r\nContent-Disposition: form-data; name="files"; filename="'
        + sent.replace("\\", "\\\\").encode()
        + b'"\r\n\r\n' + content + b"\r\n--b--\r\n"
    )  # fmt: skip
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    places = []
    for _ in range(2):
        answer = httpx.post(f"{server}gradio_api/upload", content=body, headers=headers)
        assert answer.status_code == 200, answer.text
        (path,) = map(Path, answer.json())
        assert path.name == kept
        assert path.read_bytes() == content
        assert path.parent.parent == served.store.cache
        assert len(path.parent.name) == 40
        places.append(path.parent)
    assert places[0] != places[1]
    assert not incoming(served.store)


def called(server: str, path: str) -> tuple[str, object]:
    """What segmenting a file of the server gives: an event and its data."""
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    asked = {"data": [file, "descriptors", 2, 48, 0, 0]}
    event = httpx.post(f"{server}gradio_api/call/segment", json=asked).json()["event_id"]
    told = httpx.get(f"{server}gradio_api/call/segment/{event}", timeout=60).text
    name, data = told.strip().splitlines()[-2:]
    return name.partition(": ")[2], json.loads(data.partition(": ")[2])


def test_a_file_that_was_uploaded_can_be_used_and_no_other(
    server, served, small_clip, capfd
) -> None:
    path = upload(server, small_clip.read_bytes()).json()[0]
    event, data = called(server, path)
    assert event == "complete"
    assert data[0]["clusters"] >= 1
    for other in (str(small_clip), "/etc/passwd", f"{served.store.root}/.in-use", "app.py"):
        assert called(server, other)[1]["error"] == strings.NOT_USABLE
    assert "There is no file" in called(server, f"{path}x")[1]["error"]
    assert "uploaded to this server" in called(server, "http://localhost/x")[1]["error"]
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"", {}),
        (b"{}", {"Content-Type": "application/json"}),
        (b"x", {"Content-Type": "multipart/form-data"}),
        (b"x", {"Content-Type": "multipart/form-data; boundary=b"}),
        (b"--b--\r\n", {"Content-Type": "multipart/form-data; boundary=b"}),
        (
            b'--b\r\nContent-Disposition: form-data; name="files"\r\n\r\ntext\r\n--b--\r\n',
            {"Content-Type": "multipart/form-data; boundary=b"},
        ),
        (
            b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + b"x" * 9000 + b"\r\n--b--",
            {"Content-Type": "multipart/form-data; boundary=b"},
        ),
        (
            b'--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\nhalf',
            {"Content-Type": "multipart/form-data; boundary=b"},
        ),
    ],
)
def test_what_is_no_upload_is_one_sentence(server, served, body, headers, caplog) -> None:
    for upload_id in ("", "an-id"):
        address = f"{server}gradio_api/upload?upload_id={upload_id}"
        answer = httpx.post(address, content=body, headers=headers)
        assert (answer.status_code, answer.text) == (400, NO_FILES)
    assert not incoming(served.store)
    assert not caplog.records


def test_a_file_beyond_the_limit_is_refused_in_a_sentence_that_names_it(
    server, served, monkeypatch
) -> None:
    limit = served.settings.max_upload_mib
    part = os.urandom(MIB)

    def parts():
        yield b'--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
        for _ in range(limit + 2):
            yield part

    monkeypatch.setattr(served.store.disk, "most_bytes", 4000 * MIB)
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = httpx.post(f"{server}gradio_api/upload", content=parts(), headers=headers, timeout=60)
    assert answer.status_code == 413
    assert f"{limit} MiB" in answer.text
    assert not incoming(served.store)
    announced = socket_to(server, (limit + 1) * MIB, b"x")
    assert b" 413 " in announced.recv(4096)
    announced.close()


def socket_to(server: str, length: int, begun: bytes) -> socket.socket:
    """A connection on which an upload has begun."""
    place = urlsplit(server)
    one = socket.create_connection((place.hostname, place.port), timeout=30)
    one.sendall(
        f"POST /gradio_api/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\nX-Forwarded-For: 192.0.2.3\r\n\r\n--b\r\n"
        'Content-Disposition: form-data; name="files"; filename="half.mp4"\r\n\r\n'.encode()
        + begun
    )
    return one


def test_half_a_file_goes_as_soon_as_its_client_goes(server, served) -> None:
    one = socket_to(server, 10 * MIB, os.urandom(2 * MIB))
    assert until(lambda: any(path.stat().st_size > MIB for path in incoming(served.store)))
    used = served.store.disk.used_bytes()
    assert used >= 10 * MIB  # all that is announced counts
    one.close()
    assert until(lambda: not incoming(served.store))
    assert until(lambda: served.store.disk.used_bytes() <= used - 10 * MIB)


def test_half_a_file_goes_when_its_client_stalls(server, served, monkeypatch) -> None:
    monkeypatch.setattr("demo.gateway.uploads.Patient", lambda receive: Patient(receive, idle=0.5))
    one = socket_to(server, 10 * MIB, b"x" * MIB)
    assert TOO_SLOW.encode() in one.makefile("rb").read()
    assert not incoming(served.store)
    one.close()


def test_an_address_has_a_quarter_of_the_disk_and_others_go_on(server, served) -> None:
    served.store.disk.most_bytes = 4 * 3 * MIB + served.store.disk.used_bytes()
    share = served.store.disk.most_bytes // 4
    piece = os.urandom(int(share * 0.7))
    kept = upload(server, piece, address="192.0.2.9")
    assert kept.status_code == 200
    answer = upload(server, piece, address="192.0.2.9")
    assert (answer.status_code, answer.text) == (507, SHARE_USED)
    Path(kept.json()[0]).unlink()
    again = upload(server, piece, address="192.0.2.9")
    assert again.status_code == 200
    Path(again.json()[0]).unlink()


def test_a_file_of_unknown_length_has_what_its_address_has_left(server, served) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.mp4"\r\n\r\n'

    def in_chunks(nbytes: int) -> httpx.Response:
        body = iter([head, os.urandom(nbytes), b"\r\n--b--\r\n"])
        headers = {
            "X-Forwarded-For": "192.0.2.21", "Content-Type": "multipart/form-data; boundary=b"
        }  # fmt: skip
        url = f"{server}gradio_api/upload"
        return httpx.post(url, content=body, headers=headers, timeout=60)

    served.store.disk.most_bytes = 16 * MIB + served.store.disk.used_bytes()
    share = served.store.disk.most_bytes // 4  # far below the limit of a file
    small, large = in_chunks(1000), in_chunks(share + MIB)
    assert small.status_code == 200
    assert large.status_code == 413
    assert not incoming(served.store)
    Path(small.json()[0]).unlink()


def test_uploads_leave_a_part_of_the_disk_to_results(server, served, monkeypatch) -> None:
    monkeypatch.setattr("demo.gateway.uploads._TOGETHER", 1e-9)
    answer = upload(server, b"x" * 1000, address="192.0.2.22")
    assert (answer.status_code, answer.text) == (507, FULL)
    with served.store.disk.announced(MIB):  # results still have room
        pass


def test_a_full_disk_is_one_sentence(server, served, monkeypatch) -> None:
    monkeypatch.setattr(served.store.disk, "most_bytes", served.store.disk.used_bytes() + 1)
    monkeypatch.setattr("demo.gateway.uploads._SHARE", 1.0)
    monkeypatch.setattr(served.store.disk, "_spare", lambda: False)
    answer = upload(server, b"x" * 1000, address="192.0.2.20")
    assert (answer.status_code, answer.text) == (507, FULL)
    assert not incoming(served.store)


def test_the_page_is_told_how_far_an_upload_is(server, served, monkeypatch) -> None:
    told: list[dict] = []

    def listen() -> None:
        address = f"{server}gradio_api/upload_progress?upload_id=seen"
        with httpx.stream("GET", address, timeout=20) as answer:
            told.extend(json.loads(line[5:]) for line in answer.iter_lines() if line)

    listener = threading.Thread(target=listen)
    listener.start()
    body = [b'--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n']

    def slowly():
        yield body[0]
        while len(told) < 1 and listener.is_alive():
            yield b"x" * 10_000
            time.sleep(0.05)
        yield b"\r\n--b--\r\n"

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    address = f"{server}gradio_api/upload?upload_id=seen"
    monkeypatch.setattr(served.store.disk, "most_bytes", 4000 * MIB)
    answer = httpx.post(address, content=slowly(), headers=headers, timeout=30)
    listener.join(20)
    assert answer.status_code == 200
    assert told[-1] == {"msg": "done"}
    sizes = [one["chunk_size"] for one in told if one["msg"] == "update"]
    assert {one["orig_name"] for one in told if one["msg"] == "update"} == {"a"}
    assert 0 < sum(sizes) <= Path(answer.json()[0]).stat().st_size + 200  # and what is around it
    over = httpx.get(f"{server}gradio_api/upload_progress?upload_id=over", timeout=20)
    assert json.loads(over.text.removeprefix("data: ")) == {"msg": "done"}
