"""The one writer of videos."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.codec.context import Flags
from av.error import FFmpegError
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, VideoReformatter

from .clip import Share, TimedFrame
from .files import cannot_write, part_of
from .stopping import checkpoint
from .worker import SOUND_RATE

_TICKS = 90_000  # a second; every usual frame rate is a whole number of them
_USUAL_RATE = 30  # frames a second, from which encoders estimate bit rates; times are exact anyway


@dataclass(frozen=True)
class Format:
    """How a video is encoded."""

    codec: str
    pixels: str  # FFmpeg's name of the pixel format
    container: str
    options: dict[str, str]  # of the codec
    sound: str | None = None  # codec
    container_options: dict[str, str] = field(default_factory=dict)


# Every browser plays it. Without B-frames the last frame in the file is the last one shown, and its
# length counts. It may begin to play before the whole file is loaded. One thread: with more, the
# bytes would depend on the number of cores, and workers of a batch would take each other's.
H264 = Format(
    "libx264",
    "yuv420p",
    "mp4",
    {"crf": "20", "preset": "veryfast", "bf": "0", "threads": "1"},
    sound="aac",
    container_options={"movflags": "+faststart"},
)
# With alpha, for video editors. `apl0` is what Apple's own encoder writes.
PRORES_4444 = Format("prores_ks", "yuva444p10le", "mov", {"profile": "4444", "vendor": "apl0"})
# With alpha, for web pages. The encoder refuses alpha with frames that are not shown (alt-ref).
VP9 = Format(
    "libvpx-vp9",
    "yuva420p",
    "webm",
    {"crf": "24", "b": "0", "auto-alt-ref": "0", "cpu-used": "4", "row-mt": "1"},
)


class VideoWriter:
    """Encodes frames, each shown at its own time; a context manager.

    Chroma needs even sides, so an odd one is padded by repeating its last row or column. Colours
    are BT.709, and tagged so. The file appears under its name only when all went well; otherwise
    nothing is left. Raise InputError when it cannot be written.
    """

    def __init__(
        self,
        path: Path,
        *,
        size: tuple[int, int],
        sound: Iterator[np.ndarray] | None = None,
        format: Format = H264,
    ):
        """Describe a video. size: (H, W). sound: pieces (n, 2) int16 at 48 kHz, from second 0."""
        self._path = path
        self._part = part_of(path)
        self._even = (size[0] + size[0] % 2, size[1] + size[1] % 2)
        self._sound = sound if format.sound else None
        self._format = format
        self._reformatter = VideoReformatter()
        self._pts = -1  # of the last frame, in ticks
        self._samples = 0  # of sound that are written

    def __enter__(self) -> VideoWriter:
        with self._failing_in_words():
            self._container = av.open(
                str(self._part),
                "w",
                format=self._format.container,
                options=self._format.container_options,
            )
            self._video = self._video_stream()
            self._audio: Any = None
            if self._sound:
                self._audio = self._container.add_stream(self._format.sound, rate=SOUND_RATE)
                self._audio.layout = "stereo"
        return self

    def _video_stream(self) -> Any:
        stream = self._container.add_stream(
            self._format.codec, rate=_USUAL_RATE, options=self._format.options
        )
        stream.height, stream.width = self._even
        stream.pix_fmt = self._format.pixels
        context = stream.codec_context
        context.time_base = stream.time_base = Fraction(1, _TICKS)
        context.flags |= Flags.frame_duration  # of the last frame, which no other follows
        context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
        context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        return stream

    def write(self, frame: np.ndarray, start: float, end: float) -> None:
        """Append a frame (H, W, 3 or 4) uint8 that is shown from one second to another."""
        below, right = self._even[0] - frame.shape[0], self._even[1] - frame.shape[1]
        if below or right:
            frame = np.pad(frame, ((0, below), (0, right), (0, 0)), mode="edge")
        kind = "rgba" if frame.shape[2] == 4 else "rgb24"
        picture = self._reformatter.reformat(
            av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), kind),
            format=self._format.pixels,
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
        )
        self._pts = max(round(start * _TICKS), self._pts + 1)
        picture.pts, picture.time_base = self._pts, Fraction(1, _TICKS)
        picture.duration = max(round(end * _TICKS) - self._pts, 1)
        with self._failing_in_words():
            self._container.mux(self._video.encode(picture))
            self._write_sound(end)

    def _write_sound(self, end: float) -> None:
        """Append the sound until a second, so that it lies near its frames in the file."""
        while self._sound and self._samples < end * SOUND_RATE:
            piece = next(self._sound, None)
            if piece is None:
                self._sound = None
                break
            sound = av.AudioFrame.from_ndarray(piece.reshape(1, -1), format="s16", layout="stereo")
            sound.sample_rate, sound.pts = SOUND_RATE, self._samples
            sound.time_base = Fraction(1, SOUND_RATE)
            self._samples += len(piece)
            self._container.mux(self._audio.encode(sound))

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                with self._failing_in_words():
                    self._write_rest()
                    self._container.close()
                    self._part.replace(self._path)
        finally:
            with contextlib.suppress(Exception):
                self._container.close()
            self._part.unlink(missing_ok=True)

    def _write_rest(self) -> None:
        """Write the frames and the sound that the encoders still hold: up to 25 frames."""
        for stream in filter(None, (self._video, self._audio)):
            for packet in stream.codec_context.encode_lazy(None):
                checkpoint()
                packet.stream = stream
                self._container.mux(packet)

    @contextlib.contextmanager
    def _failing_in_words(self) -> Iterator[None]:
        try:
            yield
        except (OSError, FFmpegError) as error:
            raise cannot_write(self._path) from error


def write_frames(
    path: Path,
    frames: Iterable[TimedFrame],
    *,
    size: tuple[int, int],
    sound: Iterator[np.ndarray] | None = None,
    seconds: float | None = None,
    progress: Share | None = None,
) -> None:
    """Write frames of a size (H, W) as an H.264 video; seconds: how long it lasts, for progress."""
    with VideoWriter(path, size=size, sound=sound) as video:
        for start, end, frame in frames:
            video.write(frame, start, end)
            if progress and seconds:
                progress(min(1.0, end / seconds))
