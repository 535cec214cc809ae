"""Reading and writing clips. Every frame that enters or leaves Bavos passes through here.

F frames in the clip, T of them analysed, H×W pixels. A clip is a video file, a folder or zip of
frames, a single picture, or an array. Video is decoded by the ffmpeg that imageio-ffmpeg ships.
"""

from __future__ import annotations

import io
import logging
import os
import re
import subprocess
import zipfile
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import imageio_ffmpeg
import numpy as np
from PIL import Image, ImageOps

from .errors import InputError

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".webm", ".mkv", ".gif", ".avi")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
PICTURES_FPS = 24.0  # playing speed of a folder or zip of frames, as in DAVIS
MAX_FPS = 120.0  # browsers drop frames above this; such clips are written at 60
MAX_PIXELS = 8192 * 8192  # of one frame

# Only plain containers on the local disk: a play list must not make ffmpeg open other files.
_SAFE_INPUT = [
    "-protocol_whitelist", "file",
    "-format_whitelist", "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,gif,avi",
]  # fmt: skip
_PROBE_SECONDS = 60
_DISCARD = 4  # flag of packets that a lossless trim has cut away
_NO_TIME = -(2**63)  # ffmpeg's "no time stamp"

# It warns whenever a phone's rotation flag is obeyed, which is what we want.
logging.getLogger("imageio_ffmpeg").setLevel(logging.ERROR)


class Clip(Protocol):
    """A sequence of frames that can be read more than once."""

    @property
    def name(self) -> str:
        """File or folder name, for people."""

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) pixels, upright."""

    @property
    def times(self) -> np.ndarray:
        """Seconds at which each frame appears, (F,) float64, from 0, rising."""

    @property
    def frame_names(self) -> tuple[str, ...]:
        """Name of each frame without suffix, (F,); masks are saved under these."""

    def read(self, indices: Sequence[int] | None = None) -> Iterator[np.ndarray]:
        """Frames (H, W, 3) uint8 RGB, all or those of rising `indices`."""


def open_clip(source: str | os.PathLike[str], *, max_side: int | None = None) -> Clip:
    """Open a video file, a folder or zip of frames, or a single picture.

    max_side: pixels to which the longer side of larger frames is shrunk; None for their own size.

    Raises InputError with one sentence for anything that is not a readable clip.
    """
    path = Path(source)
    suffix = path.suffix.lower()
    if path.is_dir():
        return PictureClip.from_folder(path, max_side)
    if not path.is_file():
        raise InputError(f"There is no file or folder {path.name!r}; check the path.")
    if path.stat().st_size == 0:
        raise InputError(f"{path.name!r} is empty; export the clip again.")
    if suffix == ".zip":
        return PictureClip.from_zip(path, max_side)
    if suffix in IMAGE_SUFFIXES:
        return PictureClip(path.name, (path.stem,), (path.read_bytes,), max_side)
    if suffix in VIDEO_SUFFIXES:
        return VideoClip(path, max_side)
    raise InputError(
        f"{path.name!r} is of a kind that is not read; give "
        f"{', '.join(s[1:] for s in VIDEO_SUFFIXES)}, a picture, or a zip or folder of frames."
    )


class VideoClip:
    """A video file. Frames are streamed from ffmpeg, upright and with square pixels."""

    def __init__(self, path: Path, max_side: int | None = None):
        self.name = path.name
        self._path = path.resolve()  # absolute: a leading dash is no option for ffmpeg
        self.times = self._probe()
        self.frame_names = _numbered(len(self.times))
        self._scale = "round(iw*sar):ih"  # stored pixels of some cameras are not square
        with closing(self._decode("null")) as stream:
            width, height = next(stream)["size"]
        _check_pixels(self.name, (height, width))
        self.size = shrunk((height, width), max_side)
        self._scale = f"{self.size[1]}:{self.size[0]}"

    def read(self, indices: Sequence[int] | None = None) -> Iterator[np.ndarray]:
        """Frames (H, W, 3) uint8 RGB. A damaged tail ends the clip early; no frame is an error."""
        shape = (*self.size, 3)
        wanted = "null" if indices is None else _select(indices)
        count = 0
        with closing(self._decode(wanted)) as stream:
            next(stream)
            try:
                for data in stream:
                    yield np.frombuffer(bytearray(data), np.uint8).reshape(shape)  # writable
                    count += 1
            except RuntimeError:  # ffmpeg stopped inside a frame; what came before is sound
                pass
        if not count:
            raise self._unreadable()

    def _decode(self, video_filter: str) -> Generator[Any]:
        """imageio-ffmpeg's stream: metadata first, then the bytes of each frame."""
        return imageio_ffmpeg.read_frames(
            str(self._path),
            input_params=["-v", "info", *_SAFE_INPUT],
            output_params=[
                "-map", "0:v:0", "-fps_mode", "passthrough",
                "-vf", f"{video_filter},scale={self._scale},setsar=1",
            ],
        )  # fmt: skip

    def _probe(self) -> np.ndarray:
        """Seconds at which every frame appears, read from the packets without decoding them."""
        command = [
            imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *_SAFE_INPUT, "-i", str(self._path),
            "-map", "0:v:0", "-c", "copy", "-f", "framecrc", "-",
        ]  # fmt: skip
        try:
            done = subprocess.run(
                command, capture_output=True, stdin=subprocess.DEVNULL, timeout=_PROBE_SECONDS
            )
        except subprocess.TimeoutExpired as error:
            raise InputError(
                f"{self.name!r} takes too long to read; give a shorter clip."
            ) from error
        return _packet_times(done.stdout.decode("ascii", "replace"), self._unreadable())

    def _unreadable(self) -> InputError:
        return InputError(
            f"{self.name!r} holds no video that can be read; "
            "it may be damaged or sound only. Export it again as mp4."
        )


class PictureClip:
    """A clip made of separate pictures, each read when it is needed."""

    def __init__(
        self,
        name: str,
        names: tuple[str, ...],
        readers: tuple[Callable[[], bytes], ...],
        max_side: int | None = None,
    ):
        if not readers:
            raise InputError(f"{name!r} holds no frames; put jpg or png pictures into it.")
        if len(set(names)) < len(names):
            raise InputError(f"{name!r} holds two frames of one name; give each its own.")
        self.name = name
        self.frame_names = names
        self._readers = readers
        self.times = np.arange(len(readers)) / PICTURES_FPS
        self._full_size = self._picture(0).shape[:2]
        self.size = shrunk(self._full_size, max_side)

    @classmethod
    def from_folder(cls, folder: Path, max_side: int | None = None) -> PictureClip:
        """All pictures of a folder, in natural order of their names."""
        files = [
            p
            for p in folder.iterdir()
            if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".")
        ]
        files.sort(key=lambda p: natural(p.name))
        return cls(folder.name, tuple(p.stem for p in files), tuple(p.read_bytes for p in files),
                   max_side)  # fmt: skip

    @classmethod
    def from_zip(cls, path: Path, max_side: int | None = None) -> PictureClip:
        """All pictures of a zip, whatever folder they are in; nothing is extracted to disk."""
        try:
            with zipfile.ZipFile(path) as archive:
                entries = [e for e in archive.infolist() if _is_picture(e)]
        except zipfile.BadZipFile as error:
            raise InputError(f"{path.name!r} is not a readable zip; pack it again.") from error
        entries.sort(key=lambda e: natural(e.filename))
        too_big = any(e.file_size > 4 * MAX_PIXELS for e in entries)
        if too_big or any(e.flag_bits & 0x1 for e in entries):
            problem = "frames that are too large" if too_big else "a password"
            raise InputError(f"{path.name!r} has {problem}; pack plain jpg or png frames.")
        names = tuple(Path(e.filename).stem for e in entries)
        readers = tuple(_zip_reader(path, e.filename) for e in entries)
        return cls(path.name, names, readers, max_side)

    def read(self, indices: Sequence[int] | None = None) -> Iterator[np.ndarray]:
        """Frames (H, W, 3) uint8 RGB. Raises InputError when a frame differs in size."""
        for index in range(len(self._readers)) if indices is None else indices:
            frame = self._picture(index)
            if frame.shape[:2] != self._full_size:
                raise InputError(
                    f"Frame {self.frame_names[index]!r} of {self.name!r} is "
                    f"{frame.shape[1]}×{frame.shape[0]}, the first is "
                    f"{self._full_size[1]}×{self._full_size[0]}; make all frames one size."
                )
            if self.size != self._full_size:
                frame = np.array(Image.fromarray(frame).resize(self.size[::-1]))
            yield frame

    def _picture(self, index: int) -> np.ndarray:
        try:
            with Image.open(io.BytesIO(self._readers[index]())) as image:
                _check_pixels(self.frame_names[index], (image.height, image.width))
                return np.array(ImageOps.exif_transpose(_eight_bit(image)).convert("RGB"))
        except InputError:
            raise
        except Image.DecompressionBombError as error:
            raise InputError(
                f"Frame {self.frame_names[index]!r} of {self.name!r} has too many pixels; "
                "make it smaller."
            ) from error
        except (OSError, SyntaxError, ValueError, zipfile.BadZipFile) as error:
            raise InputError(
                f"Frame {self.frame_names[index]!r} of {self.name!r} cannot be read; "
                "export it again."
            ) from error


@dataclass(frozen=True)
class ArrayClip:
    """Frames that are already in memory."""

    frames: np.ndarray  # (F, H, W, 3) uint8 RGB
    times: np.ndarray  # (F,)
    frame_names: tuple[str, ...]
    name: str = "clip"

    @classmethod
    def of(cls, frames: np.ndarray, *, fps: float = PICTURES_FPS) -> ArrayClip:
        """Raises InputError for anything but (F ≥ 1, H, W, 3) uint8."""
        if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not frames.size:
            raise InputError(
                f"Frames must be (frames, height, width, 3) uint8 RGB, not {frames.shape} "
                f"{frames.dtype}."
            )
        return cls(frames, np.arange(len(frames)) / fps, _numbered(len(frames)))

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.frames.shape[1], self.frames.shape[2]

    def read(self, indices: Sequence[int] | None = None) -> Iterator[np.ndarray]:
        """Frames (H, W, 3) uint8 RGB."""
        return iter(self.frames if indices is None else self.frames[list(indices)])


def shrunk(size: tuple[int, int], max_side: int | None) -> tuple[int, int]:
    """(H, W) with its longer side at most `max_side`."""
    factor = min(1.0, (max_side or max(size)) / max(size))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def sample_indices(total: int, wanted: int) -> np.ndarray:
    """`wanted` of `total` frames, spread evenly, first and last included: (T,) int64, rising."""
    if wanted >= total:
        return np.arange(total)
    if wanted == 1:
        return np.array([total // 2])
    return np.linspace(0, total - 1, wanted).round().astype(np.int64)


def playback(times: np.ndarray) -> tuple[float, np.ndarray]:
    """Frame rate and order in which to show frames so that each appears at its own time.

    A clip of constant rate is shown frame by frame. A variable rate (screen recordings, gifs) is
    laid on a constant grid of at most 60 a second, repeating frames, since raw frames piped to an
    encoder carry no times.
    """
    if len(times) < 2 or times[-1] <= 0:
        return PICTURES_FPS, np.arange(len(times))
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
    The file appears under its name only when all went well; otherwise nothing is left.
    """

    def __init__(self, path: Path, *, size: tuple[int, int], fps: float):
        self._path = path
        self._part = path.with_name(f".{path.stem}.part{path.suffix}")
        self._even = (size[0] + size[0] % 2, size[1] + size[1] % 2)
        self._encoder = imageio_ffmpeg.write_frames(
            str(self._part.resolve()),
            self._even[::-1],
            fps=fps,
            codec="libx264",
            quality=None,
            macro_block_size=2,
            ffmpeg_log_level="error",
            output_params=["-crf", "20", "-preset", "veryfast", "-movflags", "+faststart"],
        )

    def __enter__(self) -> VideoWriter:
        self._encoder.send(None)
        return self

    def write(self, frame: np.ndarray) -> None:
        """Append a frame (H, W, 3) uint8."""
        below, right = self._even[0] - frame.shape[0], self._even[1] - frame.shape[1]
        if below or right:
            frame = np.pad(frame, ((0, below), (0, right), (0, 0)), mode="edge")
        self._encoder.send(np.ascontiguousarray(frame))

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self._encoder.close()
            if kind is None:
                self._part.replace(self._path)
        finally:
            self._part.unlink(missing_ok=True)


def _packet_times(report: str, unreadable: InputError) -> np.ndarray:
    """Times of all frames that will be shown, from ffmpeg's framecrc report, (F,) seconds from 0.

    A packet's line is: stream, dts, pts, duration, size, checksum and, unless it is a plain key
    frame, flags. Raises `unreadable` when there is none.
    """
    lines = report.splitlines()
    packets = [line.split(",") for line in lines if line and not line.startswith("#")]
    shown = [p for p in packets if not (len(p) > 6 and _flags(p[6]) & _DISCARD)]
    if not shown:
        raise unreadable
    unit = next((line.split(":")[1] for line in lines if line.startswith("#tb 0")), "1/1")
    times = np.array([int(p[2]) for p in shown])
    if (times == _NO_TIME).any():  # avi stores no presentation times, only the order of packets
        times = np.array([int(p[1]) for p in shown])
    seconds = np.sort(times) * _fraction(unit)
    return np.asarray(seconds - seconds[0], np.float64)


def _flags(field: str) -> int:
    """Flags of a packet, written as F=0x5."""
    return int(field.split("=")[1], 16)


def _select(indices: Sequence[int]) -> str:
    """ffmpeg filter that lets only these frames through, so that the rest are never piped."""
    return "select='" + "+".join(f"eq(n,{int(i)})" for i in indices) + "'"


def _eight_bit(image: Image.Image) -> Image.Image:
    """Pillow clips 16-bit grey to white when it converts; scale it instead."""
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.float64)
        return Image.fromarray((values / 257).clip(0, 255).astype(np.uint8))
    return image


def _check_pixels(name: str, size: tuple[int, int]) -> None:
    if size[0] * size[1] > MAX_PIXELS:
        raise InputError(
            f"{name!r} is {size[1]}×{size[0]} pixels, more than is read; make it smaller."
        )


def _is_picture(entry: zipfile.ZipInfo) -> bool:
    path = Path(entry.filename)
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
    return not entry.is_dir() and not hidden and path.suffix.lower() in IMAGE_SUFFIXES


def _zip_reader(path: Path, entry: str) -> Callable[[], bytes]:
    def read() -> bytes:
        with zipfile.ZipFile(path) as archive:
            return archive.read(entry)

    return read


def natural(name: str) -> list[tuple[int, str]]:
    """Sort key under which frame2 comes before frame10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(f"{i:05d}" for i in range(count))


def _fraction(text: str) -> float:
    over, under = text.strip().split("/")
    return int(over) / int(under)
