"""Video files, decoded by a confined child process."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .clip import Share, TimedFrame, Timeline, numbered, shortened, shrunk
from .colour import to_srgb
from .decoder import Decoder, broken_off, check_sense
from .errors import InputError
from .limits import MIB, Limits, check_frames, check_pixels, check_seconds
from .sampling import spread, stacked

_PIXEL = 6  # bytes of a pixel, at most


@dataclass(frozen=True)
class VideoClip:
    """A video file, or a part of one. Frames are upright and have square pixels."""

    file: VideoFile
    size: tuple[int, int]  # (H, W)

    @classmethod
    def open(cls, file: VideoFile) -> VideoClip:
        """Read the size of a video, for which its first frame is decoded.

        Raise InputError for a file that cannot be read or exceeds the limits.
        """
        for _ in file.read([0], size=(1, 1)):
            pass
        return cls(file, file.full_size)

    @property
    def name(self) -> str:
        """File name."""
        return self.file.path.name

    @property
    def times(self) -> np.ndarray:
        """Seconds at which frames are shown, (F,); the first use decodes the whole clip."""
        return self.file.timeline.times

    @property
    def end(self) -> float:
        """Seconds at which the last frame ends; the first use decodes the whole clip."""
        return self.file.timeline.end

    @property
    def part(self) -> tuple[float, float | None]:
        """Seconds of the file at which frame 0 is shown and before which the clip ends."""
        return self.file.part

    @property
    def damaged(self) -> bool:
        """True if some frames could not be decoded, as far as the clip was read."""
        return self.file.damaged

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
        if indices is None or len(indices):
            frames = None if indices is None else [int(index) for index in indices]
            yield from (shown.frame for _, shown in self.file.read(frames, size=self.size))

    def timed(self) -> Iterator[TimedFrame]:
        """Yield all frames with their times, reading the clip once."""
        yield from (shown for _, shown in self.file.read(None, size=self.size))

    def sample(
        self, wanted: int, include: int | None = None, progress: Share | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return `wanted` frames spread evenly, as `Clip.sample` says, decoding the clip once."""
        request = {"wanted": wanted, "include": include}
        found = dict(self.file.read(request, size=self.size, progress=progress))
        chosen = spread(len(self.times), wanted, include)
        if not found.keys() >= set(chosen):
            raise broken_off(self.name)
        return np.array(chosen), stacked((found.pop(i).frame for i in chosen), len(chosen))

    def sound(self) -> Iterator[np.ndarray]:
        """Yield the sound from the first frame on, in pieces (n, 2) int16 at 48 kHz."""
        if self.file.has_sound:
            with self.file.decode(most=MIB, task="sound") as decoder:
                for _, data in decoder.messages():
                    yield np.frombuffer(data, np.int16).reshape(-1, 2)


class VideoFile:
    """A video file and what is known of it, which grows as it is read."""

    def __init__(
        self, path: Path, container: str, limits: Limits, start: float = 0, end: float | None = None
    ):
        """Name a file. start, end: the part to read, in seconds."""
        self.path = path.absolute()  # the working folder may change before it is read
        self.full_size = (0, 0)  # (H, W)
        self.has_sound = False
        self.damaged = False
        self.part = (start, end)
        self._seconds: float | None = None  # that the part lasts, as far as the container says
        self._container = container
        self._limits = limits
        self._timeline: Timeline | None = None

    @property
    def timeline(self) -> Timeline:
        """When the frames are shown."""
        if self._timeline is None:
            for _ in self.read([]):
                pass
        if self._timeline is None:
            raise broken_off(self.path.name)
        return self._timeline

    def read(
        self,
        frames: Sequence[int] | dict[str, Any] | None,
        *,
        size: tuple[int, int] | None = None,
        progress: Share | None = None,
    ) -> Iterator[tuple[int, TimedFrame]]:
        """Yield the numbers of the frames asked for, as `worker.send_frames` says, and the frames.

        Every pass to the end learns the times and whether the file is damaged.
        """
        turn, again, sent = [False] * 3, False, 0
        times: list[float] = []
        most = _PIXEL * (math.prod(size) if size else self._limits.pixels)
        with self.decode(most=most, task="frames", frames=frames, size=size) as decoder:
            for message, data in decoder.messages():
                if "refused" in message:
                    raise self._refusal(message["refused"])
                if "about" in message:
                    turn = self._learn(message["about"])
                again = again or "again" in message
                if not again and message.get("times"):
                    times += map(float, message["times"])
                    self.part = (times[0], self.part[1])
                    self._check(times, message.get("end") or times[-1])
                if progress and times and self._seconds:
                    progress(min(1.0, (times[-1] - times[0]) / self._seconds))
                if "frame" in message:
                    sent += 1
                    start, end = (t - times[0] for t in (times[message["frame"]], message["until"]))
                    picture = _picture(data, message, turn)
                    check_sense(picture.shape == (*(size or self.full_size), 3))
                    check_sense(0 <= start < end < math.inf and sent <= _most_frames(frames))
                    yield message["frame"], TimedFrame(start, end, picture)
                if "end" in message and not again:
                    seconds = np.array(times)
                    check_sense(np.all(np.diff([*times, message["end"]]) > 0))
                    self._timeline = Timeline(seconds - seconds[0], message["end"] - seconds[0])
                    self.damaged = bool(message["damaged"])

    def decode(self, *, most: int, **request: Any) -> Decoder:
        """Start a decoder. most: bytes that it may send with a message."""
        try:
            return Decoder(
                self.path,
                container=self._container,
                limits=self._limits,
                request={"start": self.part[0], "end": self.part[1], **request},
                most=most,
            )
        except FileNotFoundError as error:
            name = shortened(self.path.name)
            raise InputError(
                f"{name!r} is no longer there; check the path or upload it again."
            ) from error

    def _learn(self, about: dict[str, Any]) -> list[bool]:
        """Take over what the container says; return how to turn the pictures.

        Raise InputError if that is beyond a limit already; what is decoded is checked as well.
        """
        height, width = about["size"]
        check_sense(height > 0 < width)
        self.full_size = (height, width)
        check_pixels(repr(self.path.name), self.full_size, self._limits)
        self.has_sound = about["sound"]
        start, end = self.part[0], self.part[1] or math.inf
        if about["seconds"] is not None:
            self._seconds = max(0.0, min(about["seconds"], end) - start)
            check_seconds(self.path.name, self._seconds, self._limits)
        if about["frames"] is not None and not start and end == math.inf:
            check_frames(self.path.name, about["frames"], self._limits)
        turn: list[bool] = about["turn"]
        return turn

    def _check(self, times: list[float], end: float) -> None:
        check_frames(self.path.name, len(times), self._limits)
        check_seconds(self.path.name, end - times[0], self._limits)

    def _refusal(self, reason: str) -> InputError:
        """Return the error to raise for a file that the worker refuses."""
        name = shortened(self.path.name)
        kind, _, codec = shortened(" ".join(reason.split())).partition(" ")
        if kind == "codec":
            which = f"the codec {codec}, which" if codec else "a codec that"
            return InputError(f"{name!r} uses {which} is not supported; export it as H.264 mp4.")
        if kind == "frames":
            return InputError(
                f"{name!r} holds frames that cannot be read; they are damaged, or larger than "
                f"the {self._limits.pixels / 1e6:g} million pixels allowed here."
            )
        if self.part[0]:
            return InputError(f"{name!r} ends before {self.part[0]:g} s; start earlier.")
        return InputError(
            f"{name!r} holds no video that can be read; "
            "it may be damaged or sound only. Export it again as mp4."
        )


def _most_frames(asked: Sequence[int] | dict[str, Any] | None) -> float:
    """Return how many frames may be sent: for a sample, as many again after a wrong guess."""
    if isinstance(asked, dict):
        return 2 * int(asked["wanted"])
    return math.inf if asked is None else len(asked)


def _picture(data: bytearray, about: dict[str, Any], turn: list[bool]) -> np.ndarray:
    """Return a frame as it is shown: (H, W, 3) uint8, upright, over black where it has alpha."""
    if "light" in about:
        picture = to_srgb(np.frombuffer(data, "<u2").reshape(about["shape"]), *about["light"])
    else:
        picture = np.frombuffer(data, np.uint8).reshape(about["shape"])
    if picture.shape[2] == 4:
        alpha = picture[..., 3:].astype(np.uint16)
        picture = ((picture[..., :3] * alpha + 127) // 255).astype(np.uint8)
    transposed, flip_y, flip_x = turn
    if transposed:
        picture = picture.swapaxes(0, 1)
    picture = picture[:: -1 if flip_y else 1, :: -1 if flip_x else 1]
    return np.ascontiguousarray(picture)
