"""Seconds from `python app.py` to a page that answers and to an example's objects, without a hub.

    python experiments/measure_start.py --out start.csv

Three model hubs are faked, each on a fresh server with an empty cache: none (nothing listens), a
name server that never answers, and a hub that sends a byte a second. The example is asked for over
HTTP as soon as the page answers, in each quality.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import datetime
import http.server
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

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
        """Send a header, and a body for ever."""
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # nobody waits for it
            for _ in range(1000):
                self.wfile.write(b" ")
                time.sleep(1)

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def measure(hub: str, preset: str) -> dict[str, float]:
    """Return seconds to the page and to the example's objects."""
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
    """Return whether the page is there."""
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def segment(port: int, preset: str) -> None:
    """Segment the example, as a script would."""
    from gradio_client import Client, handle_file

    from demo.presets import PRESETS

    chosen = PRESETS[preset]
    client = Client(f"http://127.0.0.1:{port}/", verbose=False)
    client.predict(handle_file(EXAMPLE), "auto", chosen.frames, chosen.patches, api_name="/segment")


def main() -> None:
    """Measure, print and write every figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--presets", nargs="+", default=["fast", "balanced"])
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.csv")
    options = parser.parse_args()
    import gradio_client  # noqa: F401 - not what is timed

    import demo.presets  # noqa: F401

    slow = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    slow.daemon_threads = True
    threading.Thread(target=slow.serve_forever, daemon=True).start()
    hubs = {
        "no network": f"http://127.0.0.1:{free_port()}",
        "name server never answers": f"http://{SILENT}",
        "hub sends a byte a second": f"http://127.0.0.1:{slow.server_port}",
    }
    rows = []
    for name, hub in hubs.items():
        for preset in options.presets:
            seconds = measure(hub, preset)
            rows.append(
                {
                    "date": datetime.date.today().isoformat(),
                    "hub": name,
                    "quality": preset,
                    **{f"{what}_seconds": round(value, 1) for what, value in seconds.items()},
                }
            )
            print(rows[-1], flush=True)
    with options.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
