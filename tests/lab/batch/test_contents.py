"""Keys and digests follow what a clip holds, not what it is called."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from bavos_lab.batch.contents import digest_of, key_of, name_of, stamp_of

from .helpers import SETTINGS, item, write_frames, write_picture


def aged(path: Path, seconds: float = 10) -> Path:
    """The same file, last changed some seconds ago, as all in a folder."""
    for each in (path, *path.rglob("*")):
        changed = each.stat().st_mtime_ns - int(seconds * 1e9)
        os.utime(each, ns=(changed, changed))
    return path


def test_a_digest_is_of_the_bytes_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")  # the example of FIPS 180-4
    assert digest_of(tmp_path / "a").startswith("ba7816bf8f01cfea414140de5dae2223b00361a3")


def test_a_digest_of_frames_follows_their_names_and_bytes(tmp_path: Path) -> None:
    frames = write_frames(tmp_path / "a", 1)
    shutil.copytree(frames, tmp_path / "b")
    digest = digest_of(frames)
    (frames / "notes.txt").touch()
    assert digest_of(frames) == digest_of(tmp_path / "b") == digest
    (frames / "0.png").rename(frames / "9.png")
    assert digest_of(frames) != digest


def test_a_key_follows_content_part_and_settings(tmp_path: Path) -> None:
    a, digest = item(tmp_path / "a"), "0" * 64
    assert key_of(a, digest) == key_of(replace(a, source="elsewhere"), digest)
    others = [replace(a, start=1.0), replace(a, end=2.0),
              replace(a, settings=replace(SETTINGS, tau=0.5))]  # fmt: skip
    keys = {key_of(a, digest), key_of(a, "1" * 64), *(key_of(b, digest) for b in others)}
    assert len(keys) == 5


def test_files_of_settings_count_by_what_they_hold(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(b"1")
    (tmp_path / "b.pth").write_bytes(b"1")
    keys = []
    for name in ("a.pth", "b.pth", "a.pth"):
        settings = replace(SETTINGS, weights=tmp_path / name)
        keys.append(key_of(item("clip", settings), "0" * 64))
        if name == "b.pth":
            (tmp_path / "a.pth").write_bytes(b"2")
            os.utime(tmp_path / "a.pth", ns=(1, 1))
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize("make", [write_picture, write_frames])
def test_a_stamp_changes_with_the_file(make, tmp_path: Path) -> None:
    clip = aged(make(tmp_path / "a.png", 1))
    stamp = stamp_of(str(clip))
    assert stamp is not None and stamp_of(str(clip)) == stamp
    aged(clip, 1)
    assert stamp_of(str(clip)) != stamp


def test_a_file_that_has_just_changed_has_no_stamp(tmp_path: Path) -> None:
    assert stamp_of(str(write_picture(tmp_path / "a.png", 1))) is None


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("/a/b c.mp4", "b_c.mp4"),
        ("https://user:pass@host/x/clip.mp4?key=1#t", "clip.mp4"),
        ("https://host/", "host"),
        ("/a/.../..", "clip"),
    ],
)
def test_names_that_fit_any_disk(source: str, name: str) -> None:
    assert name_of(source) == name
