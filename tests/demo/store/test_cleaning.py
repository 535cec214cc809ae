"""Deletion of old files, of previews, and of what a killed server has left."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from bavos_core import InputError
from demo.store import Store

ROOT = Path(__file__).resolve().parents[3]


def test_a_preview_in_use_stays_until_it_is_written(store, preview) -> None:
    with store.preview_folder(Path("first.mp4")) as first:
        others = [preview(store, Path(f"{i}.mp4")) for i in range(100)]
        (first / "original.mp4").write_bytes(b"video")
    assert not first.exists()
    assert sum(folder.exists() for folder in others) == 64


def test_a_clips_preview_folder_stays_the_same_and_old_ones_go(store, preview) -> None:
    first = preview(store, Path("first.mp4"))
    assert preview(store, Path("first.mp4")) == first
    (first / "original.mp4").write_bytes(b"video")
    others = [preview(store, Path(f"{i}.mp4")) for i in range(100)]
    assert not first.exists()
    assert others[-1].is_dir()
    assert sum(folder.exists() for folder in others) == 64


def test_closing_deletes_every_file_and_forgets_every_result(put, preview, clip) -> None:
    store = Store()
    (result, folder), of_clip = put(store), preview(store, clip)
    store.close()
    assert not folder.exists()
    assert not of_clip.exists()
    assert not store.root.exists()
    with pytest.raises(InputError):
        store.get(result.id)


def test_everything_goes_after_the_stated_time(put, preview, clip, monkeypatch) -> None:
    store = Store(keep_seconds=100)
    now = 1000.0
    monkeypatch.setattr("demo.store.time.monotonic", lambda: now)
    old, of_clip = put(store), preview(store, clip)
    now = 1090.0
    store.sweep()
    assert old.folder.exists()
    assert of_clip.exists()
    now = 1101.0
    with pytest.raises(InputError):
        store.get(old.id)  # at once, not when the next sweep comes
    store.sweep()
    assert not old.folder.exists()
    assert not of_clip.exists()
    store.close()


def test_what_is_too_old_goes_when_it_is_no_more_in_use(put, clip, monkeypatch) -> None:
    store = Store(keep_seconds=100)
    now = 1000.0
    monkeypatch.setattr("demo.store.time.monotonic", lambda: now)
    result, folder = put(store)
    with store.room(result), store.preview_folder(clip) as of_clip:
        now = 1101.0
        store.sweep()
        assert store.get(result.id) is result
        assert folder.exists()
        assert of_clip.exists()
    assert not folder.exists()
    assert not of_clip.exists()
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
