"""A decoding ffmpeg as a confined child process.

It is given one open file and no name, and may open nothing else by any protocol, whatever the file
asks for. The container is the one that the file's first bytes say, the codec must be one of a list,
time and memory are bounded, and output goes to a pipe only.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from io import BufferedReader
from pathlib import Path
from typing import Any, cast

import imageio_ffmpeg

from ..errors import InputError
from .limits import MIB, Limits

# Codecs of ordinary clips. ffmpeg refuses all others, such as images that refer to other files.
CODECS = (
    "h264", "hevc", "av1", "libdav1d", "libaom-av1", "vp8", "vp9", "libvpx", "libvpx-vp9", "vvc",
    "mpeg4", "mpeg1video", "mpeg2video", "h263", "msmpeg4v1", "msmpeg4", "msmpeg4v2", "wmv1",
    "wmv2", "vc1", "flv", "theora", "mjpeg", "gif", "png", "prores", "dnxhd", "cfhd", "ffv1",
    "huffyuv", "ffvhuff", "utvideo", "rawvideo", "dvvideo", "qtrle", "svq1", "svq3", "cinepak",
    "v210",
)  # fmt: skip
_THREADS = 4  # more threads would only hold more frames in memory
_STOPPED_BY_SIGNAL = 255  # ffmpeg's exit status after a signal that it handles
_LARGEST_ALLOCATION = 2**30  # bytes
_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"uuid")

OWN_GROUP: dict[str, Any]  # Ctrl-C reaches this process alone, which then ends the child
if sys.platform == "win32":
    OWN_GROUP = {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
else:
    OWN_GROUP = {"start_new_session": True}


def container_of(path: Path) -> str | None:
    """Return ffmpeg's name of the container by the file's first bytes, or None if it is unknown."""
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

    def __init__(self, path: Path, *, container: str, limits: Limits, output: Sequence[str]):
        """Start it. output: the options after the input, up to the format.

        Raise OSError for a file that cannot be opened.
        """
        command = [
            imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "quiet",
            "-max_alloc", str(_LARGEST_ALLOCATION),
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
                command, stdin=file, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **OWN_GROUP
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
        """Return the next `size` bytes, fewer at the end. Raise InputError as `check_end` does."""
        with self._watched():
            data = self._output.read(size)
        if len(data) < size:
            self.check_end()
        return data

    def lines(self) -> Iterator[str]:
        """Yield the lines of its text output. Raise InputError as `check_end` does."""
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
        """Raise InputError when it did not end by itself, so that its output may be incomplete.

        For a damaged file ffmpeg writes what can be decoded and ends by itself.
        """
        with self._watched():
            status = self._process.wait()
        if self._too_slow or status == -getattr(signal, "SIGXCPU", 0):
            raise InputError(f"{self._name!r} takes too long to read; give a shorter clip.")
        if status < 0 or status == _STOPPED_BY_SIGNAL:
            raise InputError(
                f"The decoder broke off while it read {self._name!r}; try again, or export the "
                "clip anew as mp4."
            )

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        """Charge the time inside to the decoder, and end it when none is left."""
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


def _bound(process: int, limits: Limits) -> None:
    """Bound memory and forbid writing files, where the system can do so for a running process."""
    if sys.platform == "linux":
        import resource

        with contextlib.suppress(ProcessLookupError):  # it has ended already
            memory = limits.decode_mib * MIB
            resource.prlimit(process, resource.RLIMIT_AS, (memory, memory))
            resource.prlimit(process, resource.RLIMIT_FSIZE, (0, 0))
            resource.prlimit(process, resource.RLIMIT_CORE, (0, 0))
