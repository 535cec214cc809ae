"""A confined child process that decodes one untrusted file.

It is given one open file and no name, and may open no other file and no connection, whatever the
file asks for. The container is the one that the file's first bytes say, codecs must be on a list,
time and memory are bounded, and output goes to a pipe only.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from io import BufferedReader, FileIO, RawIOBase
from pathlib import Path
from typing import Any, cast

import numpy as np

from .clip import shortened
from .errors import DecoderLost, InputError
from .limits import MIB, Limits
from .stopping import checkpoint

if sys.platform == "linux":
    import fcntl

# Codecs of ordinary clips, by FFmpeg's names. All others are refused, such as those that refer to
# other files.
CODECS = (
    "h264", "hevc", "av1", "libdav1d", "vp8", "libvpx", "vp9", "libvpx-vp9", "vvc", "mpeg4",
    "mpeg1video", "mpeg2video", "h263", "msmpeg4v1", "msmpeg4", "msmpeg4v3", "msmpeg4v2", "wmv1",
    "wmv2", "wmv3", "vc1", "flv", "flv1", "theora", "mjpeg", "gif", "png", "apng", "prores",
    "dnxhd", "cfhd", "ffv1", "huffyuv", "ffvhuff", "utvideo", "rawvideo", "dvvideo", "qtrle",
    "svq1", "svq3", "cinepak", "v210",
    # sound
    "aac", "mp1", "mp2", "mp3", "mp3float", "opus", "libopus", "vorbis", "flac", "alac", "ac3",
    "eac3", "amrnb", "amr_nb", "amrwb", "amr_wb", "wmav1", "wmav2", "pcm_s16le", "pcm_s16be",
    "pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_f32le", "pcm_u8", "pcm_mulaw", "pcm_alaw",
    "adpcm_ima_wav", "adpcm_ms", "adpcm_ima_qt",
)  # fmt: skip
_NEEDED = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")
_ROOT = str(Path(__file__).parents[1])  # from where this package is imported
_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"uuid")
_STARTS = (  # first bytes of a file, and FFmpeg's name of the container
    (b"\x1a\x45\xdf\xa3", "matroska"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"FLV\x01", "flv"),
    (b"OggS", "ogg"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
    (b"\x00\x00\x01\xba", "mpeg"),
    (b"\x00\x00\x01\xb3", "mpegvideo"),
)
_SYNC, _PACKETS = 0x47, (188, 192)  # of an MPEG transport stream, m2ts with four bytes before each

_LINE = 65_536  # bytes of a message, without those that come with it
_PIPE = MIB  # bytes that a pipe holds, where that can be set; a frame then takes fewer turns
_BETWEEN_LOOKS = 0.1  # seconds between looks whether the decoder takes too long
_NONSENSE = (ValueError, LookupError, TypeError, ArithmeticError, RecursionError, MemoryError)

_running: set[subprocess.Popen[bytes]] = set()
OWN_GROUP: dict[str, Any]  # Ctrl-C reaches this process alone, which then ends the child
if sys.platform == "win32":
    OWN_GROUP = {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
else:
    OWN_GROUP = {"start_new_session": True}


def container_of(head: bytes) -> str | None:
    """Return FFmpeg's name of the container by a file's first bytes, or None if it is unknown."""
    if head[4:8] in _BOXES:
        return "mov"
    for start, container in _STARTS:
        if head.startswith(start):
            return container
    for size in _PACKETS:
        syncs = head[size - 188 :: size][:3]
        if len(syncs) == 3 and set(syncs) == {_SYNC}:
            return "mpegts"
    return "avi" if head.startswith(b"RIFF") and head[8:12] == b"AVI " else None


class Decoder:
    """A running worker; a context manager. Leaving it ends the process.

    The worker is not trusted either. What it sends is bounded, and errors that come from using it
    are raised as an InputError.
    """

    def __init__(
        self, path: Path, *, container: str, limits: Limits, request: dict[str, Any], most: int
    ):
        """Start it. Raise OSError for a file that cannot be opened.

        most: bytes that may come with one message.
        """
        request = {
            "container": container,
            "codecs": CODECS,
            "pixels": limits.pixels,
            "memory": limits.decode_mib * MIB,
            "cpu_seconds": limits.decode_seconds,
            **request,
        }
        with path.open("rb") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-S", "-m", "bavos_io.worker", json.dumps(request)],
                stdin=file,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                env={**_environment(), "PYTHONPATH": os.pathsep.join((_ROOT, *sys.path))},
                **OWN_GROUP,
            )
        _running.add(self._process)
        self._output = BufferedReader(_Waiting(cast(FileIO, self._process.stdout)))
        if sys.platform == "linux":
            with contextlib.suppress(OSError):  # beyond what this user's pipes may take
                fcntl.fcntl(self._output, fcntl.F_SETPIPE_SZ, _PIPE)
        self._most = most
        self._name = shortened(path.name)
        self._seconds_left = float(limits.decode_seconds)
        self._deadline = math.inf  # of the wait that goes on
        self._ended = threading.Event()
        self._too_slow = False
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def __enter__(self) -> Decoder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, _: object) -> None:
        self._ended.set()
        self._watcher.join()
        self._process.kill()
        self._output.close()
        self._process.wait()
        _running.discard(self._process)
        if isinstance(error, _NONSENSE) and not isinstance(error, InputError):
            raise broken_off(self._name) from error

    def messages(self) -> Iterator[tuple[dict[str, Any], bytearray]]:
        """Yield the worker's messages and the bytes that come with each.

        Raise InputError when it is killed or takes too long, since what it has sent then says
        nothing about the file, and ValueError and the like for what is no message.
        """
        while True:
            with self._charged():
                line = self._output.readline(_LINE)
                if not line.endswith(b"\n") and len(line) < _LINE:  # it has ended
                    break
                message = json.loads(line)
                check_sense(0 <= message["bytes"] <= self._most)
                data = bytearray(message["bytes"])
                if self._output.readinto(data) < len(data):
                    break
            yield message, data
        self._check_end()

    def _check_end(self) -> None:
        with self._charged():
            status = self._process.wait()
        if self._too_slow or status == -getattr(signal, "SIGXCPU", 0):
            raise InputError(f"{self._name!r} takes too long to read; give a shorter clip.")
        if status != 0:
            raise broken_off(self._name)

    @contextlib.contextmanager
    def _charged(self) -> Iterator[None]:
        """Charge the time inside to the decoder, which is ended when none is left."""
        start = time.monotonic()
        self._deadline = start + self._seconds_left
        try:
            yield
        finally:
            self._deadline = math.inf
            self._seconds_left -= time.monotonic() - start

    def _watch(self) -> None:
        while not self._ended.wait(_BETWEEN_LOOKS):
            if time.monotonic() > self._deadline:
                self._too_slow = True
                self._process.kill()
                return


def end_all() -> None:
    """End all workers, for a process that is about to end itself.

    A job that was stopped may still have one, until the traceback that names its frames is gone.
    """
    for process in tuple(_running):
        process.kill()
        process.wait()


class _Waiting(RawIOBase):
    """A pipe that calls `checkpoint` while it waits for bytes, where the system can tell."""

    def __init__(self, pipe: FileIO):
        self._pipe = pipe
        self._poll = None if sys.platform == "win32" else select.poll()
        if self._poll:
            self._poll.register(pipe, select.POLLIN)

    def readable(self) -> bool:
        """Return True."""
        return True

    def fileno(self) -> int:
        """Return the number of the pipe."""
        return self._pipe.fileno()

    def readinto(self, buffer: Any) -> int:
        """Read as files do."""
        checkpoint()
        while self._poll and not self._poll.poll(1000 * _BETWEEN_LOOKS):
            checkpoint()
        return self._pipe.readinto(buffer) or 0

    def close(self) -> None:
        """Close the pipe."""
        self._pipe.close()
        super().close()


def _environment() -> dict[str, str]:
    """Return the variables that a program needs to start; no others, which may hold secrets."""
    return {name: os.environ[name] for name in _NEEDED if name in os.environ}


def broken_off(name: str) -> DecoderLost:
    """Return the error to raise when the decoder ends early or its answers make no sense."""
    return DecoderLost(
        f"The decoder broke off while it read {shortened(name)!r}; try again, or export the clip "
        "again as mp4."
    )


def check_sense(sound: bool | np.bool_) -> None:
    """Raise ValueError unless an answer of the decoder can be what was asked for."""
    if not sound:
        raise ValueError("The decoder's answer makes no sense.")
