"""Reading and writing clips. Every frame that enters or leaves Bavos passes through here.

F frames in the clip, T of them analysed, H×W pixels. A clip is a video file, a folder or zip of
frames, a single picture, or an array. Video is decoded by the ffmpeg that imageio-ffmpeg ships.
Files are strangers' files: limits are checked before the work that they bound, and names are only
names.
"""

from __future__ import annotations

import io
import logging
import math
import os
import re
import stat
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np
from PIL import Image, ImageOps

from .errors import InputError
from .ffmpeg import Decoder, Encoder, container_of
from .files import part_of
from .limits import MIB, Limits, check_limit

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".webm", ".mkv", ".gif", ".avi")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
PICTURES_FPS = 24.0  # playing speed of a folder or zip of frames, as in DAVIS
MAX_FPS = 120.0  # browsers drop frames above this; such clips are written at 60

# What a picture may be, whatever its name says. Pillow knows others that start further programs.
_PICTURE_FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP")
_BYTES_PER_PIXEL = 8  # of the largest picture: 16 bits in each of four channels
_BYTES_PER_MEMBER = 512  # of a zip's directory
_LONGEST_NAME = 200  # bytes of a frame's name, for masks are saved under it
_DIGITS = 12  # of a number in a frame's name that is sorted by; more would only cost time
_MOST_CHOSEN = 256  # frames that ffmpeg picks by a list; of more, we pick
_DISCARD = 4  # flag of packets that a lossless trim has cut away
_NO_TIME = -(2**63)  # ffmpeg's "no time stamp"

# Pillow warns of oddities in pictures that it then reads, and of sizes that we check ourselves.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
logging.getLogger("PIL").addHandler(logging.NullHandler())  # else its errors go to stderr


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


def open_clip(
    source: str | os.PathLike[str],
    *,
    max_side: int | None = None,
    limits: Limits | None = None,
) -> Clip:
    """Open a video file, a folder or zip of frames, or a single picture.

    max_side: pixels to which the longer side of larger frames is shrunk; None for their own size.
    limits: what is taken; None for the defaults.

    Raises InputError with one sentence for anything that is not a readable clip within the limits.
    """
    path = Path(source)
    try:
        return _opened(path, max_side, limits or Limits())
    except OSError as error:
        why = error.strerror or "no reason given"
        raise InputError(f"{_short(path.name)!r} cannot be opened ({why}); check it.") from error


def _opened(path: Path, max_side: int | None, limits: Limits) -> Clip:
    suffix = path.suffix.lower()
    if path.is_dir():
        return PictureClip.from_folder(path, max_side, limits)
    if not path.is_file():
        raise InputError(f"There is no file or folder {path.name!r}; check the path.")
    size = path.stat().st_size
    if size == 0:
        raise InputError(f"{path.name!r} is empty; export the clip again.")
    if suffix not in (".zip", *IMAGE_SUFFIXES, *VIDEO_SUFFIXES):
        raise InputError(
            f"{path.name!r} is of a kind that is not read; give "
            f"{', '.join(s[1:] for s in VIDEO_SUFFIXES)}, a picture, or a zip or folder of frames."
        )
    check_limit(path.name, "has", size / MIB, "MiB", limits.file_mib, "give a shorter clip")
    if suffix == ".zip":
        return PictureClip.from_zip(path, max_side, limits)
    if suffix in IMAGE_SUFFIXES:
        return PictureClip(path.name, (path.stem,), _Files([path]), max_side, limits)
    return VideoClip(path, max_side, limits)


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
        self.frame_names = _numbered(len(self.times))
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
                _check_frames(self.name, len(report.shown), self._limits)
        if not report.shown:
            raise self._unreadable()
        if 0 in report.size:
            raise InputError(
                f"{self.name!r} holds frames that cannot be read; they are damaged, or larger than "
                f"the {self._limits.pixels / 1e6:g} million pixels allowed here."
            )
        _check_pixels(repr(self.name), report.size, self._limits)
        times = report.times()
        _check_seconds(self.name, times, self._limits)
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
        _check_pixels(repr(self.name), size, self._limits)
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


Reader = Callable[[int], bytes]  # the bytes of a picture, by its number


@dataclass(frozen=True)
class _Files:
    """Pictures that are files."""

    paths: Sequence[Path]

    @contextmanager
    def reader(self) -> Iterator[Reader]:
        """What reads them."""
        yield lambda index: self.paths[index].read_bytes()


@dataclass(frozen=True)
class _Zip:
    """Pictures in a zip."""

    path: Path
    entries: Sequence[zipfile.ZipInfo]

    @contextmanager
    def reader(self) -> Iterator[Reader]:
        """What reads them; no more of each than its directory says."""
        with _open_zip(self.path) as archive:
            yield lambda index: archive.read(self.entries[index])


class PictureClip:
    """A clip made of separate pictures, each read when it is needed."""

    def __init__(
        self,
        name: str,
        names: tuple[str, ...],
        source: _Files | _Zip,
        max_side: int | None = None,
        limits: Limits | None = None,
    ):
        if not names:
            raise InputError(f"{name!r} holds no frames; put jpg or png pictures into it.")
        if len(set(names)) < len(names):
            raise InputError(f"{name!r} holds two frames of one name; give each its own.")
        longest = max(names, key=len)
        if len(os.fsencode(longest)) > _LONGEST_NAME:
            raise InputError(f"Frame {_short(longest)!r} of {name!r} has too long a name.")
        self._limits = limits or Limits()
        self.times = np.arange(len(names)) / PICTURES_FPS
        _check_frames(name, len(names), self._limits)
        _check_seconds(name, self.times, self._limits)
        self.name = name
        self.frame_names = names
        self._source = source
        with source.reader() as read:
            self._full_size = self._picture(read, 0).shape[:2]
        self.size = shrunk(self._full_size, max_side)

    @classmethod
    def from_folder(
        cls, folder: Path, max_side: int | None = None, limits: Limits | None = None
    ) -> PictureClip:
        """All pictures of a folder, in natural order of their names."""
        limits = limits or Limits()
        files = [
            p
            for p in folder.iterdir()
            if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".") and p.is_file()
        ]
        for file in files:
            size = file.stat().st_size / MIB
            check_limit(file.name, "has", size, "MiB", limits.file_mib, "make it smaller")
        files.sort(key=lambda p: natural(p.name))
        names = tuple(path.stem for path in files)
        return cls.from_files(folder.name, names, files, max_side, limits)

    @classmethod
    def from_files(
        cls,
        name: str,
        names: tuple[str, ...],
        files: Sequence[Path],
        max_side: int | None = None,
        limits: Limits | None = None,
    ) -> PictureClip:
        """One picture file a frame, in the order given."""
        return cls(name, names, _Files(files), max_side, limits)

    @classmethod
    def from_zip(
        cls, path: Path, max_side: int | None = None, limits: Limits | None = None
    ) -> PictureClip:
        """All pictures of a zip, whatever folder they are in; nothing is extracted to disk."""
        limits = limits or Limits()
        entries = [e for e in _zip_entries(path, limits) if _is_picture(e)]
        entries.sort(key=lambda e: natural(e.filename))
        problem = _zip_problem(entries, limits)
        if problem:
            raise InputError(f"{path.name!r} holds {problem}; pack plain jpg or png frames.")
        unpacked = sum(e.file_size for e in entries) / path.stat().st_size
        check_limit(
            path.name, "unpacks to", unpacked, "times its size", limits.zip_ratio,
            "pack jpg or png frames",
        )  # fmt: skip
        names = tuple(_path_in_zip(e).stem for e in entries)
        return cls(path.name, names, _Zip(path, entries), max_side, limits)

    def read(self, indices: Sequence[int] | None = None) -> Iterator[np.ndarray]:
        """Frames (H, W, 3) uint8 RGB. Raises InputError when a frame differs in size."""
        with self._source.reader() as read:
            for index in range(len(self.times)) if indices is None else indices:
                frame = self._picture(read, index)
                if frame.shape[:2] != self._full_size:
                    raise InputError(
                        f"Frame {self.frame_names[index]!r} of {self.name!r} is "
                        f"{frame.shape[1]}×{frame.shape[0]}, the first is "
                        f"{self._full_size[1]}×{self._full_size[0]}; make all frames one size."
                    )
                if self.size != self._full_size:
                    frame = np.array(Image.fromarray(frame).resize(self.size[::-1]))
                yield frame

    def _picture(self, read: Reader, index: int) -> np.ndarray:
        what = f"Frame {self.frame_names[index]!r} of {self.name!r}"
        return decode_picture(lambda: read(index), what, self._limits)


def decode_picture(read: Callable[[], bytes], what: str, limits: Limits) -> np.ndarray:
    """A picture (H, W, 3) uint8 RGB, upright, from what `read` gives.

    what: how a message calls it. Raises InputError for all that is no picture within the limits.
    """
    try:
        with Image.open(io.BytesIO(read()), formats=_PICTURE_FORMATS) as image:
            _check_pixels(what, (image.height, image.width), limits)
            return np.array(ImageOps.exif_transpose(_eight_bit(image)).convert("RGB"))
    except InputError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(f"{what} has too many pixels; make it smaller.") from error
    except Exception as error:  # Pillow and zipfile raise whatever the bytes make them raise
        raise InputError(f"{what} cannot be read; export it again as jpg or png.") from error


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


def _eight_bit(image: Image.Image) -> Image.Image:
    """Pillow clips 16-bit grey to white when it converts; scale it instead."""
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.float64)
        return Image.fromarray((values / 257).clip(0, 255).astype(np.uint8))
    return image


def _check_pixels(name: str, size: tuple[int, int], limits: Limits) -> None:
    if size[0] * size[1] > limits.pixels:
        raise InputError(
            f"{name} is {size[1]}×{size[0]}, more than the {limits.pixels / 1e6:g} million "
            "pixels allowed here; make it smaller."
        )


def _check_frames(name: str, frames: int, limits: Limits) -> None:
    check_limit(name, "has", frames, "frames", limits.frames, "give a shorter clip")


def _check_seconds(name: str, times: np.ndarray, limits: Limits) -> None:
    check_limit(name, "lasts", float(times[-1]), "s", limits.seconds, "cut it")


# ---- zips ---------------------------------------------------------------------------------------


class _SmallReads(io.FileIO):
    """A file that gives only so much at once: zipfile reads a directory as long as the zip says."""

    def __init__(self, path: Path, most: int):
        super().__init__(path)
        self._most = most

    def read(self, size: int | None = -1) -> bytes:
        """As files do. Raises InputError for more than is given at once."""
        if size is not None and size > self._most:
            raise InputError(f"{Path(str(self.name)).name!r} holds too many files; pack fewer.")
        return super().read(-1 if size is None else size) or b""


def _zip_entries(path: Path, limits: Limits) -> list[zipfile.ZipInfo]:
    """All files of a zip. Raises InputError for what is no zip, and for too many of them."""
    most = limits.zip_members * _BYTES_PER_MEMBER
    with _SmallReads(path, most) as file, _open_zip(path, file) as archive:
        entries = archive.infolist()
    count = len(entries)
    check_limit(path.name, "holds", count, "files", limits.zip_members, "pack fewer")
    return entries


def _open_zip(path: Path, file: io.FileIO | None = None) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file or path)
    except InputError:
        raise
    except Exception as error:  # zipfile raises whatever the bytes make it raise
        raise InputError(f"{path.name!r} is not a readable zip; pack it again.") from error


def _zip_problem(entries: Sequence[zipfile.ZipInfo], limits: Limits) -> str | None:
    """What is wrong with the pictures of a zip, or None."""
    if any(e.flag_bits & 0x1 for e in entries):
        return "files under a password"
    if any(e.file_size > _BYTES_PER_PIXEL * limits.pixels + MIB for e in entries):
        return "frames that are too large"
    if any(stat.S_ISLNK(e.external_attr >> 16) for e in entries):
        return "links"
    return None


def _path_in_zip(entry: zipfile.ZipInfo) -> PurePosixPath:
    return PurePosixPath(entry.filename.replace("\\", "/"))  # old programs write backslashes


def _is_picture(entry: zipfile.ZipInfo) -> bool:
    path = _path_in_zip(entry)
    hidden = any(p.startswith((".", "__MACOSX")) for p in path.parts if p != "..")
    # A file may have no name at all, of which zipfile cannot say whether it is a folder.
    return path.suffix.lower() in IMAGE_SUFFIXES and not hidden and not entry.is_dir()


# ---- names and numbers --------------------------------------------------------------------------


def _short(name: str) -> str:
    """A name that fits into a sentence."""
    return name if len(name) <= 80 else f"{name[:60]}…{name[-15:]}"


def natural(name: str) -> list[tuple[int, str]]:
    """Sort key under which frame2 comes before frame10."""
    parts = re.split(rf"(\d{{1,{_DIGITS}}})", name)
    return [(int(p), "") if i % 2 else (-1, p) for i, p in enumerate(parts)]


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(f"{i:05d}" for i in range(count))


def _fraction(text: str) -> float:
    over, under = text.strip().split("/")
    return int(over) / (int(under) or 1)
