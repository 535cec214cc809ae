"""Deletion of files that Gradio received or sent, by how long they were seen."""

import os
import time
from pathlib import Path

import pytest

from demo.cache import Cache

from .helpers import Clock

HOURS = 2 * 3600  # by which the time of day may be corrected


@pytest.fixture
def cache(tmp_path: Path, clock: Clock) -> Cache:
    return Cache(tmp_path / "gradio", clock)


def write(cache: Cache, name: str) -> Path:
    path = cache.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"" if "empty" in name else b"picture")
    return path


def test_old_files_go_with_their_folders_and_those_of_the_page_stay(cache, clock) -> None:
    lasting = write(cache, "a/example.webp")
    cache.keep()
    old = [write(cache, name) for name in ("a/upload.mp4", "b/c/picture.webp", "empty")]
    assert cache.sweep(100) == 0
    clock.at(90)
    assert cache.sweep(100) == 0
    clock.at(100)
    assert cache.sweep(100) == len(old)
    assert lasting.exists()
    assert not any(path.exists() for path in old)
    for later in (200, 300, 400):  # a folder is young when something in it went
        clock.at(later)
        cache.sweep(100)
    assert {path.name for path in cache.folder.rglob("*")} == {"a", "example.webp"}


@pytest.mark.parametrize("jump", [-HOURS, HOURS])
def test_a_time_of_day_that_jumps_deletes_nothing_early_and_keeps_nothing(
    cache, clock, jump
) -> None:
    file = write(cache, "a/upload.mp4")
    written = time.time() - jump  # by the clock before it was corrected
    os.utime(file, (written, written))
    cache.sweep(100)
    clock.at(99)
    cache.sweep(100)
    assert file.exists()
    clock.at(101)
    cache.sweep(100)
    assert not file.exists()


def test_a_file_that_changes_or_is_used_counts_as_new(cache, clock) -> None:
    files = [write(cache, name) for name in ("growing", "used", "old")]
    cache.sweep(100)
    clock.at(60)
    with files[0].open("ab") as growing:
        growing.write(b"more")
    cache.touch(files[1])
    cache.touch(cache.folder / "absent")
    cache.sweep(100)
    clock.at(120)
    cache.sweep(100)
    assert [file.exists() for file in files] == [True, True, False]
    clock.at(160)
    assert cache.sweep(100) == 2


def test_a_link_goes_and_what_it_leads_to_stays(cache, clock, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_bytes(b"mine")
    cache.folder.mkdir()
    (cache.folder / "link").symlink_to(elsewhere)
    cache.sweep(100)
    clock.at(100)
    cache.sweep(100)
    assert not list(cache.folder.iterdir())
    assert (elsewhere / "file").read_bytes() == b"mine"


def test_a_folder_that_is_not_there_yet_is_swept_too(cache) -> None:
    assert cache.sweep(100) == 0
