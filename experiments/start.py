"""Seconds from `python app.py` to a page that answers and to a segmented example, without a hub.

    python -m experiments.start --out start.csv

Three model hubs are faked, each for a new server with an empty cache: none (nothing listens), a
name server that never answers, and a hub that sends a byte a second. The example is requested over
HTTP as soon as the page answers, in each quality.
"""

from __future__ import annotations

import contextlib
import http.server
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence

from gradio_client import Client, handle_file

from demo.presets import PRESETS

from .common import ROOT, Row, markdown, parser_of, write_rows
from .server import free_port

EXAMPLE = ROOT / "assets" / "examples" / "rolling-balls.mp4"
SILENT = "hub.invalid"  # its name is never resolved
START = f"""
import runpy, socket, threading
resolve = socket.getaddrinfo
def getaddrinfo(host, *rest, **more):
    if host == {SILENT!r}:
        threading.Event().wait()
    return resolve(host, *rest, **more)
socket.getaddrinfo = getaddrinfo
runpy.run_path("app.py", run_name="__main__")
"""


class Slow(http.server.BaseHTTPRequestHandler):
    """A hub that answers at once and then sends a byte a second."""

    def do_GET(self) -> None:
        """Send a header, and a body that does not end."""
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # the client has gone
            for _ in range(1000):
                self.wfile.write(b" ")
                time.sleep(1)

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def seconds_to(hub: str, preset: str) -> dict[str, float]:
    """Return the seconds to the page and to the segmented example."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        env = {
            **os.environ, "HF_ENDPOINT": hub, "HF_HOME": f"{folder}/hf", "TMPDIR": folder,
            "GRADIO_SERVER_PORT": str(port), "GRADIO_ANALYTICS_ENABLED": "False",
        }  # fmt: skip
        start = time.perf_counter()
        server = subprocess.Popen([sys.executable, "-c", START], cwd=ROOT, env=env)
        try:
            while not answers(f"http://127.0.0.1:{port}/"):
                time.sleep(0.05)
            page = time.perf_counter() - start
            segment(port, preset)
            return {"page": page, "example": time.perf_counter() - start}
        finally:
            server.terminate()
            server.wait(30)


def answers(address: str) -> bool:
    """Return whether the page answers."""
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def segment(port: int, preset: str) -> None:
    """Segment the example, as a script would."""
    chosen = PRESETS[preset]
    client = Client(f"http://127.0.0.1:{port}/", verbose=False)
    client.predict(handle_file(EXAMPLE), "auto", chosen.frames, chosen.patches, api_name="/segment")


def measure(presets: Sequence[str]) -> Iterator[Row]:
    """Yield one row for every hub and quality."""
    slow = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    slow.daemon_threads = True
    threading.Thread(target=slow.serve_forever, daemon=True).start()
    hubs = {
        "no network": f"http://127.0.0.1:{free_port()}",
        "name server never answers": f"http://{SILENT}",
        "hub sends a byte a second": f"http://127.0.0.1:{slow.server_port}",
    }
    for name, hub in hubs.items():
        for preset in presets:
            seconds = {f"{k}_seconds": round(v, 1) for k, v in seconds_to(hub, preset).items()}
            yield {"hub": name, "quality": preset, **seconds}


def main() -> None:
    """Measure, write every figure, print the table."""
    parser = parser_of(__doc__)
    parser.add_argument("--presets", nargs="+", choices=PRESETS, default=["fast", "balanced"])
    options = parser.parse_args()
    rows = write_rows(options.out, measure(options.presets))
    names = ["hub", "quality", "page_seconds", "example_seconds"]
    print(markdown(names, ([row[name] for name in names] for row in rows), words=2))


if __name__ == "__main__":
    main()
