"""Zips of images.

They are not trusted: limits are checked before the work that they bound, nothing is extracted to
disk, and names are never used as paths.
"""

from __future__ import annotations

import contextlib
import io
import re
import stat
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import numpy as np

from .clip import IMAGE_SUFFIXES
from .errors import InputError
from .images import ImageClip, Reader, frame_of, natural
from .limits import MIB, Limits, check_limit
from .pictures import decode_image

_BYTES_PER_PIXEL = 8  # of the largest image: 16 bits in each of four channels
_BYTES_PER_MEMBER = 512  # of a zip's directory
_UTF8 = 0x800  # flag of names in UTF-8; without it zipfile reads them as code page 437

_BIG5 = re.compile(b"([\0-\x7f]|[\xa4-\xc6][\x40-\x7e\xa1-\xfe])*")  # its frequent characters


def open_zip(path: Path, limits: Limits) -> ImageClip:
    """Return a clip of all images of a zip, in any folder, in natural order of their names.

    Raise InputError for anything but a zip of readable images within the limits.
    """
    entries = _entries(path, limits)
    named = [(place, e) for place, e in zip(_places(entries), entries, strict=True)
             if _is_image(place) and not e.is_dir()]  # fmt: skip
    named.sort(key=lambda pair: natural(str(pair[0])))
    names = tuple(place.stem for place, _ in named)
    images = [entry for _, entry in named]
    _check(path, images, limits)

    @contextmanager
    def source() -> Iterator[Reader]:
        with _opened(path) as archive:  # reads no more of a file than its entry says
            yield lambda index: decoded(archive, index)

    def decoded(archive: zipfile.ZipFile, index: int) -> np.ndarray:
        what = frame_of(names[index], path.name)
        try:
            data = archive.read(images[index])
        except Exception as error:  # zipfile may raise anything on damaged bytes
            raise InputError(f"{what} cannot be read; pack it again.") from error
        return decode_image(data, what, limits)

    return ImageClip.of(path.name, names, source, limits)


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


def _entries(path: Path, limits: Limits) -> list[zipfile.ZipInfo]:
    """Return all entries of a zip. Raise InputError for any other file, and for too many."""
    most = limits.zip_members * _BYTES_PER_MEMBER
    with _SmallReads(path, most) as file, _opened(path, file) as archive:
        entries = archive.infolist()
    check_limit(path.name, "holds", len(entries), "files", limits.zip_members, "pack fewer")
    return entries


def _opened(path: Path, file: io.FileIO | None = None) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file or path)
    except InputError:
        raise
    except Exception as error:  # zipfile may raise anything on damaged bytes
        raise InputError(f"{path.name!r} is not a readable zip; pack it again.") from error


def _check(path: Path, entries: Sequence[zipfile.ZipInfo], limits: Limits) -> None:
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


def _places(entries: Sequence[zipfile.ZipInfo]) -> list[PurePosixPath]:
    """Return the paths inside the zip; names without the flag of UTF-8 share one other encoding."""
    old = [entry.filename.encode("cp437") for entry in entries if not entry.flag_bits & _UTF8]
    encoding = _encoding(b"/".join(old))
    return [
        # old programs write backslashes
        PurePosixPath(_decoded(entry, encoding).replace("\\", "/"))
        for entry in entries
    ]


def _decoded(entry: zipfile.ZipInfo, encoding: str) -> str:
    if entry.flag_bits & _UTF8:
        return entry.filename
    return entry.filename.encode("cp437").decode(encoding)


def _encoding(names: bytes) -> str:
    """Guess the encoding of names that do not tell it: UTF-8, Chinese, Japanese, or as zipfile."""
    with contextlib.suppress(UnicodeDecodeError):
        names.decode()
        return "utf-8"
    with contextlib.suppress(UnicodeDecodeError):
        if re.search("[\u3040-\u30fa]", names.decode("cp932")):  # full-width kana
            return "cp932"
    with contextlib.suppress(UnicodeDecodeError):
        names.decode("gb2312")
        return "gb18030"
    if re.search(b"[\xa6-\xe0\xe2-\xff]", names):  # no letters of code page 437
        if _BIG5.fullmatch(names):
            return "big5"
        with contextlib.suppress(UnicodeDecodeError):
            names.decode("gb18030")
            return "gb18030"
    return "cp437"


def _is_image(place: PurePosixPath) -> bool:
    hidden = any(part.startswith((".", "__MACOSX")) for part in place.parts if part != "..")
    return place.suffix.lower() in IMAGE_SUFFIXES and not hidden
