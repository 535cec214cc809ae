"""Opening clips of any kind."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

from .clip import Clip, shortened
from .decoder import container_of
from .decoding import VideoClip, VideoFile
from .errors import InputError
from .images import ImageClip
from .limits import MIB, Limits, check_limit
from .pictures import is_image
from .zips import open_zip

_HEAD = 1024  # bytes that tell what a file is


def open_clip(
    source: str | os.PathLike[str],
    *,
    max_side: int | None = None,
    start: float = 0,
    end: float | None = None,
    limits: Limits | None = None,
) -> Clip:
    """Open a video file, an image, or a folder or zip of images.

    What a file is, its first bytes tell, not its name. max_side: as for `Clip.resized`. start, end:
    the part of a video to read, in seconds. limits: None for the defaults.

    Raise InputError with one sentence for anything that is not a readable clip within the limits.
    """
    path = Path(source)
    if start < 0 or (end is not None and end <= start):
        until = "the end" if end is None else f"{end:g} s"
        raise InputError(f"There is no part from {start:g} s to {until}; give 0 ≤ start < end.")
    try:
        clip = _opened(path, limits or Limits(), start, end)
        if (start or end is not None) and not isinstance(clip, VideoClip):
            raise InputError(f"{shortened(path.name)!r} holds no video; give no start and no end.")
        return clip.resized(max_side)
    except OSError as error:
        why = error.strerror or "no reason given"
        raise InputError(f"{shortened(path.name)!r} cannot be opened ({why}); check it.") from error


def _opened(path: Path, limits: Limits, start: float, end: float | None) -> Clip:
    if path.is_dir():
        return ImageClip.from_folder(path, limits)
    if not path.is_file():
        raise InputError(f"There is no file or folder {path.name!r}; check the path.")
    size = path.stat().st_size
    if size == 0:
        raise InputError(f"{path.name!r} is empty; export the clip again.")
    check_limit(path.name, "has", size / MIB, "MiB", limits.file_mib, "give a shorter clip")
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if is_image(head):
        return ImageClip.from_file(path, limits)
    container = container_of(head)
    if not container and zipfile.is_zipfile(path):  # it may begin with anything
        return open_zip(path, limits)
    if head.startswith(b"PK\x03\x04"):
        return open_zip(path, limits)  # damaged: it says so
    if not container:
        raise InputError(
            f"{shortened(path.name)!r} is no video, image or zip that can be read; "
            "it may be damaged. Export it again as mp4."
        )
    return VideoClip.open(VideoFile(path, container, limits, start, end))
