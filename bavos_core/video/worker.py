"""The program that decodes one untrusted file, run by `decoder` as a confined child process.

It reads the file from standard input and a request, as JSON, from its argument. It writes messages
to standard output: a line of JSON and then as many bytes as the line's "bytes" says. It needs
nothing but PyAV and the standard library, so that it starts quickly.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import json
import math
import pkgutil
import struct
import sys
from collections.abc import Collection, Iterator
from fractions import Fraction
from typing import Any, BinaryIO, NamedTuple

import av
from av.error import FFmpegError
from av.sidedata.sidedata import Type as SideData
from av.stream import Disposition
from av.video.reformatter import ColorPrimaries, Colorspace, ColorTrc, VideoReformatter

THREADS = 4  # more threads would only hold more frames in memory
SOUND_RATE = 48_000  # samples a second, in two channels of 16 bits
_TIMES_AT_ONCE = 32  # frames between two messages that tell only times
_WORTH_SKIPPING = 5.0  # seconds
_GAP = SOUND_RATE // 20  # samples by which the sound may be early or late before it is moved
_HD_LINES = 720  # browsers take untagged video with so many lines for BT.709, else for BT.601
_UNTAGGED = 2  # FFmpeg's number of an unspecified matrix
_HDR = (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)  # PQ and HLG
_WIDE = (ColorPrimaries.BT2020, ColorPrimaries.SMPTE431, ColorPrimaries.SMPTE432)
_COVERS = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
_WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # FFmpeg's own decoders ignore alpha


class Refused(Exception):
    """The file cannot be shown. The argument says why: "nothing", "frames" or "codec NAME"."""


class Shown(NamedTuple):
    """A decoded frame and when it is shown."""

    frame: av.VideoFrame
    time: float  # seconds after the first frame of the file
    length: float  # seconds, as far as the file says


def spread(total: int, wanted: int, include: int | None = None) -> list[int]:
    """Return `wanted` of `total` numbers spread evenly, first and last included, rising.

    include: a number that takes the place of the nearest one.
    """
    if wanted >= total:
        return list(range(total))
    step = (total - 1) / max(wanted - 1, 1)
    chosen = [round(i * step) for i in range(wanted - 1)] + [total - 1]
    if wanted == 1:
        chosen = [total // 2]
    if include is not None and include < total:
        nearest = min(range(wanted), key=lambda i: abs(chosen[i] - include))
        chosen[nearest] = include
    return chosen


# ---- the file -----------------------------------------------------------------------------------


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
        context.thread_count, context.thread_type = THREADS, "AUTO"
        return context

    def count(self) -> int:
        """Return how many frames the container seems to hold, without decoding any.

        Only a guess: containers count frames that are never shown.
        """
        start, end = self.request["start"], self.request["end"]
        if not start and end is None and self.stream.frames:
            return int(self.stream.frames)
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
        if frame.duration:
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
        try:
            frames = self._context.decode(packet)
        except EOFError:  # the decoder was emptied already
            return []
        except FFmpegError:
            self.damaged = True
            return []
        for frame in frames:
            frame.time_base = self.stream.time_base
        return list(frames)


def _refuse(*_: object) -> None:
    raise PermissionError("A clip may open no other file.")


class Deinterlacer:
    """Turns interlaced frames into progressive ones; leaves the others as they are."""

    def __init__(self) -> None:
        self._kind: tuple[int, int, str] | None = None
        self._graph: Any = None

    def add(self, frame: av.VideoFrame) -> Iterator[av.VideoFrame]:
        """Yield the frames that are complete; one frame late, since the next one is needed."""
        kind = frame.width, frame.height, frame.format.name
        if kind != self._kind:
            yield from self.rest()
            self._kind, self._graph = kind, _bwdif(frame)
        self._graph.push(frame)
        yield from self._pulled()

    def rest(self) -> Iterator[av.VideoFrame]:
        """Yield the frames that are left."""
        if self._graph:
            self._graph.push(None)
            yield from self._pulled()

    def _pulled(self) -> Iterator[av.VideoFrame]:
        with contextlib.suppress(BlockingIOError, EOFError):
            while True:
                yield self._graph.pull()


def _bwdif(frame: av.VideoFrame) -> Any:
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
    )
    filters = (
        source,
        graph.add("bwdif", "mode=send_frame:deint=interlaced"),
        graph.add("buffersink"),
    )
    for before, after in itertools.pairwise(filters):
        before.link_to(after)
    graph.configure()
    return graph


# ---- pictures -----------------------------------------------------------------------------------


class Pictures:
    """Frames as 8-bit sRGB pictures of one size, stored as the file has them, not yet turned."""

    def __init__(self, film: Film, first: av.VideoFrame):
        aspect = film.stream.sample_aspect_ratio or Fraction(1)
        most = film.request["pixels"] // first.height + 1  # however oblong pixels claim to be
        width = max(1, min(round(first.width * aspect), most))
        self.turn = transposed, *_ = _turn(first)
        size = (first.height, width)
        self.full_size = size[::-1] if transposed else size  # (H, W) upright
        wanted = film.request["size"] or self.full_size
        self._stored = wanted[::-1] if transposed else wanted
        self._reformatter = VideoReformatter()

    def of(self, frame: av.VideoFrame) -> tuple[dict[str, Any], list[memoryview]]:
        """Return the description of a picture, and its rows.

        Its shape is (H, W, 3 or 4), the fourth channel being alpha. Where it names a light, the
        values have 16 bits, and FFmpeg's numbers say what transfer function and primaries.
        """
        height, width = self._stored
        alpha = any(component.is_alpha for component in frame.format.components)
        far = frame.color_trc in _HDR or frame.color_primaries in _WIDE
        channels, kind = (4, "rgba") if alpha else (3, "rgb48le" if far else "rgb24")
        matrix = Colorspace.ITU709 if _looks_hd(frame) else None
        picture = self._reformatter.reformat(frame, width, height, kind, src_colorspace=matrix)
        plane = picture.planes[0]
        data, step = memoryview(plane), plane.line_size
        row = width * channels * (2 if kind == "rgb48le" else 1)
        whole = [data[: row * height]]
        rows = [data[i * step : i * step + row] for i in range(height)]
        about: dict[str, Any] = {"shape": [height, width, channels]}
        if kind == "rgb48le":
            about["light"] = [int(frame.color_trc), int(frame.color_primaries)]
        return about, whole if step == row else rows


def _looks_hd(frame: av.VideoFrame) -> bool:
    """Tell whether players take a frame for BT.709 because nothing says what it is."""
    untagged = frame.colorspace == _UNTAGGED and not frame.format.is_rgb
    return untagged and frame.height >= _HD_LINES


def _turn(frame: av.VideoFrame) -> tuple[bool, bool, bool]:
    """Return whether rows and columns change places, and whether y and x then run backwards."""
    matrix = frame.side_data.get(SideData.DISPLAYMATRIX)
    a, b, _, c, d = struct.unpack("<9i", bytes(matrix))[:5] if matrix else (1, 0, 0, 0, 1)
    transposed = abs(b) > abs(a)
    return transposed, (b if transposed else d) < 0, (c if transposed else a) < 0


# ---- sound --------------------------------------------------------------------------------------


def sound(film: Film) -> Iterator[bytes]:
    """Yield the sound of the film's part from its first frame on: 16 bits, two channels, 48 kHz.

    Silence fills gaps, and what overlaps is cut, so that picture and sound stay together.
    """
    first = next(film.shown(), None)
    audio = _audio(film)
    if first is None or audio is None:
        return
    origin, written = film.origin + first.time, 0
    film.container.seek(int((origin - 1) * av.time_base) if first.time else 0)
    resampler = av.AudioResampler(format="s16", layout="stereo", rate=SOUND_RATE)
    for frame in _decoded_sound(film, audio, resampler):
        place = round((float(frame.pts * frame.time_base) - origin) * SOUND_RATE)
        data = bytes(frame.planes[0])[: 4 * frame.samples]
        if place > written + _GAP:
            yield bytes(4 * (place - written))
            written = place
        elif place < written - _GAP:
            data = data[4 * min(written - place, frame.samples) :]
        if data:
            written += len(data) // 4
            yield data


def _audio(film: Film) -> Any:
    streams = [s for s in film.container.streams.audio if s.codec_context]
    streams = [s for s in streams if s.codec_context.codec.canonical_name in film.request["codecs"]]
    return max(streams, key=lambda s: bool(s.disposition & Disposition.default), default=None)


def _decoded_sound(film: Film, audio: Any, resampler: av.AudioResampler) -> Iterator[av.AudioFrame]:
    with contextlib.suppress(FFmpegError):  # damaged from here on
        for packet in film.container.demux(audio):
            frames: list[Any] = []
            with contextlib.suppress(FFmpegError):
                frames = packet.decode()
            for frame in frames:
                if frame.pts is not None:
                    yield from resampler.resample(frame)


# ---- answers ------------------------------------------------------------------------------------


def send(message: dict[str, Any], data: Collection[memoryview | bytes] = ()) -> None:
    """Write a message."""
    message["bytes"] = sum(map(len, data))
    sys.stdout.buffer.write(json.dumps(message).encode() + b"\n")
    for part in data:
        sys.stdout.buffer.write(part)


def send_frames(file: BinaryIO, request: dict[str, Any]) -> None:
    """Send the times of all frames, and the frames asked for.

    request["frames"]: None for all; numbers in rising order, after the last of which nothing is
    read; or {"wanted": count, "include": number} as for `spread`. How many frames there are is
    guessed then, and what was guessed wrongly is sent in a second pass.
    """
    frames = request["frames"]
    if not isinstance(frames, dict):
        send_pass(Film(file, request), frames and set(frames), stop=bool(frames))
        return
    guessed = set(spread(Film(file, request).count(), **frames))
    total = send_pass(Film(file, request), guessed)
    missing = set(spread(total, **frames)) - guessed
    if missing:
        send({"again": True})
        send_pass(Film(file, request), missing, stop=True)


def send_pass(film: Film, chosen: set[int] | None, *, stop: bool = False) -> int:
    """Send the film's times, and the frames whose numbers are chosen (None: all); return the count.

    stop: end after the last chosen frame.
    """
    pictures, times, number, shown = None, [], -1, None
    for number, shown in enumerate(film.shown()):
        if pictures is None:
            pictures = Pictures(film, shown.frame)
            send({"about": {**film.about(), "size": pictures.full_size, "turn": pictures.turn}})
        times.append(shown.time)
        if chosen is None or number in chosen:
            about, rows = pictures.of(shown.frame)
            until = shown.time + shown.length
            send({"times": times, "frame": number, "until": until, **about}, rows)
            times = []
        elif len(times) == _TIMES_AT_ONCE:
            send({"times": times})
            times = []
        if stop and number == max(chosen or ()):
            return number + 1
    if shown is None:
        raise Refused("frames" if film.damaged else "nothing")
    send({"times": times, "end": shown.time + shown.length, "damaged": film.damaged})
    return number + 1


def send_sound(file: BinaryIO, request: dict[str, Any]) -> None:
    """Send the sound."""
    for data in sound(Film(file, request)):
        send({}, [data])


def load_all_of_pyav() -> None:
    """Import the modules that PyAV imports when they are needed, while files may be opened."""
    for module in pkgutil.walk_packages(av.__path__, "av."):
        if not module.name.endswith(("__main__", "datasets")):
            importlib.import_module(module.name)


def confine(request: dict[str, Any]) -> None:
    """Bound time and memory, and forbid opening and writing files, where the system can do so."""
    try:
        import resource
    except ImportError:  # Windows
        return
    bounds = {
        resource.RLIMIT_AS: request["memory"],
        resource.RLIMIT_CPU: THREADS * request["cpu_seconds"],
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 3,  # those that are open
    }
    for kind, bound in bounds.items():
        hard = resource.getrlimit(kind)[1]
        bound = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        with contextlib.suppress(OSError, ValueError):  # not every system has every limit
            resource.setrlimit(kind, (bound, bound))


def main() -> None:
    """Answer the request."""
    request = json.loads(sys.argv[1])
    av.logging.set_level(av.logging.PANIC)
    load_all_of_pyav()
    confine(request)
    answer = {"frames": send_frames, "sound": send_sound}[request["task"]]
    try:
        answer(sys.stdin.buffer, request)
    except Refused as reason:
        send({"refused": str(reason)})
    except (FFmpegError, MemoryError, PermissionError):
        send({"refused": "nothing"})
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
