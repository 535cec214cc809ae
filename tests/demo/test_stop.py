"""The server, as `python app.py` starts it, asked to stop at any moment."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "assets" / "examples" / "rolling-balls.mp4"
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
CRASHES = ("Traceback", "terminate", "Aborted", "Fatal")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a server with a temporary folder of its own."""
    started: list[subprocess.Popen[str]] = []

    def run(**settings: str) -> subprocess.Popen[str]:
        env = os.environ | {
            "TMPDIR": str(tmp_path), "BAVOS_BACKBONE": "descriptors",
            "HF_HUB_OFFLINE": "1", "GRADIO_ANALYTICS_ENABLED": "False", "PYTHONUNBUFFERED": "1",
            **settings,
        }  # fmt: skip
        started.append(
            subprocess.Popen(
                [sys.executable, "app.py"],
                cwd=ROOT,
                env=env,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        )
        return started[-1]

    yield run
    for server in started:
        server.kill()
        server.communicate()


def address_of(server: subprocess.Popen[str]) -> str:
    """Where a server listens, as soon as it says so."""
    assert server.stdout
    for line in server.stdout:
        if "Running on" in line:
            return line.split()[-1].rstrip("/")
    raise AssertionError("The server did not start.")


def until(happens: Callable[[], object]) -> None:
    """Wait for something of another process."""
    deadline = time.monotonic() + 120
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def check_end(server: subprocess.Popen[str], folder: Path) -> None:
    said = server.communicate(timeout=60)[0]
    assert server.returncode == 0, said
    assert not any(word in said for word in CRASHES), said
    assert list(folder.glob("bavos-*")) == []


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM to catch")
def test_a_server_that_is_stopped_while_it_warms_up_ends_well_and_leaves_nothing(
    start, tmp_path: Path
) -> None:
    server = start()
    address_of(server)
    server.send_signal(signal.SIGTERM)
    check_end(server, tmp_path)


@linux_only
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_is_stopped_while_it_loads_ends_well(number, start, tmp_path: Path) -> None:
    server = start()
    until(lambda: "torch" in Path(f"/proc/{server.pid}/maps").read_text())
    server.send_signal(number)
    check_end(server, tmp_path)


def decoders(server: subprocess.Popen[str]) -> list[str]:
    """The processes that a server has started."""
    found: list[str] = []
    for thread in Path(f"/proc/{server.pid}/task").iterdir():
        with suppress(OSError):  # it has just ended
            found += (thread / "children").read_text().split()
    return found


@linux_only
def test_a_server_that_is_stopped_while_it_clusters_and_files_arrive_ends_well(
    start, tmp_path: Path
) -> None:
    server = start(BAVOS_WARM_UP="0")
    address = address_of(server) + "/gradio_api"
    with EXAMPLE.open("rb") as file:
        (path,) = httpx.post(f"{address}/upload", files={"files": file}).json()
    clip = {"path": path, "meta": {"_type": "gradio.FileData"}}
    asked = {"data": [clip, "descriptors", 24, 1600, 0, 0]}
    assert httpx.post(f"{address}/call/segment", json=asked).status_code == 200
    until(lambda: decoders(server))
    until(lambda: not decoders(server))
    begun = time.monotonic()
    server.send_signal(signal.SIGTERM)
    check_end(server, tmp_path)
    assert time.monotonic() - begun < 10


ENDS_WHILE_A_THREAD_FAILS = """
import os, signal, threading
from demo.ending import Ending

def fail():
    files_have_gone.wait()
    open("/no/such/file")

files_have_gone, ending = threading.Event(), Ending()
thread = threading.Thread(target=fail)
thread.start()
ending.listen()
with ending.begun() as steps:
    steps.append(lambda: (files_have_gone.set(), thread.join()))
os.kill(os.getpid(), signal.SIGTERM)
threading.Event().wait()
"""
ENDS_WHILE_THE_MAIN_THREAD_FAILS = """
import atexit, os, signal, threading
from demo.ending import Ending

files_have_gone, leaving, ending = threading.Event(), threading.Event(), Ending()
ending.listen()
atexit.register(leaving.set)
with ending.begun() as steps:
    steps.append(lambda: (files_have_gone.set(), leaving.wait(), threading.Event().wait(0.5)))
os.kill(os.getpid(), signal.SIGTERM)
files_have_gone.wait()
open("/no/such/file")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM to catch")
@pytest.mark.parametrize("program", [ENDS_WHILE_A_THREAD_FAILS, ENDS_WHILE_THE_MAIN_THREAD_FAILS])
def test_what_fails_during_the_end_is_not_reported_and_does_not_hasten_it(program: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (ended.returncode, ended.stdout + ended.stderr) == (0, "")
