"""Opening clips of any kind."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import InputError
from .clip import IMAGE_SUFFIXES, VIDEO_SUFFIXES, Clip, shortened
from .decoding import VideoClip
from .images import ImageClip
from .limits import MIB, Limits, check_limit


def open_clip(
    source: str | os.PathLike[str],
    *,
    max_side: int | None = None,
    limits: Limits | None = None,
) -> Clip:
    """Open a video file, a folder or zip of frames, or a single image.

    max_side: as for `Clip.resized`, which gives the clip in another size without opening it again.
    limits: None for the defaults.

    Raise InputError with one sentence for anything that is not a readable clip within the limits.
    """
    path = Path(source)
    try:
        return _opened(path, limits or Limits()).resized(max_side)
    except OSError as error:
        why = error.strerror or "no reason given"
        raise InputError(f"{shortened(path.name)!r} cannot be opened ({why}); check it.") from error


def _opened(path: Path, limits: Limits) -> Clip:
    suffix = path.suffix.lower()
    if path.is_dir():
        return ImageClip.from_folder(path, limits)
    if not path.is_file():
        raise InputError(f"There is no file or folder {path.name!r}; check the path.")
    size = path.stat().st_size
    if size == 0:
        raise InputError(f"{path.name!r} is empty; export the clip again.")
    if suffix not in (".zip", *IMAGE_SUFFIXES, *VIDEO_SUFFIXES):
        raise InputError(
            f"{path.name!r} has an unknown suffix; give "
            f"{', '.join(s[1:] for s in VIDEO_SUFFIXES)}, an image, or a zip or folder of frames."
        )
    check_limit(path.name, "has", size / MIB, "MiB", limits.file_mib, "give a shorter clip")
    if suffix == ".zip":
        return ImageClip.from_zip(path, limits)
    if suffix in IMAGE_SUFFIXES:
        return ImageClip.from_files(path.name, (path.stem,), [path], limits)
    return VideoClip.open(path, limits)
