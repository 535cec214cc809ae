"""Runs in this process: each clip once, whatever was stopped, added, renamed or bad."""

import json
import os
import re
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from bavos_core import InputError
from bavos_core.cli import main
from bavos_io.decoder import broken_off
from bavos_lab.batch.clip import segmented
from bavos_lab.batch.failures import failure
from bavos_lab.batch.ledger import Ledger
from bavos_lab.batch.rows import Status
from bavos_lab.batch.target import Disk

from .helpers import (
    OPTIONS,
    SETTINGS,
    batch,
    bytes_of,
    here,
    item,
    manifest,
    write_frames,
    write_list,
    write_picture,
)  # fmt: skip


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A folder of three clips, of one, two and three frames."""
    for number in (1, 2, 3):
        write_frames(tmp_path / "clips" / f"clip{number}", 10 * number, frames=number)
    return tmp_path / "clips"


def test_the_results_of_a_clip_are_those_of_segment(clips: Path, tmp_path: Path) -> None:
    rows = batch(clips, tmp_path / "out")
    arguments = ["segment", str(clips / "clip3"), "--out", str(tmp_path / "one"), *OPTIONS]
    assert main(arguments) == 0
    folder = tmp_path / "out" / rows[2]["folder"]
    files = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    alone = {p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*") if p.is_file()}
    assert files == alone
    timed = {Path("summary.json"), Path("bavos.json")}
    for name in files - timed:
        assert (folder / name).read_bytes() == (tmp_path / "one" / name).read_bytes()


def test_the_manifest_has_a_row_a_clip_in_the_order_of_the_source(
    clips: Path, tmp_path: Path
) -> None:
    rows = batch(clips, tmp_path / "out")
    assert [Path(row["source"]).name for row in rows] == ["clip1", "clip2", "clip3"]
    assert [row["frames"] for row in rows] == [1, 2, 3]
    for row in rows:
        summary = json.loads((tmp_path / "out" / row["folder"] / "summary.json").read_text())
        assert row["objects"] == summary["objects"] and row["notes"] == summary["warnings"]
        assert json.loads(row["settings"]) == json.loads(json.dumps(SETTINGS.to_dict()))
        assert json.loads(row["versions"])["torch"] == summary["versions"]["torch"]
        assert (row["status"], row["error"], row["attempts"], row["made"]) == (
            "done",
            None,
            1,
            True,
        )
        assert row["seconds"] > 0 and row["length"] == pytest.approx(row["frames"] / 24, abs=1e-3)


def test_nothing_is_done_twice(clips: Path, tmp_path: Path) -> None:
    first, out = batch(clips, tmp_path / "out"), tmp_path / "out"
    times = {path: path.stat().st_mtime_ns for path in (out / "clips").rglob("*")}
    again = batch(clips, out)
    assert {path: path.stat().st_mtime_ns for path in (out / "clips").rglob("*")} == times
    assert again == [{**row, "made": False} for row in first]


def test_what_was_added_renamed_changed_and_given_twice(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = {row["frames"]: row["key"] for row in batch(clips, out)}
    (clips / "clip1").rename(clips / "renamed")
    shutil.copytree(clips / "clip2", clips / "twice")
    write_picture(clips / "clip3" / "3.png", 99)
    write_frames(clips / "added", 50, frames=5)
    rows = {Path(row["source"]).name: row for row in batch(clips, out)}
    made = {name for name, row in rows.items() if row["made"]}
    assert made == {"clip3", "added"}
    assert rows["renamed"]["key"] == first[1]
    assert rows["twice"]["folder"] == rows["clip2"]["folder"]
    assert (rows["clip3"]["frames"], rows["clip3"]["key"] == first[3]) == (4, False)
    assert len(list((out / "clips").iterdir())) == 5  # the former clip3 stays


def test_other_settings_are_other_results(clips: Path, tmp_path: Path) -> None:
    table = write_list(tmp_path / "m.csv", [
        "path,tau", *(f"{clips}/clip2,{tau}" for tau in ("", "0.5", "1.0", "abc"))
    ])  # fmt: skip
    rows = batch(table, tmp_path / "out")
    assert [row["made"] for row in rows] == [True, True, False, True]  # 1.0 is the default
    assert [row["status"] for row in rows] == ["done", "done", "done", "bad input"]
    assert rows[0]["key"] == rows[2]["key"] != rows[1]["key"]


# ---- bad clips ----------------------------------------------------------------------------------


@pytest.fixture
def bad(tmp_path: Path) -> list[Path]:
    """Files of all kinds that are no clips."""
    room = tmp_path / "bad"
    whole = write_picture(room / "whole.png", 1).read_bytes()
    contents = {
        "cut.png": whole[: len(whole) // 2],
        "empty.mp4": b"",
        "noise.mp4": b"\x00\x01\x02" * 1000,
        "text.webm": b"not a film",
        "broken.zip": b"PK\x03\x04 and no more",
        "head.mp4": b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom" + bytes(64),
    }
    for name, content in contents.items():
        (room / name).write_bytes(content)
    write_picture(room / "sizes" / "0.png", 1)
    shutil.copy(Path(__file__).parents[3] / "assets" / "preview.jpg", room / "sizes" / "1.jpg")
    (room / "nothing").mkdir()
    return [*(room / name for name in contents), room / "sizes", room / "nothing", room / "absent"]


def test_bad_clips_are_named_in_a_sentence_each_and_the_run_goes_on(
    bad: list[Path], clips: Path, tmp_path: Path
) -> None:
    good = [clips / f"clip{number}" for number in (1, 2, 3)]
    source = write_list(tmp_path / "list.txt", [good[0], *bad, *good[1:]])
    rows = batch(source, tmp_path / "out")
    assert [row["status"] for row in rows] == ["done", *["bad input"] * len(bad), "done", "done"]
    for row, path in zip(rows[1:-2], bad, strict=True):
        assert re.fullmatch(r"[^\n]+\.", row["error"]), row
        assert path.name in row["error"] or path.stem in row["error"]
        assert (row["folder"], row["frames"], row["attempts"]) == (None, None, 1)
    assert len(list((tmp_path / "out" / "clips").iterdir())) == 3


def test_a_bad_clip_is_not_tried_again_until_it_changes(tmp_path: Path) -> None:
    path, out = tmp_path / "clips" / "a.mp4", tmp_path / "out"
    write_list(path.parent.mkdir() or path, ["no film"])
    first, again = batch(path.parent, out), batch(path.parent, out)
    assert (first[0]["made"], again[0]["made"]) == (True, False)
    assert first[0]["error"] == again[0]["error"]
    write_picture(tmp_path / "b.png", 3).rename(path)
    assert [row["status"] for row in batch(path.parent, out)] == ["done"]


def test_what_may_pass_is_tried_again_up_to_a_bound(clips: Path, tmp_path: Path) -> None:
    """A worker that is lost by clip2, each time or once."""

    def losing(times: int) -> Any:
        left = [times]

        def over(task: Any, items: Any) -> Iterator[tuple[int, Any]]:
            for number, each in items:
                lost = each.source.endswith("clip2") and left[0] > 0
                left[0] -= lost
                yield from [(number, None)] if lost else here(task, [(number, each)])

        return over

    rows = batch(clips, tmp_path / "out", over=losing(9), retries=2)
    assert [row["status"] for row in rows] == ["done", "failed", "done"]
    assert rows[1]["attempts"] == 3 and "worker was lost" in rows[1]["error"]
    rows = batch(clips, tmp_path / "out", over=losing(2), retries=2)
    assert [(r["status"], r["attempts"], r["made"]) for r in rows] == [
        ("done", 1, False), ("done", 3, True), ("done", 1, False),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (MemoryError(), Status.FAILED),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried …"), Status.FAILED),
        (PermissionError(13, "Permission denied"), Status.FAILED),
        (broken_off("a.mp4"), Status.FAILED),
        (ZeroDivisionError("division by zero"), Status.FAILED),
        (InputError("'a.mp4' is empty; export the clip again."), Status.BAD),
    ],
)
def test_what_an_error_means(error: Exception, status: Status) -> None:
    try:
        raise error
    except Exception as raised:
        found, sentence = failure(raised, "a.mp4")
    assert found is status and "a.mp4" in sentence and sentence.endswith(".")


def test_a_clip_that_cannot_be_read_for_now_is_not_bad() -> None:
    with pytest.raises(InputError) as caught:
        raise InputError("'a' cannot be opened (Too many open files).") from OSError(24, "…")
    assert failure(caught.value, "a")[0] is Status.FAILED


def test_a_run_that_cannot_begin_leaves_the_manifest_as_it_was(clips: Path, tmp_path: Path) -> None:
    rows = batch(clips, tmp_path / "out")

    def refused(_task: Any, _items: Any) -> Iterator[tuple[int, Any]]:
        yield from ()
        raise InputError("There are no weights.")

    with pytest.raises(InputError, match="no weights"):
        batch(clips, tmp_path / "out", over=refused)
    assert manifest(tmp_path / "out") == rows


def test_a_full_disk_ends_the_run(clips: Path, tmp_path: Path) -> None:
    class Full(Disk):
        """A disk without room for results."""

        def put(self, folder: Path, name: str) -> None:
            raise OSError(28, "No space left on device")

    disk = Full(tmp_path / "out")
    disk.prepare()
    result = segmented(item(clips / "clip1"), ledger=Ledger(disk))
    assert "No space left on device" in getattr(result, "sentence", "")
    assert list((tmp_path / "out" / ".batch" / "work").iterdir()) == []


# ---- kills --------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["put", "enter"])
def test_a_worker_that_is_killed_leaves_nothing_that_counts(
    moment: str, clips: Path, tmp_path: Path
) -> None:
    """It is killed when the results are ready, or when they are in place without a record."""
    out = tmp_path / "out"

    class Killed(Disk):
        """A disk on which this process ends."""

        def put(self, folder: Path, name: str) -> None:
            if moment == "enter":
                super().put(folder, name)
            os._exit(9)

    Disk(out).prepare()
    child = os.fork()
    if child == 0:
        segmented(item(clips / "clip1"), ledger=Ledger(Killed(out)))
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert len(list((out / "clips").glob("*"))) == (moment == "enter")
    assert list((out / ".batch" / "work").iterdir())
    rows = batch(clips, out)
    assert [(row["status"], row["made"]) for row in rows] == [("done", True)] * 3
    assert list((out / ".batch" / "work").iterdir()) == []
    batch(clips, tmp_path / "calm")
    assert bytes_of(out) == bytes_of(tmp_path / "calm")


# ---- elsewhere ----------------------------------------------------------------------------------


class Server(BaseHTTPRequestHandler):
    """Gives a picture to who knows the key, and an error to others."""

    picture = b""
    asked: list[str] = []  # noqa: RUF012
    version = '"1"'

    def do_GET(self) -> None:
        self.asked.append(self.path)
        answer = {"/clip.png?key=secret": 200, "/busy.mp4": 503}.get(self.path, 404)
        self.send_response(answer)
        self.send_header("ETag", self.version)
        body = self.picture if answer == 200 else b""
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    Server.picture, Server.asked = write_picture(tmp_path / "p.png", 5).read_bytes(), []
    http = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=http.serve_forever)
    thread.start()
    yield f"user:word@127.0.0.1:{http.server_port}"
    http.shutdown()
    thread.join()
    http.server_close()


def test_clips_by_address(server: str, tmp_path: Path) -> None:
    urls = [f"http://{server}/{name}" for name in ("clip.png?key=secret", "none.mp4", "busy.mp4")]
    source, out = write_list(tmp_path / "list.txt", urls), tmp_path / "out"
    rows = batch(source, out)
    assert [row["status"] for row in rows] == ["done", "bad input", "failed"]
    assert "answered 404" in rows[1]["error"] and "answered 503" in rows[2]["error"]
    assert [row["attempts"] for row in rows] == [1, 1, 3]
    assert rows[0]["folder"].startswith("clips/clip-")
    for path in out.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert b"word" not in content and b"secret" not in content, path
    asked = Server.asked.count("/clip.png?key=secret")
    assert not batch(source, out)[0]["made"]
    assert Server.asked.count("/clip.png?key=secret") == asked + 1  # for its version only


def test_an_object_store_gets_the_same(clips: Path, tmp_path: Path) -> None:
    on_disk = batch(clips, tmp_path / "disk")
    in_store = batch(clips, f"file://{tmp_path}/store")
    assert bytes_of(tmp_path / "store") == bytes_of(tmp_path / "disk")
    assert [row["digest"] for row in in_store] == [row["digest"] for row in on_disk]
    assert [row["made"] for row in batch(clips, f"file://{tmp_path}/store")] == [False] * 3


def test_the_digest_of_results_follows_all_that_holds_no_times(clips: Path, tmp_path: Path) -> None:
    (first, *_), (again, *_) = batch(clips, tmp_path / "a"), batch(clips, tmp_path / "b")
    assert first["digest"] == again["digest"]
    changed = write_list(tmp_path / "m.csv", ["path,tau", f"{clips}/clip1,0.2"])
    assert batch(changed, tmp_path / "c")[0]["digest"] != first["digest"]
