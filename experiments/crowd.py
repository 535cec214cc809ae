"""Ten clients that do their worst, beside one who works.

    python -m experiments.crowd --minutes 5 --out crowd.csv

The ten flood the queue, upload without end, leave uploads half done, export again and again, open
pages, cancel what is not theirs, read slowly, and repeat one example with many settings; each calls
from an address of its own. The one segments a clip first and then goes on with it: every request is
timed, and its answer compared with that on the idle server. Memory (the server and its children)
and disk are looked at all the while. Linux only. Nothing outside this machine is called.
"""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import socket
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from gradio_client import Client

from .common import Row, markdown, parser_of, write_rows
from .server import Server, client_of, connected, serving
from .soak_requests import LOOKS, ask, write_clip

BAD = 10  # clients
DISK_MIB, STORE_MIB = 256, 64
EXAMPLE = "rolling-balls"
_API = "gradio_api"


@dataclass
class Seen:
    """What was measured, from many threads."""

    seconds: dict[str, list[float]] = field(default_factory=dict)  # of the one's requests
    wrong: list[str] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)  # to the ten
    memory_mib: list[float] = field(default_factory=list)
    disk_mib: list[float] = field(default_factory=list)


# ---- the ten -----------------------------------------------------------------------------------


class Worst:
    """One client that does its worst in every way in turn."""

    def __init__(self, server: Server, number: int, seen: Seen, folder: Path):
        self._server, self._seen, self._folder = server, seen, folder
        self._address = f"10.0.0.{number}"
        self._rng = random.Random(number)
        self._http = httpx.Client(
            base_url=server.address, headers={"X-Forwarded-For": self._address}, timeout=20
        )
        self._open: list[socket.socket] = []

    def until(self, stop: threading.Event) -> None:
        """Go on until the end."""
        ways: list[Callable[[], object]] = [
            self.join, self.join, self.upload, self.half_an_upload, self.export, self.pages,
            self.cancel_others, self.read_slowly, self.repeat_an_example, self.quick_events,
        ]  # fmt: skip
        while not stop.is_set():
            way = self._rng.choice(ways)
            try:
                way()
            except (httpx.HTTPError, OSError, ValueError) as error:
                self._count(way.__name__, type(error).__name__)
            except Exception as error:  # gradio_client's: a refusal in a sentence
                self._count(way.__name__, f"{error}"[:60])
        for one in self._open:
            one.close()

    def join(self) -> None:
        """Put many runs into the queue under many sessions."""
        for _ in range(30):
            self._post("join", f"{_API}/queue/join", json=self._event(secrets.token_hex(5)))

    def quick_events(self) -> None:
        """Ask for many cheap things."""
        for _ in range(60):
            data = {"data": ["x" * 24, 3, 0, []]}
            self._post("quick", f"{_API}/call/cut", json=data)

    def upload(self) -> None:
        """Upload 20 MiB of noise."""
        files = {"files": ("noise.mp4", os.urandom(20 << 20))}
        self._post("upload", f"{_API}/upload", files=files)

    def half_an_upload(self) -> None:
        """Announce a large upload, send a part, and stay or go."""
        one = self._socket()
        boundary = secrets.token_hex(8)
        head = (
            f"POST /{_API}/upload HTTP/1.1\r\nHost: {self._host}\r\nX-Forwarded-For: "
            f"{self._address}\r\nContent-Type: multipart/form-data; boundary={boundary}\r\n"
            f"Content-Length: {100 << 20}\r\n\r\n--{boundary}\r\nContent-Disposition: form-data; "
            'name="files"; filename="half.mp4"\r\n\r\n'
        )
        one.sendall(head.encode() + os.urandom(4 << 20))
        self._count("half an upload", "sent")
        if self._rng.random() < 0.5:
            one.close()

    def export(self) -> None:
        """Segment a small clip once and export it again and again."""
        with self._client() as client:
            clip = self._folder / f"{self._address}.mp4"
            write_clip(clip, self._rng.randrange(1000))
            result, _ = ask(client, clip)
            for clusters in range(2, 8):
                client.submit(result, clusters, [], api_name="/export")
            self._count("export", "asked")

    def pages(self) -> None:
        """Open many pages and keep them open."""
        for _ in range(30):
            one = self._socket()
            path = f"/{_API}/heartbeat/{secrets.token_hex(5)}"
            one.sendall(
                f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\n"
                f"X-Forwarded-For: {self._address}\r\n\r\n".encode()
            )
        self._count("pages", "opened")
        while len(self._open) > 200:
            self._open.pop(0).close()

    def cancel_others(self) -> None:
        """Cancel under names that others might have."""
        for name in ("warm-up", "", "None", "training of ", secrets.token_hex(5)):
            body = {"session_hash": name, "fn_index": 0, "event_id": secrets.token_hex(16)}
            self._post("cancel", f"{_API}/cancel", json=body)
            self._post("cancel", f"{_API}/call/cancel", json={"data": [], "session_hash": name})

    def read_slowly(self) -> None:
        """Ask for a large file and read a few bytes of it."""
        one = self._socket()
        path = f"/{_API}/file=assets/examples/{EXAMPLE}.mp4"
        one.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\n"
            f"X-Forwarded-For: {self._address}\r\n\r\n".encode()
        )
        one.recv(100)
        self._count("read slowly", "begun")

    def repeat_an_example(self) -> None:
        """Ask for one example with many settings."""
        with self._client() as client:
            clip = {"path": f"assets/examples/{EXAMPLE}.mp4", "meta": {"_type": "gradio.FileData"}}
            for patches in range(60, 100, 4):
                client.submit(clip, "descriptors", 4, patches, api_name="/segment")
            self._count("repeat", "asked")

    def _event(self, session: str) -> dict[str, Any]:
        return {
            "data": [None, "auto", 4, 100, 0, 0], "fn_index": self._rng.randrange(20),
            "session_hash": session, "event_data": None, "trigger_id": None,
        }  # fmt: skip

    @contextlib.contextmanager
    def _client(self) -> Iterator[Client]:
        client = client_of(self._server, self._folder, self._address)
        try:
            yield client
        finally:
            client.close()

    @property
    def _host(self) -> str:
        return self._server.address.removeprefix("http://").strip("/")

    def _socket(self) -> socket.socket:
        name, port = self._host.split(":")
        one = socket.create_connection((name, int(port)), timeout=20)
        self._open.append(one)
        return one

    def _post(self, what: str, path: str, **body: Any) -> None:
        answer = self._http.post(path, **body)
        self._count(what, str(answer.status_code))

    def _count(self, what: str, answer: str) -> None:
        self._seen.answers[f"{what}: {answer}"] += 1


# ---- the one -----------------------------------------------------------------------------------


class One:
    """The client that works."""

    def __init__(self, server: Server, seen: Seen, folder: Path):
        self._seen = seen
        self._client = connected(server, folder, "10.0.0.200")
        self._http = httpx.Client(
            base_url=server.address, headers={"X-Forwarded-For": "10.0.0.200"}, timeout=60
        )
        clip = folder / "mine.mp4"
        write_clip(clip, 12345)
        self.result, _ = ask(self._client, clip)
        self._looks: dict[str, Callable[[], object]] = {
            "cut": lambda: LOOKS["cut"](self._client, self.result),
            "attend": lambda: LOOKS["attend"](self._client, self.result),
            "base": lambda: self._part("base"),
            "frame": lambda: self._part("frame/0"),
            "attention": lambda: self._part("attention/key-similarity"),
            "exact": lambda: self._part("exact?sample=0&y=0.5&x=0.5&source=key-similarity"),
            "cancel": lambda: self._client.predict(api_name="/cancel"),
            "page": lambda: self._http.get("/").raise_for_status().status_code,
        }
        self._expected = {what: look() for what, look in self._looks.items()}

    def until(self, stop: threading.Event) -> None:
        """Look at the result, at the pace of a person."""
        rng = random.Random(0)
        while not stop.wait(rng.uniform(0.1, 0.6)):
            what = rng.choice(list(self._looks))
            begun = time.perf_counter()
            try:
                answer = self._looks[what]()
                if answer != self._expected[what]:
                    self._seen.wrong.append(f"{what}: another answer")
            except Exception as error:
                self._seen.wrong.append(f"{what}: {type(error).__name__} {error}"[:200])
            self._seen.seconds.setdefault(what, []).append(time.perf_counter() - begun)

    def _part(self, name: str) -> bytes:
        return self._http.get(f"{_API}/bavos/{self.result}/{name}").raise_for_status().content


def watch(server: Server, seen: Seen, stop: threading.Event) -> None:
    """Look at memory and disk until the end."""
    while not stop.wait(0.2):
        with contextlib.suppress(OSError, StopIteration):
            seen.memory_mib.append(server.resident_mib + sum(map(_resident, server.decoders())))
            seen.disk_mib.append(server.files[1])


def _resident(pid: int) -> float:
    with contextlib.suppress(OSError, IndexError, StopIteration):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) / 1024
    return 0.0


def crowded(seconds: float) -> tuple[Seen, dict[str, float]]:
    """Let all of them loose for a time; return what was seen, and what was left."""
    with tempfile.TemporaryDirectory(prefix="crowd-") as name:
        folder = Path(name)
        temporary, downloads = folder / "server", folder / "clients"
        temporary.mkdir()
        downloads.mkdir()
        seen, stop = Seen(), threading.Event()
        limits = {"BAVOS_PROXIES": 1, "BAVOS_DISK_MIB": DISK_MIB, "BAVOS_STORE_MIB": STORE_MIB}
        with serving(temporary, 600, **limits) as server:
            one = One(server, seen, downloads)
            idle = server.resident_mib
            bad = [Worst(server, i, seen, downloads) for i in range(BAD)]
            work = [*(client.until for client in bad), one.until]
            threads = [threading.Thread(target=way, args=(stop,)) for way in work]
            threads.append(threading.Thread(target=watch, args=(server, seen, stop)))
            for thread in threads:
                thread.start()
            stop.wait(seconds)
            stop.set()
            for thread in threads:
                thread.join(120)
            asked = time.monotonic()
        log = (folder / "server.log").read_text(errors="replace")
        left = [path for path in temporary.rglob("*") if path.is_file()]
    return seen, {
        "MiB before the ten came": idle,
        "tracebacks in the log": log.count("Traceback"),
        "bytes of log": len(log),
        "seconds to stop": time.monotonic() - asked,
        "files left": len(left),
    }


def rows_of(seen: Seen, left: dict[str, float]) -> Iterator[Row]:
    """Yield one row for every figure."""
    for what, seconds in sorted(seen.seconds.items()):
        yield {"what": f"{what}, times", "value": len(seconds)}
        yield {"what": f"{what}, median s", "value": round(statistics.median(seconds), 3)}
        yield {"what": f"{what}, longest s", "value": round(max(seconds), 3)}
    yield {"what": "wrong answers to the one", "value": len(seen.wrong)}
    yield {"what": "MiB of memory at most", "value": round(max(seen.memory_mib))}
    yield {"what": f"MiB on disk at most, of {DISK_MIB}", "value": round(max(seen.disk_mib))}
    yield from ({"what": name, "value": round(value, 2)} for name, value in left.items())
    for answer, count in sorted(seen.answers.items()):
        yield {"what": f"the ten, {answer}", "value": count}


def main() -> None:
    """Run, write every figure, print the report."""
    parser = parser_of(__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    options = parser.parse_args()
    seen, left = crowded(options.minutes * 60)
    found = write_rows(options.out, rows_of(seen, left))
    print(markdown(["what", "value"], ([row["what"], row["value"]] for row in found)))
    print(*seen.wrong[:40], sep="\n")


if __name__ == "__main__":
    main()
