"""Pictures in memory: photographs from tars and folders, frames of clips, all at one size.

n pictures, S×S pixels each. A picture is kept squashed to a square together with its shape, so that
any batch is one indexing; the views that are cut from it undo the squashing.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import InputError
from ..limits import MIB, Limits
from ..video import IMAGE_SUFFIXES, VIDEO_SUFFIXES, decode_picture, natural, open_clip
from .settings import RunSettings

LoadProgress = Callable[[str, int], None]  # source being read, pictures read so far
Group = Iterator[np.ndarray]  # pictures (H, W, 3) uint8 of one clip; of a photograph, one

_MOST_NOTES = 20


@dataclass(frozen=True, eq=False)
class Pictures:
    """All that a run learns from."""

    pixels: Tensor  # (n, 3, S, S) uint8
    aspects: np.ndarray  # (n,) float32, width / height of the picture before it was squashed
    first: np.ndarray  # (n,) int64: the first picture of the same clip, itself for a photograph
    last: np.ndarray  # (n,) int64: the last picture of the same clip
    notes: tuple[str, ...] = ()  # a sentence for each of the first that were left out

    def __len__(self) -> int:
        """n."""
        return len(self.aspects)

    @property
    def of_clips(self) -> np.ndarray:
        """Which pictures have neighbours in time, (m,) int64."""
        return np.flatnonzero(self.first < self.last)

    @property
    def photographs(self) -> np.ndarray:
        """Which have none, (n - m,) int64."""
        return np.flatnonzero(self.first == self.last)

    @property
    def fingerprint(self) -> str:
        """The same for the same pictures in the same order."""
        found = hashlib.sha256(self.pixels[:, :, ::16, ::16].numpy().tobytes())
        for part in (self.aspects, self.first, self.last):
            found.update(part.tobytes())
        return found.hexdigest()[:16]


def load_pictures(
    sources: Sequence[Path], settings: RunSettings, *, progress: LoadProgress | None = None
) -> Pictures:
    """Read tars and folders of pictures, and folders that hold clips.

    A picture straight in a tar or folder is a photograph; a folder of frames, video or zip within a
    folder is a clip. What cannot be read is left out with a note. Raises InputError for sources
    that do not exist, for none that holds a picture, and for more than the memory allowed.
    """
    shelf = _Shelf(settings)
    for source in sources:
        for name, group in _groups(source):
            shelf.add(name, group)
            if progress:
                progress(source.name, len(shelf.squares))
    return shelf.filled()


class _Shelf:
    """Pictures as they come in."""

    def __init__(self, settings: RunSettings):
        self._settings = settings
        self.squares: list[np.ndarray] = []  # (S, S, 3) uint8 each
        self._aspects: list[float] = []
        self._spans: list[tuple[int, int]] = []
        self._notes: list[str] = []

    def add(self, name: str, group: Group) -> None:
        """Take the pictures of a clip, or one photograph; a damaged rest is left out."""
        start = len(self.squares)
        try:
            for picture in group:
                self._check_memory(len(self.squares) + 1)
                self._aspects.append(picture.shape[1] / picture.shape[0])
                self.squares.append(_squashed(picture, self._settings.side))
        except _TooMuch as error:
            raise InputError(str(error)) from error
        except InputError as error:
            self._notes.append(f"{name} is left out, or its end: {error}")
        stop = len(self.squares)
        self._spans += [(start, stop - 1)] * (stop - start)

    def filled(self) -> Pictures:
        """All pictures. Raises InputError when there are none."""
        if not self.squares:
            why = " ".join(self._notes[:3]) or "Give tars or folders of pictures or clips."
            raise InputError(f"There is no picture to learn from. {why}")
        first, last = np.array(self._spans, np.int64).T
        pixels = torch.from_numpy(np.stack(self.squares)).permute(0, 3, 1, 2).contiguous()
        notes = tuple(self._notes[:_MOST_NOTES])
        return Pictures(pixels, np.array(self._aspects, np.float32), first, last, notes)

    def _check_memory(self, count: int) -> None:
        allowed = self._settings.cache_mib
        if count * 3 * self._settings.side**2 > allowed * MIB:
            raise _TooMuch(
                f"These pictures take more than the {allowed:,} MiB of memory allowed; allow more "
                "with --cache-mib, or give fewer or a smaller --side."
            )


class _TooMuch(InputError):
    """Memory ends; unlike a damaged picture, that ends the run."""


def _squashed(picture: np.ndarray, side: int) -> np.ndarray:
    resized = Image.fromarray(picture).resize(
        (side, side), Image.Resampling.BICUBIC, reducing_gap=2
    )
    return np.asarray(resized)


# ---- sources ------------------------------------------------------------------------------------


def _groups(source: Path) -> Iterator[tuple[str, Group]]:
    """Names and pictures of the photographs and clips of one source, in order of their names."""
    if source.is_dir():
        yield from _in_folder(source)
    elif source.is_file():
        yield from _in_tar(source)
    else:
        raise InputError(f"There is no file or folder {source.name!r}; check the path.")


def _in_folder(folder: Path) -> Iterator[tuple[str, Group]]:
    entries = (entry for entry in folder.iterdir() if not entry.name.startswith("."))
    for entry in sorted(entries, key=lambda entry: natural(entry.name)):
        known = entry.suffix.lower() in (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES, ".zip")
        if entry.is_dir() or known:
            yield entry.name, _frames(entry)


def _frames(entry: Path) -> Group:
    yield from open_clip(entry).read()


def _in_tar(path: Path) -> Iterator[tuple[str, Group]]:
    """Every picture in a tar; nothing is unpacked to disk, and names are only names."""
    try:
        with tarfile.open(path) as archive:
            for entry in archive:
                if entry.isfile() and Path(entry.name).suffix.lower() in IMAGE_SUFFIXES:
                    yield entry.name, _member(archive, entry)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise InputError(f"{path.name!r} is no readable tar; pack it again.") from error


def _member(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> Group:
    def read() -> bytes:
        file = archive.extractfile(entry)
        return file.read() if file else b""

    yield decode_picture(read, f"The picture {entry.name!r:.80}", Limits())
