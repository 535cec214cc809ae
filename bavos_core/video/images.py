"""Clips made of separate images: a folder, a zip, or a single one.

The files are not trusted: limits are checked before the work that they bound, and names are never
used as paths.
"""

from __future__ import annotations

import io
import os
import re
import stat
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, ImageOps

from ..errors import InputError
from .clip import IMAGE_SUFFIXES, IMAGES_FPS, resize, shortened, shrunk
from .limits import MIB, Limits, check_frames, check_limit, check_pixels, check_seconds

_FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP")  # Pillow knows others that start programs
_BYTES_PER_PIXEL = 8  # of the largest image: 16 bits in each of four channels
_BYTES_PER_MEMBER = 512  # of a zip's directory
_LONGEST_NAME = 200  # bytes of a frame's name, for masks are saved under it
_DIGITS = 12  # of a number in a frame's name that is sorted by; more would only cost time

Reader = Callable[[int], bytes]  # the bytes of an image, by its number
Source = Callable[[], AbstractContextManager[Reader]]  # opens whatever holds the images


@dataclass(frozen=True)
class ImageClip:
    """A clip made of separate images, each read when it is needed."""

    name: str
    frame_names: tuple[str, ...]
    source: Source
    limits: Limits
    full_size: tuple[int, int]  # (H, W) that every image must have
    size: tuple[int, int]  # (H, W) of the frames that are read

    @classmethod
    def of(cls, name: str, names: tuple[str, ...], source: Source, limits: Limits) -> ImageClip:
        """Make a clip of images under their frames' names; the first one is read for its size."""
        if not names:
            raise InputError(f"{name!r} holds no frames; put jpg or png images into it.")
        if len(set(names)) < len(names):
            raise InputError(f"{name!r} holds two frames of one name; give each its own.")
        longest = max(names, key=len)
        if len(os.fsencode(longest)) > _LONGEST_NAME:
            raise InputError(
                f"The name of frame {shortened(longest)!r} of {name!r} is too long; shorten it."
            )
        clip = cls(name, names, source, limits, (0, 0), (0, 0))
        check_frames(name, len(names), limits)
        check_seconds(name, clip.times, limits)
        with source() as read:
            size = clip._frame(read, 0).shape[:2]
        return replace(clip, full_size=size, size=size)

    @classmethod
    def from_files(
        cls,
        name: str,
        names: tuple[str, ...],
        files: Sequence[Path],
        limits: Limits | None = None,
    ) -> ImageClip:
        """Make a clip of one image file per frame, in the order given."""

        @contextmanager
        def source() -> Iterator[Reader]:
            yield lambda index: files[index].read_bytes()

        return cls.of(name, names, source, limits or Limits())

    @classmethod
    def from_folder(cls, folder: Path, limits: Limits) -> ImageClip:
        """Make a clip of all images of a folder, in natural order of their names."""
        files = [
            p
            for p in folder.iterdir()
            if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".") and p.is_file()
        ]
        for file in files:
            size = file.stat().st_size / MIB
            check_limit(file.name, "has", size, "MiB", limits.file_mib, "make it smaller")
        files.sort(key=lambda p: natural(p.name))
        return cls.from_files(folder.name, tuple(path.stem for path in files), files, limits)

    @classmethod
    def from_zip(cls, path: Path, limits: Limits) -> ImageClip:
        """Make a clip of all images of a zip, in any folder; nothing is extracted to disk."""
        entries = [e for e in _zip_entries(path, limits) if _is_image(e)]
        entries.sort(key=lambda e: natural(e.filename))
        _check_entries(path, entries, limits)

        @contextmanager
        def source() -> Iterator[Reader]:
            with _open_zip(path) as archive:  # reads no more of a file than its entry says
                yield lambda index: archive.read(entries[index])

        return cls.of(path.name, tuple(_path_in_zip(e).stem for e in entries), source, limits)

    @property
    def times(self) -> np.ndarray:
        """Seconds at which each frame appears, (F,) float64."""
        return np.arange(len(self.frame_names)) / IMAGES_FPS

    def resized(self, max_side: int | None) -> ImageClip:
        """Return the clip with its frames shrunk, as `Clip.resized` says."""
        return replace(self, size=shrunk(self.size, max_side))

    def read(self, indices: Sequence[int] | None = None) -> Iterator[np.ndarray]:
        """Yield frames (H, W, 3) uint8 RGB. Raise InputError when a frame differs in size."""
        with self.source() as read:
            for index in range(len(self.frame_names)) if indices is None else indices:
                frame = self._frame(read, index)
                if frame.shape[:2] != self.full_size:
                    raise InputError(
                        f"Frame {self.frame_names[index]!r} of {self.name!r} is "
                        f"{frame.shape[1]}×{frame.shape[0]}, the first is "
                        f"{self.full_size[1]}×{self.full_size[0]}; make all frames one size."
                    )
                yield resize(frame, self.size)

    def _frame(self, read: Reader, index: int) -> np.ndarray:
        what = f"Frame {self.frame_names[index]!r} of {self.name!r}"
        return decode_image(lambda: read(index), what, self.limits)


def decode_image(read: Callable[[], bytes], what: str, limits: Limits) -> np.ndarray:
    """Decode the bytes that `read` returns to an upright image (H, W, 3) uint8 RGB.

    what: its name in messages. Raise InputError for anything but an image within the limits.
    """
    try:
        with Image.open(io.BytesIO(read()), formats=_FORMATS) as image:
            check_pixels(what, (image.height, image.width), limits)
            return np.array(ImageOps.exif_transpose(_eight_bit(image)).convert("RGB"))
    except InputError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(f"{what} has too many pixels; make it smaller.") from error
    except Exception as error:  # Pillow and zipfile may raise anything on damaged bytes
        raise InputError(f"{what} cannot be read; export it again as jpg or png.") from error


def _eight_bit(image: Image.Image) -> Image.Image:
    """Scale 16-bit grey to 8 bits, which Pillow would clip to white."""
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.float64)
        return Image.fromarray((values / 257).clip(0, 255).astype(np.uint8))
    return image


class _SmallReads(io.FileIO):
    """A file that bounds single reads: zipfile reads a directory as long as the zip says it is."""

    def __init__(self, path: Path, most: int):
        super().__init__(path)
        self._most = most

    def read(self, size: int | None = -1) -> bytes:
        """Read as files do. Raise InputError for more bytes at once than are allowed."""
        if size is not None and size > self._most:
            raise InputError(f"{Path(str(self.name)).name!r} holds too many files; pack fewer.")
        return super().read(-1 if size is None else size) or b""


def _zip_entries(path: Path, limits: Limits) -> list[zipfile.ZipInfo]:
    """Return all entries of a zip. Raise InputError for any other file, and for too many."""
    most = limits.zip_members * _BYTES_PER_MEMBER
    with _SmallReads(path, most) as file, _open_zip(path, file) as archive:
        entries = archive.infolist()
    check_limit(path.name, "holds", len(entries), "files", limits.zip_members, "pack fewer")
    return entries


def _open_zip(path: Path, file: io.FileIO | None = None) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file or path)
    except InputError:
        raise
    except Exception as error:  # zipfile may raise anything on damaged bytes
        raise InputError(f"{path.name!r} is not a readable zip; pack it again.") from error


def _check_entries(path: Path, entries: Sequence[zipfile.ZipInfo], limits: Limits) -> None:
    """Raise InputError when a zip's images must not or cannot be read."""
    largest = _BYTES_PER_PIXEL * limits.pixels + MIB
    problems = {
        "files under a password": any(e.flag_bits & 0x1 for e in entries),
        "frames that are too large": any(e.file_size > largest for e in entries),
        "links": any(stat.S_ISLNK(e.external_attr >> 16) for e in entries),
    }
    for problem, found in problems.items():
        if found:
            raise InputError(f"{path.name!r} holds {problem}; pack plain jpg or png frames.")
    ratio = sum(e.file_size for e in entries) / path.stat().st_size
    remedy = "pack jpg or png frames"
    check_limit(path.name, "unpacks to", ratio, "times its size", limits.zip_ratio, remedy)


def _path_in_zip(entry: zipfile.ZipInfo) -> PurePosixPath:
    return PurePosixPath(entry.filename.replace("\\", "/"))  # old programs write backslashes


def _is_image(entry: zipfile.ZipInfo) -> bool:
    path = _path_in_zip(entry)
    hidden = any(p.startswith((".", "__MACOSX")) for p in path.parts if p != "..")
    # An entry may have no name at all, for which zipfile cannot tell whether it is a folder.
    return path.suffix.lower() in IMAGE_SUFFIXES and not hidden and not entry.is_dir()


def natural(name: str) -> list[tuple[int, str]]:
    """Return a sort key under which frame2 comes before frame10."""
    parts = re.split(rf"(\d{{1,{_DIGITS}}})", name)
    return [(int(p), "") if i % 2 else (-1, p) for i, p in enumerate(parts)]
