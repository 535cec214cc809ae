"""Folders of servers that were killed: deleted at the next start, whatever lies beside them."""

import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from demo import left_behind

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = """
import time
from demo import left_behind
root, lock = left_behind.claim()
(root / "frame.png").write_bytes(b"x")
print(root, flush=True)
time.sleep(60)
"""
LOCK = ".in-use"


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files that is of this test alone."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def claimed() -> Iterator[Callable[[], Path]]:
    """Claims folders as servers do that go on until the test ends."""
    locks = []

    def claim() -> Path:
        root, lock = left_behind.claim()
        locks.append(lock)
        return root

    yield claim
    for lock in locks:
        lock.release()


def abandoned(folder: Path) -> Path:
    """The folder of a server that was killed."""
    folder.mkdir()
    (folder / LOCK).touch()
    (folder / "clip.mp4").write_bytes(b"clip")
    return folder


def test_what_a_killed_server_left_goes_and_what_another_one_uses_stays(
    temporary: Path, claimed
) -> None:
    used = claimed()
    env = os.environ | {"TMPDIR": str(temporary)}
    command = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(
        command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True
    ) as server:  # fmt: skip
        assert server.stdout
        left = Path(server.stdout.readline().strip())
        assert (left / "frame.png").exists()
        claimed()
        assert (left / "frame.png").exists()  # it runs
        os.kill(server.pid, signal.SIGKILL)
    claimed()
    assert not left.exists()
    assert left.parent == temporary
    assert (used / LOCK).exists()


def test_nobody_else_can_look_into_the_folder(claimed) -> None:
    assert stat.S_IMODE(claimed().stat().st_mode) == 0o700


def test_a_lock_that_is_a_link_is_not_followed(temporary: Path, claimed) -> None:
    diary = temporary / "diary.txt"
    diary.write_text("Dear diary")
    for kind in ("symbolic", "hard"):
        (folder := temporary / f"bavos-{kind}").mkdir()
        (folder / LOCK).symlink_to(diary) if kind == "symbolic" else os.link(diary, folder / LOCK)
    claimed()
    assert diary.read_text() == "Dear diary"
    assert (temporary / "bavos-symbolic").exists()
    assert (temporary / "bavos-hard").exists()


def test_a_folder_that_is_a_link_is_not_followed(temporary: Path, claimed) -> None:
    mine = abandoned(temporary / "mine")
    (temporary / "bavos-link").symlink_to(mine)
    claimed()
    assert (mine / "clip.mp4").exists()


def test_a_folder_that_others_can_write_to_is_left_alone(temporary: Path, claimed) -> None:
    open_to_all = abandoned(temporary / "bavos-open")
    open_to_all.chmod(0o777)
    claimed()
    assert open_to_all.exists()


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root gives away")
def test_what_is_not_ours_is_left_alone(temporary: Path, claimed) -> None:
    theirs = [abandoned(temporary / f"bavos-{i}") for i in range(2)]
    os.chown(theirs[0], 12345, -1)
    os.chown(theirs[1] / LOCK, 12345, -1)
    claimed()
    assert all((folder / "clip.mp4").exists() for folder in theirs)


def test_odd_things_under_such_names_stop_no_start(temporary: Path, claimed) -> None:
    (temporary / "bavos-directory" / LOCK).mkdir(parents=True)
    (temporary / "bavos-file").touch()
    (temporary / "bavos-nothing").mkdir()
    (temporary / "bavos-dangling").symlink_to(temporary / "nowhere")
    (temporary / "bavos-pipe").mkdir()
    os.mkfifo(temporary / "bavos-pipe" / LOCK)
    closed = abandoned(temporary / "bavos-closed")
    closed.chmod(0)
    claimed()
    left = abandoned(temporary / "bavos-left")
    assert claimed().is_dir()
    assert not left.exists()
    if closed.exists():
        closed.chmod(0o700)


def test_a_folder_for_temporary_files_that_is_not_there_is_no_reason_to_fail_in_sweeping(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(temporary / "none"))
    left_behind.sweep()
