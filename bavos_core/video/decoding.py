"""Video files, decoded by the ffmpeg that imageio-ffmpeg ships."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..errors import InputError
from .clip import numbered, shrunk
from .ffmpeg import Decoder, container_of
from .limits import Limits, check_frames, check_pixels, check_seconds

_MOST_CHOSEN = 256  # frames that ffmpeg selects by number; beyond that they are selected here
_DISCARD = 4  # flag of packets that a lossless trim has cut away
_NO_TIME = -(2**63)  # ffmpeg's "no time stamp"


@dataclass(frozen=True)
class VideoClip:
    """A video file. Frames are streamed from ffmpeg, upright and with square pixels."""

    file: VideoFile
    times: np.ndarray  # (F,) seconds
    size: tuple[int, int]  # (H, W)

    @classmethod
    def open(cls, path: Path, limits: Limits) -> VideoClip:
        """Read the times and the size of a video by two runs of the decoder.

        Raise InputError for a file that cannot be read or exceeds the limits.
        """
        file = VideoFile(path.absolute(), container_of(path) or "", limits)
        if not file.container:
            raise file.unreadable()
        return cls(file, file.read_times(), file.read_size())

    @property
    def name(self) -> str:
        """File name."""
        return self.file.path.name

    @property
    def frame_names(self) -> tuple[str, ...]:
        """Numbers from 00000, (F,)."""
        return numbered(len(self.times))

    def resized(self, max_side: int | None) -> VideoClip:
        """Return the clip with its frames shrunk, as `Clip.resized` says."""
        return replace(self, size=shrunk(self.size, max_side))

    def read(self, indices: Sequence[int] | None = None) -> Iterator[np.ndarray]:
        """Yield frames (H, W, 3) uint8 RGB. A damaged tail ends the clip early.

        Raise InputError when there is no frame at all, and when the decoder is killed or takes too
        long, since the frames so far then say nothing about the clip.
        """
        if indices is not None and not len(indices):
            return
        selection = _Selection.of(indices)
        scale = f"scale={self.size[1]}:{self.size[0]},setsar=1"
        raw = ("-pix_fmt", "rgb24", "-f", "rawvideo")
        shape = (*self.size, 3)
        count = 0
        options = ("-vf", f"{selection.filter},{scale}", *selection.limit, *raw)
        with self.file.decode(*options) as decoder:
            while len(data := decoder.read(math.prod(shape))) == math.prod(shape):
                if selection.kept is None or count in selection.kept:
                    yield np.frombuffer(bytearray(data), np.uint8).reshape(shape)  # writable
                count += 1
        if not count:
            raise self.file.unreadable()


@dataclass(frozen=True)
class VideoFile:
    """A video file and how it may be read."""

    path: Path  # absolute, since the working folder may change before it is read
    container: str  # ffmpeg's name
    limits: Limits

    def read_times(self) -> np.ndarray:
        """Return the seconds at which frames appear, (F,), read without decoding them."""
        report = _Packets()
        name = self.path.name
        with self.decode("-c", "copy", "-f", "framecrc") as decoder:
            for line in decoder.lines():
                report.add(line)
                check_frames(name, len(report.shown), self.limits)
        if not report.shown:
            raise self.unreadable()
        if 0 in report.size:
            raise InputError(
                f"{name!r} holds frames that cannot be read; they are damaged, or larger than "
                f"the {self.limits.pixels / 1e6:g} million pixels allowed here."
            )
        check_pixels(repr(name), report.size, self.limits)
        times = report.times()
        check_seconds(name, times, self.limits)
        return times

    def read_size(self) -> tuple[int, int]:
        """Return (H, W) of the first frame, upright and with square pixels.

        The width is held just above the limit, however oblong the pixels claim to be.
        """
        most = f"trunc({self.limits.pixels}/ih)+1"
        scale = f"scale=w='max(1,min(round(iw*sar),{most}))':h=ih,setsar=1"
        first = ("-frames:v", "1", "-pix_fmt", "rgb24", "-c:v", "ppm", "-f", "image2pipe")
        with self.decode("-vf", scale, *first) as decoder:
            head = decoder.read(32).split(maxsplit=3)  # P6, width, height, …
        if len(head) < 3:
            raise self.unreadable()
        size = (int(head[2]), int(head[1]))
        check_pixels(repr(self.path.name), size, self.limits)
        return size

    def decode(self, *output: str) -> Decoder:
        """Start a decoder with these output options."""
        try:
            return Decoder(self.path, container=self.container, limits=self.limits, output=output)
        except FileNotFoundError as error:
            raise InputError(f"{self.path.name!r} is no longer there; give it again.") from error

    def unreadable(self) -> InputError:
        """Return the error to raise for a file without a video."""
        return InputError(
            f"{self.path.name!r} holds no video that can be read; "
            "it may be damaged or sound only. Export it again as mp4."
        )


@dataclass
class _Packets:
    """The content of ffmpeg's framecrc report about a stream.

    A packet's line is: stream, dts, pts, duration, size, checksum and, unless it is a plain key
    frame, flags, written as F=0x5.
    """

    stored: tuple[int, int] = (0, 0)  # (H, W)
    aspect: float = 1.0  # width of a pixel to its height
    unit: float = 1.0  # seconds
    shown: list[tuple[int, int]] = field(default_factory=list)  # dts and pts of a frame

    def add(self, line: str) -> None:
        """Parse one line."""
        if line.startswith("#dimensions 0:"):
            width, height = line.split(":")[1].split("x")
            self.stored = (int(height), int(width))
        elif line.startswith("#sar 0:"):
            self.aspect = _fraction(line.split(":")[1]) or 1.0  # 0: not known
        elif line.startswith("#tb 0:"):
            self.unit = _fraction(line.split(":")[1])
        elif line and not line.startswith("#"):
            packet = line.split(",")
            flags = int(packet[6].split("=")[1], 16) if len(packet) > 6 else 0
            if not flags & _DISCARD:
                self.shown.append((int(packet[1]), int(packet[2])))

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) with square pixels, as far as the container knows; 0 where it knows nothing."""
        return self.stored[0], math.ceil(self.stored[1] * self.aspect)

    def times(self) -> np.ndarray:
        """Return the seconds of all frames that are shown, (F,) from 0, rising."""
        decoded, shown = np.array(self.shown, np.float64).T
        # avi stores no presentation times, only the order of packets
        ticks = np.sort(decoded if (shown == _NO_TIME).any() else shown)
        return np.asarray((ticks - ticks[0]) * self.unit, np.float64)


@dataclass(frozen=True)
class _Selection:
    """How some frames of a video are selected."""

    filter: str  # of ffmpeg, so that the rest is never piped
    limit: tuple[str, ...] = ()  # options that end ffmpeg after the last of them
    kept: frozenset[int] | None = None  # numbers of the piped frames to keep; None for all

    @classmethod
    def of(cls, indices: Sequence[int] | None) -> _Selection:
        """Select rising indices, or all frames for None."""
        if indices is None:
            return cls("null")
        if len(indices) > _MOST_CHOSEN:
            return cls("null", ("-frames:v", str(max(indices) + 1)), frozenset(indices))
        terms = "+".join(f"eq(n,{int(i)})" for i in indices)
        return cls(f"select='{terms}'", ("-frames:v", str(len(indices))))


def _fraction(text: str) -> float:
    over, under = text.strip().split("/")
    return int(over) / (int(under) or 1)
