"""A sequence of a benchmark: its frames, and the ground truth of those that have one.

H×W pixels of the ground truth, which need not be those of the frames.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from bavos_core.errors import InputError
from bavos_io.images import ImageClip

VOID = 255  # in palette files: pixels that are not scored


@dataclass(frozen=True)
class Annotation:
    """Ground truth of one frame. Objects may overlap; one that is absent has no mask."""

    size: tuple[int, int]  # (H, W)
    masks: dict[int, np.ndarray]  # object's number, from 1 → (H, W) bool
    void: np.ndarray | None = None  # (H, W) bool: pixels that are not scored


@dataclass(frozen=True)
class Truth:
    """Ground truth of a sequence, at the frames that are scored."""

    frames: tuple[int, ...]  # positions in the sequence, T of them
    objects: tuple[int, ...]  # numbers of the objects, rising
    annotations: tuple[Annotation, ...]  # T


@dataclass(frozen=True)
class VideoSequence:
    """A video of a dataset; its files are read when needed."""

    name: str
    frame_names: tuple[str, ...]  # (F,): masks of predictions are saved under these
    frame_paths: tuple[Path, ...]  # (F,)
    annotations: tuple[Callable[[], Annotation] | None, ...]  # (F,) None: no ground truth
    leave_out_ends: bool = False  # DAVIS-2016 scores neither the first nor the last frame
    first_frame_decides: bool = False  # DAVIS-2017 scores objects of the first frame only

    @property
    def scored(self) -> tuple[int, ...]:
        """Positions of the frames that count (T,)."""
        ends = {0, len(self.frame_names) - 1} if self.leave_out_ends else set()
        return tuple(
            i for i, read in enumerate(self.annotations) if read is not None and i not in ends
        )

    def truth(self) -> Truth:
        """Read the ground truth. Raise InputError for damaged files and if there is none."""
        if not self.scored:
            raise InputError(f"No frame of {self.name!r} has ground truth that can be scored.")
        annotations = tuple(self._annotation(i) for i in self.scored)
        objects = sorted({number for a in annotations for number in a.masks})
        if self.first_frame_decides:
            first = next(i for i, read in enumerate(self.annotations) if read is not None)
            last = max(self._annotation(first).masks, default=0)
            objects = [number for number in objects if number <= last]
        return Truth(self.scored, tuple(objects), annotations)

    def clip(self) -> ImageClip:
        """Return the frames as a clip. Raise InputError for frames that cannot be read."""
        return ImageClip.from_files(self.name, self.frame_names, self.frame_paths)

    def _annotation(self, index: int) -> Annotation:
        read = self.annotations[index]
        assert read is not None
        return read()


# ---- files of ground truth ----------------------------------------------------------------------


def read_objects(path: Path) -> Annotation:
    """Read a label map: 0 is background, others are objects; 255 of a palette file is void.

    A grey file of 0 and 255 alone holds one object. Raise InputError for damaged files.
    """
    labels, palette = read_labels(path)
    void = labels == VOID if palette else None
    numbers = [int(v) for v in np.unique(labels) if v and not (palette and v == VOID)]
    if numbers == [255]:
        return Annotation(labels.shape, {1: labels == 255})
    return Annotation(labels.shape, {n: labels == n for n in numbers}, void)


def read_foreground(path: Path) -> Annotation:
    """Read one object: all labels but void of a palette file, bright pixels of other files.

    Raise InputError for damaged files.
    """
    labels, palette = read_labels(path)
    void = labels == VOID if palette else None
    inside = (labels > 0) & (labels != VOID) if palette else labels > 127
    return Annotation(labels.shape, {1: inside} if inside.any() else {}, void)


def read_masks(paths: dict[int, Path]) -> Annotation:
    """Read one file per object, bright inside it. Raise InputError for damaged files."""
    masks = {number: read_labels(path)[0] > 127 for number, path in paths.items()}
    size = next(iter(masks.values())).shape
    return Annotation(size, {number: mask for number, mask in masks.items() if mask.any()})


def read_colours(path: Path) -> Annotation:
    """Read an image in which white is background and every other colour an object.

    Objects are numbered by their colours' values. Raise InputError for damaged files.
    """
    with _opened(path) as image:
        rgb = np.asarray(image.convert("RGB")).astype(np.int64)
    code = rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]
    return Annotation(code.shape, {int(v): code == v for v in np.unique(code) if v != 0xFFFFFF})


def read_labels(path: Path) -> tuple[np.ndarray, bool]:
    """Return the values of an image's pixels (H, W) and whether it is a palette file.

    Colours are turned to grey. Raise InputError for damaged and missing files.
    """
    with _opened(path) as image:
        palette = image.mode == "P"
        plain = palette or image.mode == "L" or image.mode.startswith("I")
        return np.asarray(image if plain else image.convert("L")), palette


def _opened(path: Path) -> Image.Image:
    try:
        image = Image.open(path)
        image.load()
    except FileNotFoundError as error:
        raise InputError(f"There is no mask {path}; complete the folder.") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"The mask {path} cannot be read; download or unpack it again.") from error
    return image
