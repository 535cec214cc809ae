"""The model hub, played by a server on this machine, and what tests of it share."""

import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save

from bavos_core.backbones import hub

NAME = "test_vit.r160_in1k"  # the smallest ViT of timm, 0.3 million parameters
PAPER = "vit_small_patch8_224.dino"
LABELS = "tuned on saliency labels"
REVISION = "0123456789abcdef0123456789abcdef01234567"
WEIGHTS = save({"x": torch.arange(5.0)})


def path_of(file: str, name: str = NAME) -> str:
    return f"/timm/{name}/resolve/main/{file}"


class FakeHub(ThreadingHTTPServer):
    """Has these files, remembers what was asked for, and can hold its answers back."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.redirects: dict[str, str] = {}
        self.status = 404  # of what it does not have
        self.way: Callable[[Handler, bytes], None] = Handler.answer
        self.seen: list[str] = []
        self.tokens: list[str | None] = []
        self.released = threading.Event()  # ends what it holds back

    def add(self, file: str, data: bytes = b"{}", name: str = NAME) -> None:
        self.files[path_of(file, name)] = data

    def add_model(self, name: str = NAME) -> None:
        self.add("config.json", name=name)
        self.add("model.safetensors", WEIGHTS, name=name)

    def asked(self, file: str = "config.json") -> int:
        return sum(path.endswith(file) for path in self.seen)


class Handler(BaseHTTPRequestHandler):
    server: FakeHub

    def do_GET(self) -> None:
        self.server.seen.append(self.path)
        self.server.tokens.append(self.headers["Authorization"])
        body = self.server.files.get(self.path)
        if self.path in self.server.redirects:
            self.send_response(307)
            self.send_header("Location", self.server.redirects[self.path])
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif body is None:
            self.send_error(self.server.status)
        else:
            self.server.way(self, body)

    do_HEAD = do_GET

    def promise(self, body: bytes) -> None:
        """Send everything that comes before a body."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"one"')
        self.send_header("X-Repo-Commit", REVISION)
        self.end_headers()

    def answer(self, body: bytes) -> None:
        self.promise(body)
        if self.command == "GET":
            self.wfile.write(body)

    def break_off(self, body: bytes) -> None:
        """Send half of what was promised."""
        self.promise(body)
        if self.command == "GET":
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True

    def say_nothing(self, _: bytes) -> None:
        self.server.released.wait(60)

    def trickle_a_body(self, _: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "10000")
        self.end_headers()
        self.trickle(b"{" * 10000)

    def trickle_a_head(self, _: bytes) -> None:
        self.trickle(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 10000)

    def trickle(self, data: bytes) -> None:
        for byte in data:
            if self.server.released.wait(0.02):
                return
            try:
                self.wfile.write(bytes([byte]))
            except OSError:  # nobody listens any more
                return

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


def end_questions(fake: FakeHub) -> None:
    """Let the threads end that wait for an answer."""
    fake.released.set()
    for thread in threading.enumerate():
        if isinstance(thread, hub._Download):
            thread.join(10)
            assert not thread.is_alive()


def use_endpoint(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


class Clock:
    """The time of the module alone, which can be set ahead."""

    ahead = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead


def seconds_of(call: Callable[[], object]) -> float:
    start = time.monotonic()
    call()
    return time.monotonic() - start


def keep(cache: Path, name: str, file: str, data: bytes) -> Path:
    """A file in the cache, as the hub's library lays it out."""
    folder = cache / f"models--timm--{name}"
    path = folder / "snapshots" / REVISION / file
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(REVISION)
    return path
