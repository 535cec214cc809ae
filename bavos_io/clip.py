"""The interface of clips: frames that can be read more than once.

F frames in the clip, T of them analysed, H×W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np
from PIL import Image

from .errors import InputError
from .sampling import spread, stacked
from .stopping import checkpoint

Share = Callable[[float], None]  # told the share of a clip that was read, 0 … 1

# Offered in file dialogs and looked for in folders. A file that is given is judged by its bytes.
VIDEO_SUFFIXES = (
    ".mp4", ".mov", ".m4v", ".webm", ".mkv", ".gif", ".avi", ".3gp", ".ts", ".mts", ".mpg",
    ".mpeg", ".wmv", ".flv", ".ogv",
)  # fmt: skip
IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".tif", ".tiff", ".webp", ".avif", ".heic",
)  # fmt: skip
IMAGES_FPS = 24.0  # playing speed of a folder or zip of frames, as in DAVIS


class TimedFrame(NamedTuple):
    """A frame and the seconds from and until which it is shown."""

    start: float
    end: float
    frame: np.ndarray  # (H, W, 3) uint8 RGB


class Timeline(NamedTuple):
    """When the frames of a clip are shown, in seconds."""

    times: np.ndarray  # (F,) float64 from 0, rising
    end: float  # of the last frame

    @classmethod
    def regular(cls, count: int, fps: float = IMAGES_FPS) -> Timeline:
        """Return the times of frames at a constant rate."""
        return cls(np.arange(count) / fps, count / fps)

    @property
    def spans(self) -> list[tuple[float, float]]:
        """Seconds from and until which each frame is shown, F pairs."""
        times = self.times.tolist()
        return list(zip(times, [*times[1:], self.end], strict=True))

    def timed(self, frames: Iterable[np.ndarray]) -> Iterator[TimedFrame]:
        """Yield frames (F, H, W, 3) with their times."""
        return (TimedFrame(*span, frame) for span, frame in zip(self.spans, frames, strict=False))


class Clip(Protocol):
    """A sequence of frames that can be read more than once."""

    @property
    def name(self) -> str:
        """File or folder name, as shown to people."""

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) pixels, upright."""

    @property
    def times(self) -> np.ndarray:
        """Seconds at which frames are shown, (F,) float64, from 0, rising.

        The decoder knows them, not the container: the first use may read the whole clip.
        """

    @property
    def end(self) -> float:
        """Seconds at which the last frame ends; the first use may read the whole clip."""

    @property
    def part(self) -> tuple[float, float | None]:
        """Seconds of the file at which frame 0 is shown and before which the clip ends.

        None: at the end of the file. With these as start and end, `open_clip` opens it again.
        """

    @property
    def damaged(self) -> bool:
        """True if some frames could not be decoded, as far as the clip was read."""

    @property
    def frame_names(self) -> tuple[str, ...]:
        """Name of each frame without suffix, (F,); masks are saved under these."""

    def read(self, indices: Sequence[int] | None = None) -> Iterator[np.ndarray]:
        """Yield frames (H, W, 3) uint8 RGB: all, or those of rising `indices`."""

    def timed(self) -> Iterator[TimedFrame]:
        """Yield all frames with their times, reading the clip once."""

    def sample(
        self, wanted: int, include: int | None = None, progress: Share | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return frames spread evenly over the clip: their indices (T,) int64, (T, H, W, 3) uint8.

        include: index of a frame that takes the place of the nearest one. progress: called with the
        share that was read, 0 … 1.
        """

    def sound(self) -> Iterator[np.ndarray]:
        """Yield the sound from the first frame on, in pieces (n, 2) int16 at 48 kHz."""

    def resized(self, max_side: int | None) -> Clip:
        """Return the clip with frames shrunk until their longer side is at most `max_side` pixels.

        The file is not opened again. Smaller frames, and None, leave the size as it is.
        """


class StillClip:
    """A clip whose frames and times are known when it is opened: no sound, no damage."""

    timeline: Timeline
    part = (0.0, None)
    damaged = False

    @property
    def times(self) -> np.ndarray:
        """Seconds at which frames are shown, (F,) float64."""
        return self.timeline.times

    @property
    def end(self) -> float:
        """Seconds at which the last frame ends."""
        return self.timeline.end

    def timed(self) -> Iterator[TimedFrame]:
        """Yield all frames with their times."""
        return self.timeline.timed(self.read())

    def sample(
        self, wanted: int, include: int | None = None, progress: Share | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return frames spread evenly, as `Clip.sample` says."""
        chosen = spread(len(self.times), wanted, include)

        def frames() -> Iterator[np.ndarray]:
            for read, frame in enumerate(self.read(chosen), 1):
                yield frame
                if progress:
                    progress(read / len(chosen))

        return np.array(chosen), stacked(frames(), len(chosen))

    def read(self, indices: Sequence[int] | None = None) -> Iterator[np.ndarray]:
        """Yield frames (H, W, 3) uint8 RGB."""
        raise NotImplementedError

    def sound(self) -> Iterator[np.ndarray]:
        """Yield nothing."""
        return iter(())


@dataclass(frozen=True)
class ArrayClip(StillClip):
    """Frames that are already in memory; those that are read are resized."""

    frames: np.ndarray  # (F, ·, ·, 3) uint8 RGB
    timeline: Timeline
    frame_names: tuple[str, ...]
    name: str = "clip"
    shown_size: tuple[int, int] | None = None  # (H, W); None: as the frames are

    @classmethod
    def of(cls, frames: np.ndarray, *, fps: float = IMAGES_FPS) -> ArrayClip:
        """Make a clip of frames. Raise InputError unless they are (F ≥ 1, H, W, 3) uint8."""
        if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not frames.size:
            raise InputError(
                f"Frames must be (frames, height, width, 3) uint8 RGB, not {frames.shape} "
                f"{frames.dtype}."
            )
        return cls(frames, Timeline.regular(len(frames), fps), numbered(len(frames)))

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.shown_size or (self.frames.shape[1], self.frames.shape[2])

    def read(self, indices: Sequence[int] | None = None) -> Iterator[np.ndarray]:
        """Yield frames (H, W, 3) uint8 RGB."""
        chosen = range(len(self.frames)) if indices is None else indices
        for index in chosen:
            checkpoint()
            yield resize(self.frames[index], self.size)

    def resized(self, max_side: int | None) -> ArrayClip:
        """Return the clip with its frames shrunk, as `Clip.resized` says."""
        return replace(self, shown_size=shrunk(self.size, max_side))


def resize(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a frame (·, ·, 3) uint8 to (H, W, 3)."""
    if frame.shape[:2] == size:
        return frame
    return np.array(Image.fromarray(frame).resize(size[::-1]))


def shrunk(size: tuple[int, int], max_side: int | None) -> tuple[int, int]:
    """Return (H, W) scaled down until its longer side is at most `max_side`."""
    factor = min(1.0, (max_side or max(size)) / max(size))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def shortened(name: str) -> str:
    """Shorten a name so that it fits into a sentence."""
    return name if len(name) <= 80 else f"{name[:60]}…{name[-15:]}"


def numbered(count: int) -> tuple[str, ...]:
    """Return names for frames that have none."""
    return tuple(f"{i:05d}" for i in range(count))
