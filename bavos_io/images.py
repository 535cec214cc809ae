"""Clips made of images: a folder of them, a single one, or an animated one."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from .clip import (
    IMAGE_SUFFIXES,
    IMAGES_FPS,
    StillClip,
    Timeline,
    numbered,
    resize,
    shortened,
    shrunk,
)
from .errors import InputError
from .limits import MIB, Limits, check_frames, check_limit, check_seconds
from .pictures import decode_image, durations, go_to, opened, to_srgb
from .stopping import checkpoint

_LONGEST_NAME = 200  # bytes of a frame's name, for masks are saved under it
_DIGITS = 12  # of a number in a frame's name that is sorted by; more would only cost time

Reader = Callable[[int], np.ndarray]  # an image (H, W, 3) uint8, by its number
Source = Callable[[], AbstractContextManager[Reader]]  # opens whatever holds the images


@dataclass(frozen=True)
class ImageClip(StillClip):
    """A clip made of separate images, each read when it is needed."""

    name: str
    frame_names: tuple[str, ...]
    source: Source
    timeline: Timeline
    full_size: tuple[int, int]  # (H, W) that every image must have
    size: tuple[int, int]  # (H, W) of the frames that are read

    @classmethod
    def of(
        cls,
        name: str,
        names: tuple[str, ...],
        source: Source,
        limits: Limits,
        timeline: Timeline | None = None,
    ) -> ImageClip:
        """Make a clip of images under their frames' names; the first one is read for its size.

        timeline: None for a constant rate.
        """
        if not names:
            raise InputError(f"{name!r} holds no frames; put jpg or png images into it.")
        if len(set(names)) < len(names):
            raise InputError(f"{name!r} holds two frames of one name; give each its own.")
        longest = max(names, key=len)
        if len(os.fsencode(longest)) > _LONGEST_NAME:
            raise InputError(
                f"The name of frame {shortened(longest)!r} of {name!r} is too long; shorten it."
            )
        check_frames(name, len(names), limits)
        timeline = timeline or Timeline.regular(len(names))
        check_seconds(name, timeline.end, limits)
        with source() as read:
            height, width, _ = read(0).shape
        return cls(name, names, source, timeline, (height, width), (height, width))

    @classmethod
    def from_file(cls, path: Path, limits: Limits) -> ImageClip:
        """Make a clip of one image, which is one frame, or of the pages of an animated one."""

        @contextmanager
        def source() -> Iterator[Reader]:
            with path.open("rb") as file, opened(file, what, limits) as image:
                skipped = int(image.info.get("default_image", False)) if len(shown) > 1 else 0
                yield lambda index: page(image, index + skipped)

        def page(image: Image.Image, index: int) -> np.ndarray:
            go_to(image, index)
            return to_srgb(image)

        what = frame_of(path.stem, path.name)
        with path.open("rb") as file, opened(file, what, limits) as image:
            shown = [seconds or 1 / IMAGES_FPS for seconds in durations(image, what, limits)]
        if len(shown) == 1:
            return cls.of(path.name, (path.stem,), source, limits)
        ends = np.cumsum(shown)
        timeline = Timeline(np.array([0.0, *ends[:-1]]), float(ends[-1]))
        return cls.of(path.name, numbered(len(shown)), source, limits, timeline)

    @classmethod
    def from_files(
        cls,
        name: str,
        names: tuple[str, ...],
        files: Sequence[Path],
        limits: Limits | None = None,
    ) -> ImageClip:
        """Make a clip of one image file per frame, in the order given."""

        limits = limits or Limits()

        @contextmanager
        def source() -> Iterator[Reader]:
            yield lambda index: decoded(index)

        def decoded(index: int) -> np.ndarray:
            return decode_image(files[index].read_bytes(), frame_of(names[index], name), limits)

        return cls.of(name, names, source, limits)

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

    def resized(self, max_side: int | None) -> ImageClip:
        """Return the clip with its frames shrunk; see `Clip.resized`."""
        return replace(self, size=shrunk(self.size, max_side))

    def read(self, indices: Sequence[int] | None = None) -> Iterator[np.ndarray]:
        """Yield frames (H, W, 3) uint8 RGB. Raise InputError when a frame differs in size."""
        with self.source() as read:
            for index in range(len(self.frame_names)) if indices is None else indices:
                checkpoint()
                frame = read(index)
                if frame.shape[:2] != self.full_size:
                    raise InputError(
                        f"Frame {self.frame_names[index]!r} of {self.name!r} is "
                        f"{frame.shape[1]}×{frame.shape[0]}, the first is "
                        f"{self.full_size[1]}×{self.full_size[0]}; make all frames one size."
                    )
                yield resize(frame, self.size)


def frame_of(frame: str, clip: str) -> str:
    """Return the name of a frame in messages."""
    return f"Frame {frame!r} of {clip!r}"


def natural(name: str) -> list[tuple[int, str]]:
    """Return a sort key under which frame2 comes before frame10."""
    parts = re.split(rf"(\d{{1,{_DIGITS}}})", name)
    return [(int(p), "") if i % 2 else (-1, p) for i, p in enumerate(parts)]
