"""A hub on this machine that the library asks, an empty cache, and slow ways to answer."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from bavos_core.backbones import hub

from .fake import (
    Clock,
    FakeHub,
    end_questions,
    use_endpoint,
)


@pytest.fixture(autouse=True)
def fake() -> Iterator[FakeHub]:
    with FakeHub() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.released.set()
        server.shutdown()
        thread.join()
    end_questions(server)


@pytest.fixture(autouse=True)
def cache(fake, tmp_path, monkeypatch) -> Path:
    """The library asks that hub, nothing is cached, and nothing has been asked."""
    address = f"http://127.0.0.1:{fake.server_port}"
    use_endpoint(address, monkeypatch)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "_downloads", {})
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,hub.invalid")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def impatient(monkeypatch) -> None:
    """What matters is that it gives up, not when."""
    monkeypatch.setattr(hub, "ANSWER_SECONDS", 0.3)


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(hub, "time", clock)
    return clock


@pytest.fixture
def silent_resolver(fake, monkeypatch) -> Iterator[list[str]]:
    """A name server that never answers for the hub; what it was asked for."""
    use_endpoint("http://hub.invalid", monkeypatch)
    asked: list[str] = []
    resolve = socket.getaddrinfo

    def block(host: str, *rest: object, **more: object) -> object:
        if host not in ("hub.invalid", b"hub.invalid"):
            return resolve(host, *rest, **more)
        asked.append(str(host))
        fake.released.wait(60)
        raise socket.gaierror("released")

    monkeypatch.setattr(socket, "getaddrinfo", block)
    yield asked
    end_questions(fake)  # before the resolver is put back
