"""Clips made of separate pictures: a folder, a zip, or a single one.

Files are strangers' files: limits are checked before the work that they bound, and names are only
names.
"""

from __future__ import annotations

import io
import logging
import os
import re
import stat
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, ImageOps

from ..errors import InputError
from .clip import IMAGE_SUFFIXES, IMAGES_FPS, shortened, shrunk
from .limits import MIB, Limits, check_frames, check_limit, check_pixels, check_seconds

# What a picture may be, whatever its name says. Pillow knows others that start further programs.
_PICTURE_FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP")
_BYTES_PER_PIXEL = 8  # of the largest picture: 16 bits in each of four channels
_BYTES_PER_MEMBER = 512  # of a zip's directory
_LONGEST_NAME = 200  # bytes of a frame's name, for masks are saved under it
_DIGITS = 12  # of a number in a frame's name that is sorted by; more would only cost time


# Pillow warns of oddities in pictures that it then reads, and of sizes that we check ourselves.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
logging.getLogger("PIL").addHandler(logging.NullHandler())  # else its errors go to stderr

Reader = Callable[[int], bytes]  # the bytes of a picture, by its number


@dataclass(frozen=True)
class ImageFiles:
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


class ImageClip:
    """A clip made of separate pictures, each read when it is needed."""

    def __init__(
        self,
        name: str,
        names: tuple[str, ...],
        source: ImageFiles | _Zip,
        max_side: int | None = None,
        limits: Limits | None = None,
    ):
        if not names:
            raise InputError(f"{name!r} holds no frames; put jpg or png pictures into it.")
        if len(set(names)) < len(names):
            raise InputError(f"{name!r} holds two frames of one name; give each its own.")
        longest = max(names, key=len)
        if len(os.fsencode(longest)) > _LONGEST_NAME:
            raise InputError(f"Frame {shortened(longest)!r} of {name!r} has too long a name.")
        self._limits = limits or Limits()
        self.times = np.arange(len(names)) / IMAGES_FPS
        check_frames(name, len(names), self._limits)
        check_seconds(name, self.times, self._limits)
        self.name = name
        self.frame_names = names
        self._source = source
        with source.reader() as read:
            self._full_size = self._picture(read, 0).shape[:2]
        self.size = shrunk(self._full_size, max_side)

    @classmethod
    def from_folder(
        cls, folder: Path, max_side: int | None = None, limits: Limits | None = None
    ) -> ImageClip:
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
    ) -> ImageClip:
        """One picture file a frame, in the order given."""
        return cls(name, names, ImageFiles(files), max_side, limits)

    @classmethod
    def from_zip(
        cls, path: Path, max_side: int | None = None, limits: Limits | None = None
    ) -> ImageClip:
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
        return decode_image(lambda: read(index), what, self._limits)


def decode_image(read: Callable[[], bytes], what: str, limits: Limits) -> np.ndarray:
    """A picture (H, W, 3) uint8 RGB, upright, from what `read` gives.

    what: how a message calls it. Raises InputError for all that is no picture within the limits.
    """
    try:
        with Image.open(io.BytesIO(read()), formats=_PICTURE_FORMATS) as image:
            check_pixels(what, (image.height, image.width), limits)
            return np.array(ImageOps.exif_transpose(_eight_bit(image)).convert("RGB"))
    except InputError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(f"{what} has too many pixels; make it smaller.") from error
    except Exception as error:  # Pillow and zipfile raise whatever the bytes make them raise
        raise InputError(f"{what} cannot be read; export it again as jpg or png.") from error


def _eight_bit(image: Image.Image) -> Image.Image:
    """Pillow clips 16-bit grey to white when it converts; scale it instead."""
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.float64)
        return Image.fromarray((values / 257).clip(0, 255).astype(np.uint8))
    return image


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


def natural(name: str) -> list[tuple[int, str]]:
    """Sort key under which frame2 comes before frame10."""
    parts = re.split(rf"(\d{{1,{_DIGITS}}})", name)
    return [(int(p), "") if i % 2 else (-1, p) for i, p in enumerate(parts)]
