"""The one way to open a clip, whatever it is made of."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import InputError
from .clip import IMAGE_SUFFIXES, VIDEO_SUFFIXES, Clip, shortened
from .decoding import VideoClip
from .images import ImageClip, ImageFiles
from .limits import MIB, Limits, check_limit


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
        raise InputError(f"{shortened(path.name)!r} cannot be opened ({why}); check it.") from error


def _opened(path: Path, max_side: int | None, limits: Limits) -> Clip:
    suffix = path.suffix.lower()
    if path.is_dir():
        return ImageClip.from_folder(path, max_side, limits)
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
        return ImageClip.from_zip(path, max_side, limits)
    if suffix in IMAGE_SUFFIXES:
        return ImageClip(path.name, (path.stem,), ImageFiles([path]), max_side, limits)
    return VideoClip(path, max_side, limits)
