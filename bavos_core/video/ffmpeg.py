"""ffmpeg as a child process that can do little harm.

A decoder is handed one open file and no name: it may open nothing, by no protocol, whatever the
file asks for. Its container is the one that the file's first bytes say, its codec one of a list,
and its time and memory are bounded. It writes to a pipe and nowhere else.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from io import BufferedReader, BufferedWriter
from pathlib import Path
from typing import Any, cast

import imageio_ffmpeg

from ..errors import InputError
from ..files import cannot_write
from .limits import MIB, Limits

# What people's clips are made of. Everything else, such as pictures that refer to other files, is
# refused by ffmpeg itself.
CODECS = (
    "h264", "hevc", "av1", "libdav1d", "libaom-av1", "vp8", "vp9", "libvpx", "libvpx-vp9", "vvc",
    "mpeg4", "mpeg1video", "mpeg2video", "h263", "msmpeg4v1", "msmpeg4", "msmpeg4v2", "wmv1",
    "wmv2", "vc1", "flv", "theora", "mjpeg", "gif", "png", "prores", "dnxhd", "cfhd", "ffv1",
    "huffyuv", "ffvhuff", "utvideo", "rawvideo", "dvvideo", "qtrle", "svq1", "svq3", "cinepak",
    "v210",
)  # fmt: skip
_THREADS = 4  # more of them would only hold more frames in memory
_ASKED_TO_STOP = 255  # ffmpeg's status after a signal that it heeds
_LARGEST_BLOCK = 2**30  # bytes that it may ask for at once
_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"uuid")

_ALONE: dict[str, Any]  # Ctrl-C is for us; we end the child
if sys.platform == "win32":
    _ALONE = {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
else:
    _ALONE = {"start_new_session": True}


def container_of(path: Path) -> str | None:
    """ffmpeg's name for the container that the first bytes say, whatever the file's name."""
    with path.open("rb") as file:
        head = file.read(12)
    if head[4:8] in _BOXES:
        return "mov"
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "matroska"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    return "avi" if head.startswith(b"RIFF") and head[8:12] == b"AVI " else None


class Decoder:
    """A running ffmpeg that reads one file; a context manager. Leaving it ends the process."""

    def __init__(
        self,
        path: Path,
        *,
        container: str,
        limits: Limits,
        output: Sequence[str],
    ):
        """Start it. output: the options after the input, up to the format.

        Raises OSError for a file that cannot be opened.
        """
        command = [
            imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "quiet",
            "-max_alloc", str(_LARGEST_BLOCK),
            "-timelimit", str(_THREADS * limits.decode_seconds),
            "-protocol_whitelist", "fd", "-format_whitelist", container, "-f", container,
            "-codec_whitelist", ",".join(CODECS),
            "-max_streams", "100",
            "-max_pixels", str(2 * limits.pixels),  # codecs pad; the exact check is ours
            "-threads", str(_THREADS),
            "-i", "fd:", "-map", "0:v:0", "-fps_mode", "passthrough", *output, "pipe:1",
        ]  # fmt: skip
        with path.open("rb") as file:
            self._process = subprocess.Popen(
                command, stdin=file, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **_ALONE
            )
        self._output = cast(BufferedReader, self._process.stdout)
        self._seconds_left = float(limits.decode_seconds)
        self._name = path.name
        self._too_slow = False
        _bound(self._process.pid, limits)

    def __enter__(self) -> Decoder:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._output.close()
        self._process.wait()

    def read(self, size: int) -> bytes:
        """The next `size` bytes; fewer only at the end. Raises InputError as `check_end` does."""
        with self._watched():
            data = self._output.read(size)
        if len(data) < size:
            self.check_end()
        return data

    def lines(self) -> Iterator[str]:
        """The lines of a text that it writes. Raises InputError as `check_end` does."""
        rest = b""
        while True:
            with self._watched():
                data = self._output.read1(2**16)
            *whole, rest = (rest + data).split(b"\n")
            yield from (line.decode("ascii", "replace") for line in whole)
            if not data:
                break
        self.check_end()

    def check_end(self) -> None:
        """Raise InputError when it did not end by itself: what it gave may lack anything.

        A damaged file is another matter: ffmpeg gives what there is, complains and ends.
        """
        with self._watched():
            status = self._process.wait()
        if self._too_slow or status == -getattr(signal, "SIGXCPU", 0):
            raise InputError(f"{self._name!r} takes too long to read; give a shorter clip.")
        if status < 0 or status == _ASKED_TO_STOP:
            raise InputError(
                f"The decoder broke off while it read {self._name!r}; try again, or export the "
                "clip anew as mp4."
            )

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        """Count the time inside against the decoder, and end it when there is none left."""
        start = time.monotonic()
        watch = threading.Timer(max(self._seconds_left, 0), self._give_up)
        watch.daemon = True
        watch.start()
        try:
            yield
        finally:
            watch.cancel()
            self._seconds_left -= time.monotonic() - start

    def _give_up(self) -> None:
        self._too_slow = True
        self._process.kill()


class Encoder:
    """A running ffmpeg that writes frames as H.264 which every browser plays."""

    def __init__(self, path: Path, *, size: tuple[int, int], fps: float, goal: Path):
        """size: (H, W), both even. goal: what the file is to become, for messages."""
        command = [
            imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-v", "quiet",
            "-protocol_whitelist", "fd", "-f", "rawvideo", "-pix_fmt", "rgb24",
            "-s", f"{size[1]}x{size[0]}", "-r", str(Fraction(fps).limit_denominator()),
            "-i", "fd:", "-c:v", "libx264", "-pix_fmt", "yuv420p",
            "-crf", "20", "-preset", "veryfast", "-movflags", "+faststart",
            f"file:{path.resolve()}",
        ]  # fmt: skip
        self._goal = goal
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **_ALONE,
        )
        self._input = cast(BufferedWriter, self._process.stdin)

    def write(self, data: memoryview) -> None:
        """Append a frame. Raises InputError when the file cannot be written."""
        try:
            self._input.write(data)
        except OSError as error:  # it has ended
            raise cannot_write(self._goal) from error

    def finish(self) -> None:
        """Complete the file. Raises InputError when that fails."""
        with contextlib.suppress(OSError):  # it has ended; its status says how
            self._input.close()
        if self._process.wait() != 0:
            raise cannot_write(self._goal)

    def kill(self) -> None:
        """End it at once, if it is still running."""
        self._process.kill()
        with contextlib.suppress(OSError):  # what is left in the buffer has nowhere to go
            self._input.close()
        self._process.wait()


def _bound(process: int, limits: Limits) -> None:
    """Bound memory and forbid files, where the system can do that to a running process."""
    if sys.platform == "linux":
        import resource

        with contextlib.suppress(ProcessLookupError):  # it has ended already
            memory = limits.decode_mib * MIB
            resource.prlimit(process, resource.RLIMIT_AS, (memory, memory))
            resource.prlimit(process, resource.RLIMIT_FSIZE, (0, 0))
            resource.prlimit(process, resource.RLIMIT_CORE, (0, 0))
