"""The total of all files: what it counts, what is deleted first, and what is refused."""

import os
from pathlib import Path

import pytest

from bavos_core import InputError
from bavos_core.progress import Stage
from demo.disk import FULL, Disk
from demo.store import Store

from .helpers import Asking


@pytest.fixture(autouse=True)
def always_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """No count is good for longer than the call that makes it."""
    monkeypatch.setattr("demo.disk._FRESH", -1.0)


def write(path: Path, nbytes: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * nbytes)
    return path


def test_every_file_counts_once_and_what_is_announced_counts_too(tmp_path: Path) -> None:
    disk = Disk(tmp_path, 1000, lambda: False)
    first = write(tmp_path / "a" / "clip.mp4", 300)
    os.link(first, tmp_path / "link.mp4")
    assert disk.used_bytes() == 300
    with disk.announced(700):
        assert disk.used_bytes() == 1000
        with pytest.raises(InputError, match=FULL), disk.announced(1):
            pass
        with pytest.raises(InputError, match=FULL):
            disk.make_room(1)
    assert disk.used_bytes() == 300


def test_work_that_fills_the_disk_ends_at_its_next_report(tmp_path: Path) -> None:
    disk, heard = Disk(tmp_path, 1000, lambda: False), []
    progress = disk.watching(lambda *said: heard.append(said))
    progress(Stage.DECODE, 0.5)
    write(tmp_path / "overlay.mp4", 1001)
    with pytest.raises(InputError, match=FULL):
        progress(Stage.DECODE, 0.6)
    assert heard == [(Stage.DECODE, 0.5)]


def test_what_nobody_needs_goes_before_anything_is_refused(put, clock) -> None:
    store = Store(grace_seconds=1000, most_disk=100, whose=Asking(), clock=clock)
    opened, left = put(store), put(store)
    left.result.visitors.clear()
    old = write(store.cache / "a" / "upload.mp4", 60)
    store.sweep()
    store.disk.make_room(20)
    assert old.exists()
    clock.at(1001)
    store.disk.make_room(60)
    assert not old.exists()
    store.disk.make_room(83)
    assert not left.folder.exists()
    with pytest.raises(InputError, match=FULL):
        store.disk.make_room(100)
    assert opened.folder.exists()
    store.close()


def test_what_is_free_at_the_start_is_never_used_up(tmp_path: Path) -> None:
    store = Store(most_disk=float("inf"))
    free = os.statvfs(store.root)
    assert 0 < store.disk.most_bytes < free.f_bavail * free.f_frsize
    store.close()
