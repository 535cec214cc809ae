"""`python app.py` in a process of its own, for programs that measure it or load it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gradio_client import Client

from .common import ROOT


@dataclass(frozen=True)
class Server:
    """A running server and its temporary folder. Linux only: memory is read from /proc."""

    process: subprocess.Popen[bytes]
    address: str
    folder: Path
    keep_seconds: int  # for which it keeps files

    @property
    def resident_mib(self) -> float:
        """Return its own memory, without shared files, in MiB."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in text.splitlines() if line.startswith("RssAnon"))
        return int(line.split()[1]) / 1024

    @property
    def files(self) -> tuple[int, float]:
        """Return the number of files and folders in its temporary folder, and their MiB."""
        sizes = []
        for place, folders, names in os.walk(self.folder):  # some may vanish meanwhile
            for name in (*folders, *names):
                with contextlib.suppress(FileNotFoundError):
                    path = Path(place, name)
                    sizes.append(path.stat().st_size if path.is_file() else 0)
        return len(sizes), sum(sizes) / 2**20

    def decoders(self) -> list[int]:
        """Return the ids of the processes that it started."""
        found: list[int] = []
        for thread in Path(f"/proc/{self.process.pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it just ended
                found += map(int, (thread / "children").read_text().split())
        return found


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def serving(folder: Path, keep_seconds: int, **settings: object) -> Iterator[Server]:
    """Run a server on a free port; stdout and stderr go to server.log beside its folder.

    settings: further environment variables, such as BAVOS_QUEUE_SIZE=20.
    """
    port = free_port()
    env = os.environ | {
        "TMPDIR": str(folder), "GRADIO_SERVER_PORT": str(port), "BAVOS_BACKBONE": "descriptors",
        "BAVOS_WARM_UP": "0", "BAVOS_KEEP_SECONDS": str(keep_seconds), "BAVOS_STORE_MIB": "32",
        "GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1",
        **{name: str(value) for name, value in settings.items()},
    }  # fmt: skip
    env.pop("GRADIO_TEMP_DIR", None)
    with (folder.parent / "server.log").open("wb") as log:
        command = [sys.executable, str(ROOT / "app.py")]
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=log)
    try:
        yield Server(process, f"http://127.0.0.1:{port}/", folder, keep_seconds)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def connected(server: Server, downloads: Path, address: str = "") -> Client:
    """Return a client as soon as the server answers; see `client_of`."""
    for _ in range(600):
        if server.process.poll() is not None:
            raise SystemExit("The server did not start; see server.log.")
        with contextlib.suppress(Exception):
            return client_of(server, downloads, address)
        time.sleep(0.2)
    raise SystemExit("The server does not answer.")


def client_of(server: Server, downloads: Path, address: str = "") -> Client:
    """Return a client that writes what it downloads to a folder.

    address: from which it seems to call, for a server with BAVOS_PROXIES=1.
    """
    return Client(
        server.address,
        verbose=False,
        download_files=str(downloads),
        analytics_enabled=False,
        headers={"X-Forwarded-For": address} if address else None,
    )
