"""SIGTERM at random moments of everything that a server does: how it ends, and what it leaves.

    python -m experiments.stopping CLIP --moments 30 --out stopping.csv

For every moment a server of its own is started, given one kind of work and stopped in the midst
of it. It must end with status 0 within ten seconds, and leave no file, no process and no word of a
crash. Linux only: processes are found in /proc.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gradio_client import Client, handle_file

from .common import Row, markdown, parser_of, write_rows
from .server import Server, connected, serving

LONGEST = 10.0  # seconds that the end may take
CRASH = re.compile(r"Traceback|abort|terminate|core dumped|Fatal", re.IGNORECASE)
Work = Callable[["Scene"], object]


@dataclass(frozen=True)
class Scene:
    """A server that is about to be stopped."""

    server: Server
    clip: Path
    downloads: Path

    def client(self) -> Client:
        """Return a client once the server answers."""
        return connected(self.server, self.downloads)

    def segment(self, client: Client, frames: int, patches: int, backbone: str) -> Any:
        """Begin to segment the clip."""
        return client.submit(
            handle_file(self.clip), backbone, frames, patches, 0, 0, api_name="/segment"
        )

    def result(self, client: Client) -> str:
        """Segment the clip, coarsely; return the id of the result."""
        return str(self.segment(client, 6, 300, "descriptors").result(timeout=300)[0]["result"])


def idle(scene: Scene) -> None:
    """Do nothing."""
    scene.client()


def start(_scene: Scene) -> None:
    """Do not wait for the server to answer."""


def segment(scene: Scene) -> None:
    """Segment the clip at the usual size."""
    scene.segment(scene.client(), 12, 648, "bundled-vits14")


def export(scene: Scene) -> None:
    """Write all files of a result."""
    client = scene.client()
    client.submit(scene.result(client), 8, [], api_name="/export")


def html(scene: Scene) -> None:
    """Write the HTML file of a result."""
    client = scene.client()
    client.submit(scene.result(client), 8, [], api_name="/html")


def between(scene: Scene) -> None:
    """Let the frames between the analysed ones be made."""
    scene.result(scene.client())


def attend(scene: Scene) -> None:
    """Write the video of a heatmap."""
    client = scene.client()
    key = scene.result(client)
    client.submit(key, 0, 9, 9, -1, "cross-frame", api_name="/attend")


def adapt(scene: Scene) -> None:
    """Train on the clip of a result, as the page does."""
    client = scene.client()
    key = scene.result(client)
    (index,) = [dep["id"] for dep in client.config["dependencies"] if dep["api_name"] == "adapt"]
    body = {"data": [{"result": key}, 100], "fn_index": index, "session_hash": "stopping"}
    request = urllib.request.Request(
        f"{scene.server.address}gradio_api/queue/join",
        json.dumps(body).encode(),
        {"content-type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        answer.read()


def upload(scene: Scene) -> None:
    """Send half a file."""
    scene.client()
    place = urlsplit(scene.server.address)
    line = socket.create_connection((place.hostname, place.port or 80))
    head = (
        f"POST /gradio_api/upload HTTP/1.1\r\nHost: {place.netloc}\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 9000000\r\n\r\n"
        '--x\r\nContent-Disposition: form-data; name="files"; filename="a.mp4"\r\n\r\n'
    )
    line.sendall(head.encode() + bytes(3_000_000))
    _kept.append(line)


_kept: list[socket.socket] = []
WORK: dict[str, tuple[Work, float, dict[str, object]]] = {  # what, for how long at most, settings
    "start": (start, 12.0, {}),
    "idle": (idle, 1.0, {}),
    "warm-up": (idle, 12.0, {"BAVOS_WARM_UP": 1, "BAVOS_BACKBONE": "bundled-vits14"}),
    "segment": (segment, 20.0, {}),
    "frames in between": (between, 5.0, {}),
    "export": (export, 8.0, {}),
    "html": (html, 3.0, {}),
    "attend": (attend, 2.0, {}),
    "adapt": (adapt, 12.0, {}),
    "upload": (upload, 2.0, {}),
}


def stopped(kind: str, clip: Path, share: float) -> Row:
    """Stop a server when a share of the longest time has passed; return how it ended."""
    work, longest, settings = WORK[kind]
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "server").mkdir()
        with serving(place / "server", 3600, BAVOS_STORE_MIB=2048, **settings) as server:
            work(Scene(server, clip, place / "downloads"))
            time.sleep(share * longest)
            children = server.decoders()
            begin = time.perf_counter()
            server.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.process.wait(30)
            seconds = time.perf_counter() - begin
        said = (place / "server.log").read_text(errors="replace")
        left = [str(path.relative_to(place)) for path in (place / "server").rglob("*")]
    for line in _kept:
        line.close()
    _kept.clear()
    row = {
        "kind": kind,
        "moment, s": round(share * longest, 2),
        "seconds": round(seconds, 2),
        "status": server.process.returncode,
        "processes left": sum(map(runs, children)),
        "files left": " ".join(left[:3]),
        "crash": " ".join(sorted(set(CRASH.findall(said)))),
    }
    if not good(row):
        print(said[-3000:], file=sys.stderr)
    print(row, file=sys.stderr, flush=True)
    return row


def runs(number: int) -> bool:
    """Return whether a process runs; one that has ended has no command any more."""
    with contextlib.suppress(OSError):
        return bool(Path(f"/proc/{number}/cmdline").read_bytes())
    return False


def good(row: Row) -> bool:
    """Return whether a server ended as it shall."""
    quick = row["status"] == 0 and row["seconds"] <= LONGEST
    return quick and not (row["processes left"] or row["files left"] or row["crash"])


def moments(clip: Path, kinds: list[str], count: int, seed: int) -> Iterator[Row]:
    """Yield a row for each moment; the kinds of work take turns."""
    rng = random.Random(seed)
    for i in range(count):
        yield stopped(kinds[i % len(kinds)], clip, rng.random())


def main() -> None:
    """Stop servers, write how each ended, print the table."""
    parser = parser_of(__doc__)
    parser.add_argument("clip", type=Path, metavar="CLIP")
    parser.add_argument("--moments", type=int, default=30, metavar="N", help="in all (default: 30)")
    parser.add_argument("--kinds", nargs="+", choices=WORK, default=list(WORK))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    os.environ["PYTHONUNBUFFERED"] = "1"
    found = moments(options.clip.resolve(), options.kinds, options.moments, options.seed)
    rows = write_rows(options.out, found)
    names = ["kind", "moment, s", "seconds", "status"]
    print(markdown(names, ([row[name] for name in names] for row in rows)))
    print(f"{sum(map(good, rows))} of {len(rows)} ended well")


if __name__ == "__main__":
    main()
