"""The one writer of videos, and when each frame is shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..files import part_of
from .clip import IMAGES_FPS
from .ffmpeg import Encoder

MAX_FPS = 120.0  # browsers drop frames above this; such clips are written at 60


def playback(times: np.ndarray) -> tuple[float, np.ndarray]:
    """Frame rate and order in which to show frames so that each appears at its own time.

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
    The file appears under its name only when all went well; otherwise nothing is left. Raises
    InputError when it cannot be written.
    """

    def __init__(self, path: Path, *, size: tuple[int, int], fps: float):
        self._path = path
        self._part = part_of(path)
        self._even = (size[0] + size[0] % 2, size[1] + size[1] % 2)
        self._fps = fps

    def __enter__(self) -> VideoWriter:
        self._encoder = Encoder(self._part, size=self._even, fps=self._fps, goal=self._path)
        return self

    def write(self, frame: np.ndarray) -> None:
        """Append a frame (H, W, 3) uint8."""
        below, right = self._even[0] - frame.shape[0], self._even[1] - frame.shape[1]
        if below or right:
            frame = np.pad(frame, ((0, below), (0, right), (0, 0)), mode="edge")
        self._encoder.write(np.ascontiguousarray(frame).data)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._encoder.finish()
                self._part.replace(self._path)
        finally:
            self._encoder.kill()
            self._part.unlink(missing_ok=True)
