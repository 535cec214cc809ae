"""Deletion of old files, of previews, and of what a killed server has left."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from bavos_core import InputError
from demo.store import Store

from .helpers import Asking

ROOT = Path(__file__).resolve().parents[3]


def test_closing_deletes_every_file_and_forgets_every_result(put) -> None:
    store = Store()
    result, folder = put(store)
    store.close()
    assert not folder.exists()
    assert not store.root.exists()
    with pytest.raises(InputError):
        store.get(result.id)


@pytest.fixture
def pass_time(monkeypatch):
    """Sets the store's clock to seconds after the start."""
    now = SimpleNamespace(monotonic=lambda: 1000.0, time=time.time)
    monkeypatch.setattr("demo.store.time", now)

    def passed(seconds: float) -> None:
        now.monotonic = lambda: 1000.0 + seconds

    return passed


def test_everything_goes_after_the_stated_time(put, pass_time) -> None:
    store = Store(keep_seconds=100)
    old = put(store)
    pass_time(90)
    store.sweep()
    assert old.folder.exists()
    pass_time(101)
    with pytest.raises(InputError):
        store.get(old.id)  # at once, not when the next sweep comes
    store.sweep()
    assert not old.folder.exists()
    store.close()


def test_what_is_too_old_goes_when_it_is_no_more_in_use(put, pass_time) -> None:
    store = Store(keep_seconds=100)
    result, folder = put(store)
    with store.room(result):
        pass_time(101)
        store.sweep()
        assert store.get(result.id) is result
        assert folder.exists()
    assert not folder.exists()
    store.close()


def test_what_a_visitor_leaves_goes_some_time_after_its_last_use(put, pass_time) -> None:
    store = Store(keep_seconds=1000, grace_seconds=100, whose=Asking())
    left, asked_for = put(store), put(store)
    pass_time(200)
    store.sweep()
    assert left.folder.exists()  # she is still here
    store.leave("Ann")
    pass_time(290)
    store.get(asked_for.id)
    pass_time(301)
    store.sweep()
    assert [left.folder.exists(), asked_for.folder.exists()] == [False, True]
    pass_time(391)
    store.sweep()
    assert not asked_for.folder.exists()
    store.close()


def test_a_result_that_is_open_elsewhere_outlives_the_visitor_who_made_it(put, pass_time) -> None:
    asking = Asking()
    store = Store(keep_seconds=1000, grace_seconds=100, whose=asking)
    result, folder = put(store)
    asking.who = "Ben"
    assert store.visit(result.id) is result
    store.leave("Ann")
    pass_time(500)
    store.sweep()
    assert folder.exists()
    store.leave("Ben")
    pass_time(601)
    store.sweep()
    assert not folder.exists()
    store.close()


def test_the_result_of_an_example_stays_until_it_is_let_go(put, pass_time, size) -> None:
    store = Store(most_bytes=2 * size, keep_seconds=1000, grace_seconds=100)
    example = put(store)
    store.share(example.result, "balls")
    own = [put(store), put(store)]  # which fit: it does not count
    pass_time(2000)
    store.leave("")
    assert store.get(example.id).example == "balls"
    store.sweep()
    assert example.folder.exists()
    assert not any(folder.exists() for _, folder in own)
    store.share(example.result, "")
    store.sweep()
    assert not example.folder.exists()
    store.close()


def test_what_a_killed_server_left_goes_when_the_next_one_starts(store, put) -> None:
    """And what a server that still runs uses stays: `store` here is such a one."""
    result, folder = put(store)
    program = (
        "from demo.store import Store; import time; "
        "s = Store(); (s.root / 'frame.png').write_bytes(b'x'); "
        "print(s.root, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        left = Path(server.stdout.readline().strip())
        os.kill(server.pid, signal.SIGKILL)
    assert (left / "frame.png").exists()
    assert left.parent == Path(tempfile.gettempdir())
    with contextlib.closing(Store()):
        assert not left.exists()
        assert store.get(result.id) is result
        assert (folder / result.clip).exists()


def test_old_files_of_the_cache_go_and_those_of_the_page_stay(monkeypatch) -> None:
    store = Store(keep_seconds=100)

    def write(name: str) -> Path:
        path = store.cache / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"" if "empty" in name else b"picture")
        return path

    lasting = write("a/example.webp")
    store.keep_cached()
    old = [write(name) for name in ("a/upload.mp4", "b/c/picture.webp", "empty")]
    later = time.time() + 90
    monkeypatch.setattr("demo.store.time.time", lambda: later)
    store.sweep()
    assert all(path.exists() for path in old)
    later += 20
    for _ in range(3):  # a folder changes, and so is young, when something in it goes
        store.sweep()
    assert lasting.exists()
    assert not any(path.exists() for path in old)
    later += 100
    for _ in range(3):
        store.sweep()
        later += 100
    assert {path.name for path in store.cache.rglob("*")} == {"a", "example.webp"}
    store.close()


def test_an_upload_that_is_used_counts_as_new_and_nothing_else_is_touched(store, clip) -> None:
    upload = store.cache / "a" / "upload.mp4"
    upload.parent.mkdir(parents=True)
    upload.write_bytes(b"clip")
    for path in (upload, clip):
        os.utime(path, (1, 1))
        store.touch(path)
    assert upload.stat().st_mtime > 1
    assert clip.stat().st_mtime == 1
    store.touch(store.cache / "absent.mp4")
