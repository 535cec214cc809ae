"""Video files, decoded by the ffmpeg that imageio-ffmpeg ships."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..errors import InputError
from .clip import numbered, shrunk
from .ffmpeg import Decoder, container_of
from .limits import Limits, check_frames, check_pixels, check_seconds

_MOST_CHOSEN = 256  # frames that ffmpeg picks by a list; of more, we pick
_DISCARD = 4  # flag of packets that a lossless trim has cut away
_NO_TIME = -(2**63)  # ffmpeg's "no time stamp"


class VideoClip:
    """A video file. Frames are streamed from ffmpeg, upright and with square pixels."""

    def __init__(self, path: Path, max_side: int | None = None, limits: Limits | None = None):
        self.name = path.name
        self._path = path.absolute()  # the working folder may change before it is read
        self._limits = limits or Limits()
        container = container_of(path)
        if container is None:
            raise self._unreadable()
        self._container = container
        self.times = self._probe()
        self.frame_names = numbered(len(self.times))
        self.size = shrunk(self._look(), max_side)

    def read(self, indices: Sequence[int] | None = None) -> Iterator[np.ndarray]:
        """Frames (H, W, 3) uint8 RGB. A damaged tail ends the clip early; no frame is an error.

        Raises InputError, too, when the decoder is killed or takes too long: what it gave until
        then says nothing about the clip.
        """
        if indices is not None and not len(indices):
            return
        choice = _Choice.of(indices)
        scale = f"scale={self.size[1]}:{self.size[0]},setsar=1"
        raw = ("-pix_fmt", "rgb24", "-f", "rawvideo")
        shape = (*self.size, 3)
        count = 0
        with self._decode("-vf", f"{choice.filter},{scale}", *choice.limit, *raw) as decoder:
            while len(data := decoder.read(math.prod(shape))) == math.prod(shape):
                if choice.taken is None or count in choice.taken:
                    yield np.frombuffer(bytearray(data), np.uint8).reshape(shape)  # writable
                count += 1
        if not count:
            raise self._unreadable()

    def _probe(self) -> np.ndarray:
        """Seconds at which every frame appears, read from the packets without decoding them."""
        report = _Packets()
        with self._decode("-c", "copy", "-f", "framecrc") as decoder:
            for line in decoder.lines():
                report.add(line)
                check_frames(self.name, len(report.shown), self._limits)
        if not report.shown:
            raise self._unreadable()
        if 0 in report.size:
            raise InputError(
                f"{self.name!r} holds frames that cannot be read; they are damaged, or larger than "
                f"the {self._limits.pixels / 1e6:g} million pixels allowed here."
            )
        check_pixels(repr(self.name), report.size, self._limits)
        times = report.times()
        check_seconds(self.name, times, self._limits)
        return times

    def _look(self) -> tuple[int, int]:
        """(H, W) of the first frame, upright and with square pixels.

        The width is held just above what is allowed, however oblong its pixels say they are.
        """
        most = f"trunc({self._limits.pixels}/ih)+1"
        scale = f"scale=w='max(1,min(round(iw*sar),{most}))':h=ih,setsar=1"
        first = ("-frames:v", "1", "-pix_fmt", "rgb24", "-c:v", "ppm", "-f", "image2pipe")
        with self._decode("-vf", scale, *first) as decoder:
            head = decoder.read(32).split(maxsplit=3)  # P6, width, height, …
        if len(head) < 3:
            raise self._unreadable()
        size = (int(head[2]), int(head[1]))
        check_pixels(repr(self.name), size, self._limits)
        return size

    def _decode(self, *output: str) -> Decoder:
        try:
            return Decoder(
                self._path, container=self._container, limits=self._limits, output=output
            )
        except FileNotFoundError as error:
            raise InputError(f"{self.name!r} is no longer there; give it again.") from error

    def _unreadable(self) -> InputError:
        return InputError(
            f"{self.name!r} holds no video that can be read; "
            "it may be damaged or sound only. Export it again as mp4."
        )


@dataclass
class _Packets:
    """What ffmpeg's framecrc report says about a stream, line by line.

    A packet's line is: stream, dts, pts, duration, size, checksum and, unless it is a plain key
    frame, flags.
    """

    stored: tuple[int, int] = (0, 0)  # (H, W)
    aspect: float = 1.0  # width of a pixel to its height
    unit: float = 1.0  # seconds
    shown: list[tuple[int, int]] = field(default_factory=list)  # dts and pts of a frame

    def add(self, line: str) -> None:
        """Take in one line."""
        if line.startswith("#dimensions 0:"):
            width, height = line.split(":")[1].split("x")
            self.stored = (int(height), int(width))
        elif line.startswith("#sar 0:"):
            self.aspect = _fraction(line.split(":")[1]) or 1.0  # 0: not known
        elif line.startswith("#tb 0:"):
            self.unit = _fraction(line.split(":")[1])
        elif line and not line.startswith("#"):
            packet = line.split(",")
            if not (len(packet) > 6 and _flags(packet[6]) & _DISCARD):
                self.shown.append((int(packet[1]), int(packet[2])))

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) with square pixels, as far as the container knows; 0 where it knows nothing."""
        return self.stored[0], math.ceil(self.stored[1] * self.aspect)

    def times(self) -> np.ndarray:
        """Seconds of all frames that are shown, (F,) from 0, rising."""
        decoded, shown = np.array(self.shown, np.float64).T
        # avi stores no presentation times, only the order of packets
        ticks = np.sort(decoded if (shown == _NO_TIME).any() else shown)
        return np.asarray((ticks - ticks[0]) * self.unit, np.float64)


def _flags(field: str) -> int:
    """Flags of a packet, written as F=0x5."""
    return int(field.split("=")[1], 16)


@dataclass(frozen=True)
class _Choice:
    """How some frames of a video are picked."""

    filter: str  # of ffmpeg, so that the rest is never piped
    limit: tuple[str, ...] = ()  # options that end ffmpeg after the last of them
    taken: frozenset[int] | None = None  # numbers to keep of what is piped; None for all

    @classmethod
    def of(cls, indices: Sequence[int] | None) -> _Choice:
        """Rising indices, or None for all frames."""
        if indices is None:
            return cls("null")
        if len(indices) > _MOST_CHOSEN:
            return cls("null", ("-frames:v", str(max(indices) + 1)), frozenset(indices))
        terms = "+".join(f"eq(n,{int(i)})" for i in indices)
        return cls(f"select='{terms}'", ("-frames:v", str(len(indices))))


def _fraction(text: str) -> float:
    over, under = text.strip().split("/")
    return int(over) / (int(under) or 1)
