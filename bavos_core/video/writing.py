"""The one writer of videos, and when each frame is shown."""

from __future__ import annotations

import contextlib
import subprocess
from fractions import Fraction
from io import BufferedWriter
from pathlib import Path
from typing import cast

import imageio_ffmpeg
import numpy as np

from ..files import cannot_write, part_of
from .clip import IMAGES_FPS
from .ffmpeg import OWN_GROUP

MAX_FPS = 120.0  # browsers drop frames above this; such clips are written at 60


def playback(times: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the frame rate and the order of frames under which each appears at its own time.

    A clip of constant rate is shown frame by frame. A variable rate (screen recordings, gifs) is
    laid on a constant grid of at most 60 a second, repeating frames, since raw frames piped to an
    encoder carry no times.
    """
    if len(times) < 2 or times[-1] <= 0:
        return IMAGES_FPS, np.arange(len(times))
    gaps = np.diff(times)
    fps = (len(times) - 1) / times[-1]
    if fps <= MAX_FPS + 1e-6 and np.abs(gaps - 1 / fps).max() < 0.6 / fps:
        return float(fps), np.arange(len(times))
    fps = float(min(60.0, 1 / max(gaps.min(), 1e-6)))
    ticks = np.arange(int(np.ceil(times[-1] * fps - 1e-4)) + 1) / fps
    return fps, np.searchsorted(times, ticks + 1e-6, side="right") - 1


class VideoWriter:
    """Encodes frames as H.264 that every browser plays; a context manager.

    yuv420p needs even sides, so an odd one is padded by repeating its last row or column.
    The file appears under its name only when all went well; otherwise nothing is left. Raise
    InputError when it cannot be written.
    """

    def __init__(self, path: Path, *, size: tuple[int, int], fps: float):
        self._path = path
        self._part = part_of(path)
        self._even = (size[0] + size[0] % 2, size[1] + size[1] % 2)
        self._fps = Fraction(fps).limit_denominator()

    def __enter__(self) -> VideoWriter:
        command = [
            imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-v", "quiet",
            "-protocol_whitelist", "fd", "-f", "rawvideo", "-pix_fmt", "rgb24",
            "-s", f"{self._even[1]}x{self._even[0]}", "-r", str(self._fps),
            "-i", "fd:", "-c:v", "libx264", "-pix_fmt", "yuv420p",
            "-crf", "20", "-preset", "veryfast", "-movflags", "+faststart",
            f"file:{self._part.resolve()}",
        ]  # fmt: skip
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **OWN_GROUP}
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, **quiet)
        self._input = cast(BufferedWriter, self._process.stdin)
        return self

    def write(self, frame: np.ndarray) -> None:
        """Append a frame (H, W, 3) uint8."""
        below, right = self._even[0] - frame.shape[0], self._even[1] - frame.shape[1]
        if below or right:
            frame = np.pad(frame, ((0, below), (0, right), (0, 0)), mode="edge")
        try:
            self._input.write(np.ascontiguousarray(frame).data)
        except OSError as error:  # the encoder has ended
            raise cannot_write(self._path) from error

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._close_input()
                if self._process.wait() != 0:
                    raise cannot_write(self._path)
                self._part.replace(self._path)
        finally:
            self._process.kill()
            self._close_input()
            self._process.wait()
            self._part.unlink(missing_ok=True)

    def _close_input(self) -> None:
        with contextlib.suppress(OSError):  # the encoder has ended; its status says how
            self._input.close()
