"""What goes wrong outside: a decoder that dies, a full disk, a signal."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from bavos_core import (
    InputError,
    Limits,
    Settings,
    analyse,
    cli,
    export,
    open_clip,
)
from bavos_io.clip import ArrayClip
from bavos_io.writing import VideoWriter

from .helpers import TINY, check_message, encode, noise_clip
from .odd_files import FASTSTART, H264

ROOT = Path(__file__).resolve().parents[2]
QUICK = ("--backbone", "descriptors", "--frames", "2", "--size", "48x64", "--device", "cpu")
TINY_SETTINGS = Settings(**TINY)
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def children() -> set[int]:
    """The processes that this one has started and that run."""
    while True:  # again if a thread or a process ends between being listed and being read
        with suppress(FileNotFoundError, ProcessLookupError):
            lists = Path(f"/proc/{os.getpid()}/task").glob("*/children")
            numbers = {int(number) for each in lists for number in each.read_text().split()}
            return {number for number in numbers if Path(f"/proc/{number}/cmdline").read_bytes()}


def vanish(before: set[int]) -> bool:
    """Whether all other children end within a moment."""
    deadline = time.monotonic() + 3
    while children() - before and time.monotonic() < deadline:
        time.sleep(0.02)
    return children() <= before


def everything_below(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*")}


# ---- the decoder --------------------------------------------------------------------------------


@pytest.fixture
def long_clip(tmp_path) -> Path:
    """One that no pipe holds whole, so that its decoder waits for its reader."""
    return encode(tmp_path / "long.mp4", noise_clip(20, (240, 320)), *FASTSTART)


@linux_only
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_decoder_that_is_killed_is_said_in_a_sentence(number, long_clip, tmp_path) -> None:
    before = children()
    clip = open_clip(long_clip)
    frames = clip.read()
    next(frames)
    (decoder,) = children() - before
    os.kill(decoder, number)
    with pytest.raises(InputError) as caught:
        list(frames)
    check_message(caught.value, "'long.mp4'", "broke off")
    assert children() == before
    assert len(list(clip.read())) == 20  # it can be read again


@linux_only
def test_a_decoder_that_hangs_is_given_up(long_clip) -> None:
    before = children()
    frames = open_clip(long_clip, limits=Limits(decode_seconds=1)).read()
    next(frames)
    (decoder,) = children() - before
    os.kill(decoder, signal.SIGSTOP)
    start = time.monotonic()
    with pytest.raises(InputError) as caught:
        list(frames)
    check_message(caught.value, "takes too long")
    assert time.monotonic() - start < 5
    assert children() == before


def test_a_reader_that_takes_its_time_is_not_a_slow_decoder(long_clip) -> None:
    frames = open_clip(long_clip, limits=Limits(decode_seconds=1)).read()
    next(frames)
    time.sleep(1.5)
    assert len(list(frames)) == 19


@linux_only
def test_a_decoder_is_bounded(long_clip) -> None:
    before = children()
    frames = open_clip(long_clip, limits=Limits(decode_mib=2345)).read()
    next(frames)
    (decoder,) = children() - before
    text = Path(f"/proc/{decoder}/limits").read_text()
    bounds = {line[:25].strip(): line[26:47].strip() for line in text.splitlines()}
    assert bounds["Max address space"] == str(2345 * 2**20)
    assert bounds["Max file size"] == "0"
    assert int(bounds["Max cpu time"]) < 20_000
    names = [os.readlink(fd) for fd in Path(f"/proc/{decoder}/fd").iterdir()]
    assert {name for name in names if name.startswith("/") and "/dev/" not in name} == {
        str(long_clip)
    }
    frames.close()
    assert children() == before


@linux_only
def test_a_decoder_without_memory_is_no_crash(long_clip) -> None:
    with pytest.raises(InputError) as caught:
        list(open_clip(long_clip, limits=Limits(decode_mib=40, decode_seconds=3)).read())
    check_message(caught.value, "'long.mp4'")


def test_a_clip_that_goes_while_it_is_open_is_said_in_a_sentence(long_clip) -> None:
    clip = open_clip(long_clip)
    long_clip.unlink()
    with pytest.raises(InputError) as caught:
        list(clip.read())
    check_message(caught.value, "'long.mp4'", "no longer there")


def test_frames_that_cannot_be_read_are_among_the_notes(tmp_path) -> None:
    path = encode(tmp_path / "damaged.avi", noise_clip(8, (48, 64)), "-c:v", "mjpeg")
    assert not any("damaged" in note for note in analyse(path, TINY_SETTINGS).notes)
    data = bytearray(path.read_bytes())
    for _ in range(3):  # the last three pictures, whose chunks stay
        place = data.rindex(b"\xff\xd8\xff")
        data[place : place + 1000] = bytes(1000)
    path.write_bytes(data)
    analysis = analyse(path, TINY_SETTINGS)
    assert len(analysis.frames) == len(analysis.analysed) == 5
    damage = "The clip is damaged; frames that could not be decoded are missing."
    assert damage in analysis.notes


# ---- the disk -----------------------------------------------------------------------------------


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Inside, no file can grow beyond this size, as on a disk that is full."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def noisy_video(tmp_path) -> Path:
    """Its overlay is large."""
    return encode(tmp_path / "noise.mp4", noise_clip(8, (240, 320)), *H264)


@pytest.mark.parametrize("size", [0, 100, 5_000, 60_000])
@pytest.mark.parametrize("existed", [False, True])
def test_a_full_disk_leaves_no_half_result(size, existed, square_analysis, square_clip, tmp_path):
    out = tmp_path / "new" / "result"
    clip = ArrayClip.of(np.tile(square_clip, (1, 6, 6, 1)))
    if existed:
        export.write_all(out, square_analysis, square_analysis.segment(), None)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    names = everything_below(tmp_path)
    with room_for(size), pytest.raises(InputError) as caught:
        export.write_all(out, square_analysis, square_analysis.segment(), clip)
    check_message(caught.value, "could not be written")
    assert everything_below(tmp_path) == names
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("what", ["overlay", "heatmap", "analysis"])
def test_a_full_disk_leaves_no_half_file(what, square_analysis, square_clip, tmp_path) -> None:
    clip = ArrayClip.of(np.tile(square_clip, (1, 6, 6, 1)))
    row = square_analysis.attend(0, 1, 1)
    write = {
        "overlay": lambda p: export.write_overlay(
            p, square_analysis, square_analysis.segment(), clip
        ),
        "heatmap": lambda p: export.write_heatmap(p, square_analysis, row, clip),
        "analysis": square_analysis.save,
    }[what]
    with room_for(3000), pytest.raises(InputError) as caught:
        write(tmp_path / "file.mp4")
    check_message(caught.value, "'file.mp4' could not be written")
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_says_in_one_line_that_the_disk_is_full(noisy_video, tmp_path, capfd):
    with room_for(3000):
        status = cli.main(["segment", str(noisy_video), "--out", str(tmp_path / "out"), *QUICK])
    printed, complaint = capfd.readouterr()
    assert (status, printed) == (2, "")
    assert len(complaint.splitlines()) == 1
    assert "could not be written" in complaint
    assert list(tmp_path.iterdir()) == [noisy_video]


def test_two_writers_of_one_name_do_not_meet(tmp_path) -> None:
    dark, bright = np.full((10, 48, 64, 3), 20, np.uint8), np.full((10, 48, 64, 3), 230, np.uint8)
    path = tmp_path / "video.mp4"
    with (
        VideoWriter(path, size=(48, 64)) as first,
        VideoWriter(path, size=(48, 64)) as second,
    ):
        for i, (a, b) in enumerate(zip(dark, bright, strict=True)):
            first.write(a, i / 10, (i + 1) / 10)
            second.write(b, i / 10, (i + 1) / 10)
    levels = {int(frame.mean()) // 100 for frame in open_clip(path).read()}
    assert len(levels) == 1  # of one of the two, whole
    assert list(tmp_path.iterdir()) == [path]


# ---- signals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_command_leaves_nothing(number, tmp_path) -> None:
    clip = encode(tmp_path / "clip.mp4", noise_clip(100, (480, 640)), *H264)
    out = tmp_path / "new" / "out"
    command = [sys.executable, "-m", "bavos_core", "segment", clip, "--out", out, *QUICK]
    started = subprocess.Popen(
        list(map(str, command)), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not list(out.glob(".bavos-*/new/masks/*.png")) and time.monotonic() < deadline:
        assert started.poll() is None, started.stderr.read()
        time.sleep(0.02)
    started.send_signal(number)
    started.send_signal(number)  # an impatient second one does not cut the cleaning short
    printed, complaint = started.communicate(timeout=60)
    assert started.returncode == 130
    assert (printed, complaint) == ("", "bavos: stopped; nothing was written.\n")
    assert everything_below(tmp_path) == {str(clip)}


@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.3])
def test_sigterm_at_any_time_ends_the_command_and_its_children(seconds, long_clip, tmp_path, capfd):
    before = children() if sys.platform == "linux" else set()
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    clip = encode(tmp_path / "more.mp4", noise_clip(100, (240, 320)), *H264)

    def stop() -> None:
        """Once the command listens, and some time after."""
        while signal.getsignal(signal.SIGTERM) == handlers[1]:
            time.sleep(0.001)
        time.sleep(seconds)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop, daemon=True).start()
    status = cli.main(["segment", str(clip), "--out", str(tmp_path / "out"), *QUICK[:-2]])
    assert status == 130
    assert capfd.readouterr().err == "bavos: stopped; nothing was written.\n"
    assert everything_below(tmp_path) == {str(clip), str(long_clip)}
    assert handlers == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    if sys.platform == "linux":
        assert vanish(before)
