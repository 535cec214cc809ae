"""`bavos batch` on the command line: processes, kills, exit statuses. Processes are real."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue

import pytest

from bavos_core.cli import main

from .helpers import OPTIONS, batch, bytes_of, manifest, write_list, write_picture

ROOT = Path(__file__).resolve().parents[3]


class Holding(BaseHTTPRequestHandler):
    """Says when the clip is asked for, and gives it when it may."""

    picture = b""
    asked: "Queue[None]"
    may_go_on: threading.Event

    def do_GET(self) -> None:
        self.asked.put(None)
        self.may_go_on.wait()
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.picture)))
        self.end_headers()
        self.wfile.write(self.picture)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True  # who asked was killed


@pytest.fixture
def held(tmp_path: Path) -> Iterator[str]:
    """The address of a clip that is being waited for until the test lets it come."""
    Holding.picture = write_picture(tmp_path / "p.png", 50).read_bytes()
    Holding.asked, Holding.may_go_on = Queue(), threading.Event()
    http = ThreadingHTTPServer(("127.0.0.1", 0), Holding)
    thread = threading.Thread(target=http.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}/held.png"
    Holding.may_go_on.set()
    http.shutdown()
    thread.join()
    http.server_close()


def started(source: Path, out: Path, *more: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "bavos_core", "batch", str(source), "--out", str(out)]
    return subprocess.Popen(
        [*command, *OPTIONS, *more], cwd=ROOT, text=True, stdout=-1, stderr=-1,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def workers_of(driver: int) -> list[int]:
    """The processes that a driver started to work."""
    children = Path(f"/proc/{driver}/task/{driver}/children").read_text().split()
    commands = {int(pid): Path(f"/proc/{pid}/cmdline").read_text() for pid in children}
    return [pid for pid, command in commands.items() if "spawn_main" in command]


def records(out: Path) -> dict[str, int]:
    """When what became of each clip was written, by its key."""
    return {path.stem: path.stat().st_mtime_ns for path in (out / ".batch").rglob("*.json")}


def kill(pids: list[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def test_workers_and_the_driver_are_killed_and_every_clip_is_done_once(
    held: str, tmp_path: Path
) -> None:
    pictures = [write_picture(tmp_path / f"{n}.png", n) for n in range(6)]
    write_list(tmp_path / "bad.mp4", ["no film"])
    source = write_list(tmp_path / "list.txt", [*pictures[:2], held, "bad.mp4", *pictures[2:]])
    out = tmp_path / "out"
    driver = started(source, out, "--workers", "2")
    Holding.asked.get()
    kill(workers_of(driver.pid))
    Holding.asked.get()  # by a new worker, after all others
    kill([driver.pid, *workers_of(driver.pid)])
    driver.communicate()
    before = records(out)
    assert len(before) >= 6  # all but the one that is held, and perhaps one that was in hand
    Holding.may_go_on.set()
    driver = started(source, out, "--workers", "2")
    printed, said = driver.communicate()
    assert driver.returncode == 3, said
    rows = manifest(out)
    assert [row["status"] for row in rows] == ["done"] * 3 + ["bad input"] + ["done"] * 4
    assert records(out).items() >= before.items()  # none was done again
    assert {k: json.loads(printed)[k] for k in ("clips", "done", "failed", "made_now")} == {
        "clips": 8, "done": 7, "failed": 1, "made_now": 8 - len(before),
    }  # fmt: skip
    assert list((out / ".batch" / "work").iterdir()) == []
    batch(source, tmp_path / "calm")
    assert bytes_of(out) == bytes_of(tmp_path / "calm")


def test_a_stopped_run_says_what_is_left(held: str, tmp_path: Path) -> None:
    source = write_list(tmp_path / "list.txt", [write_picture(tmp_path / "1.png", 1), held])
    driver = started(source, tmp_path / "out", "--workers", "1")
    Holding.asked.get()  # by the only worker, after the first clip
    workers = workers_of(driver.pid)
    driver.send_signal(signal.SIGTERM)
    printed, said = driver.communicate()
    assert (driver.returncode, printed) == (130, "")
    assert said.splitlines()[-1] == (
        "bavos: stopped with 1 of 2 clips left; the same command goes on."
    )
    assert [row["status"] for row in manifest(tmp_path / "out")] == ["done"]
    assert "The run was stopped." in (tmp_path / "out" / "index.html").read_text()
    for pid in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["clips", "--workers", "0"], "--workers is 0; give 1 or more."),
        (["clips", "--retries", "-1"], "--retries is -1; give 0 or more."),
        (["none"], "There is no file or folder 'none'"),
        (["clips", "--tau", "-1"], "Tau is -1.0"),
        (["clips", "--weights", "none.pth"], "takes no weights file"),
        (["clips", "--out", "full"], "holds no earlier batch"),
        (["clips", "--out", "nothing://x"], "nothing://x cannot be opened"),
    ],
)
def test_bad_usage(
    arguments: list[str], sentence: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    write_picture(Path("clips/1.png"), 1)
    write_picture(Path("full/1.png"), 1)
    status = main(["batch", "--out", "out", *OPTIONS, *arguments])
    assert (status, capsys.readouterr().err.count("\n")) == (2, 1) or sentence == ""
    assert not Path("out/clips").exists()
