"""The video stream of a file: frames in order, each with its time."""

from __future__ import annotations

import contextlib
import math
from collections import deque
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import av
from av.error import FFmpegError
from av.stream import Disposition

from . import THREADS
from .deinterlacing import Deinterlacer

_WORTH_SKIPPING = 5.0  # seconds
_COVERS = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
_WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # FFmpeg's own decoders ignore alpha
# Containers that say when to decode frames, not when to show them. The first frame that is shown
# takes the first of these times, and so on.
_UNTIMED = ("avi", "mpegvideo")


class Refused(Exception):
    """The file cannot be shown. The argument says why: "nothing", "frames" or "codec NAME"."""


class Shown(NamedTuple):
    """A decoded frame and when it is shown."""

    frame: av.VideoFrame
    time: float  # seconds after the first frame of the file
    length: float  # seconds, as far as the file says


class Film:
    """The video stream of a file that a player would show."""

    def __init__(self, file: BinaryIO, request: dict[str, Any]):
        self.request = request
        self.damaged = False
        self.origin = 0.0  # time stamp of the first frame, seconds
        file.seek(0)
        options = {
            "codec_whitelist": ",".join(request["codecs"]),
            "format_whitelist": request["container"],
            "protocol_whitelist": "none",
            "max_streams": "100",
            "max_pixels": str(2 * request["pixels"]),  # codecs pad; the exact check is the caller's
        }
        self.container = av.open(
            file,
            format=request["container"],
            container_options=options,
            metadata_errors="replace",
            io_open=_refuse,
        )
        self.stream = self._stream()
        self._context = self._decoder()
        self._deinterlacer: Deinterlacer | None = None
        self._decoding_times: deque[int] = deque()  # of packets whose frames have not come yet

    def _stream(self) -> Any:
        """Return the stream to show: no cover if there is another, by default, the largest."""
        streams = [stream for stream in self.container.streams if stream.type == "video"]
        decodable = [stream for stream in streams if stream.codec_context]
        if not decodable:
            raise Refused("codec" if streams else "nothing")
        return max(
            decodable,
            key=lambda stream: (
                not stream.disposition & _COVERS,
                bool(stream.disposition & Disposition.default),
                stream.codec_context.width * stream.codec_context.height,
            ),
        )

    def _decoder(self) -> Any:
        context = self.stream.codec_context
        name = context.codec.canonical_name
        if name not in self.request["codecs"]:
            raise Refused(f"codec {name}")
        if name in _WITH_ALPHA and self.stream.metadata.get("alpha_mode") == "1":
            context = av.CodecContext.create(_WITH_ALPHA[name], "r")
        context.options = {"max_pixels": str(2 * self.request["pixels"])}
        first_alone = self.request.get("frames", [0]) == [0]  # threads would decode more
        context.thread_count = 1 if first_alone else THREADS
        context.thread_type = "AUTO"
        return context

    @property
    def told(self) -> int | None:
        """How many frames the container says that the part holds; some are perhaps never shown."""
        whole = not self.request["start"] and self.request["end"] is None
        return int(self.stream.frames) if whole and self.stream.frames else None

    def packets(self) -> int:
        """Return how many packets the part holds; reads the file to its end.

        Only a guess at the number of frames: some packets hold frames that are never shown.
        """
        start, end = self.request["start"], self.request["end"]
        times = []
        with contextlib.suppress(FFmpegError):
            for packet in self.container.demux(self.stream):
                if packet.size:
                    time = packet.pts if packet.pts is not None else packet.dts
                    times.append(float((time or 0) * self.stream.time_base))
        first = min(times, default=0.0)
        return sum(start <= time - first < (end or math.inf) for time in times)

    def shown(self) -> Iterator[Shown]:
        """Yield the frames of the part that is asked for, at rising times."""
        start, end = self.request["start"], self.request["end"]
        last: Shown | None = None
        for frame in self._decoded():
            seconds = None if frame.pts is None else float(frame.pts * frame.time_base)
            if last is None:
                self.origin = seconds or 0.0
                self._skip(start)
            time = -math.inf if seconds is None else seconds - self.origin
            if last and time <= last.time:  # no time, or one that does not rise
                time = last.time + last.length
            if end is not None and time >= end:
                return
            last = Shown(frame, max(time, 0.0), self._length(frame))
            if last.time >= start - 1e-6:
                yield last

    def about(self) -> dict[str, Any]:
        """Return what the container says of itself; None where it says nothing."""
        stream, container = self.stream, self.container
        seconds = None
        if container.duration:
            seconds = (container.duration - max(container.start_time or 0, 0)) / av.time_base
        if stream.duration:
            seconds = float(stream.duration * stream.time_base)
        sound = bool(container.streams.audio)
        return {"frames": stream.frames or None, "seconds": seconds, "sound": sound}

    def _skip(self, seconds: float) -> None:
        """Go to the last frame before a time that can be decoded without those before it."""
        if seconds > _WORTH_SKIPPING:
            with contextlib.suppress(FFmpegError):  # not every file can be searched
                self.container.seek(int((self.origin + seconds - 1) * av.time_base))
                self._context.flush_buffers()

    def _length(self, frame: av.VideoFrame) -> float:
        if frame.duration and frame.duration > 0:
            return float(frame.duration * frame.time_base)
        rate = self.stream.average_rate or self.stream.guessed_rate
        return float(1 / rate) if rate else 0.04

    def _decoded(self) -> Iterator[av.VideoFrame]:
        """Yield all frames that can be decoded, deinterlaced where they are flagged so."""
        try:
            for packet in self.container.demux(self.stream):
                yield from self._progressive(packet)
        except FFmpegError:  # the container is damaged from here on
            self.damaged = True
            yield from self._progressive(None)
        if self._deinterlacer:
            yield from self._deinterlacer.rest()

    def _progressive(self, packet: av.Packet | None) -> Iterator[av.VideoFrame]:
        for frame in self._frames(packet):
            if frame.interlaced_frame and not self._deinterlacer:
                self._deinterlacer = Deinterlacer()
            yield from self._deinterlacer.add(frame) if self._deinterlacer else (frame,)

    def _frames(self, packet: av.Packet | None) -> list[av.VideoFrame]:
        waiting = self._decoding_times
        try:
            if packet and packet.size and self.request["container"] in _UNTIMED:
                waiting.append(packet.dts)
            frames = self._context.decode(packet)
        except EOFError:  # the decoder was emptied already
            return []
        except FFmpegError:
            self.damaged = True
            if waiting:
                waiting.pop()
            return []
        for frame in frames:
            frame.time_base = self.stream.time_base
            if waiting:
                frame.pts = waiting.popleft()
        return list(frames)


def _refuse(*_: object) -> None:
    raise PermissionError("A clip may open no other file.")
