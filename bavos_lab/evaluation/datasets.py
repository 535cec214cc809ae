"""Readers of the benchmarks, one for each layout on disk.

A reader looks at names and lists only; frames and masks are read when they are needed. Missing
files raise InputError with the expected path and the origin of the dataset.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bavos_core.errors import InputError
from bavos_core.settings import check
from bavos_io.clip import IMAGE_SUFFIXES
from bavos_io.images import natural

from .sequences import (
    Annotation,
    VideoSequence,
    read_colours,
    read_foreground,
    read_masks,
    read_objects,
)
from .ytvis import read_ytvis

Reader = Callable[[], Annotation]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """A selection of a dataset's sequences."""

    split: str | None = None  # None: the dataset's own choice; "all" for every sequence (DAVIS)
    sequences: tuple[str, ...] = ()  # by name; they need no list of a split
    subset: tuple[int, int] | None = None  # positions first … last-1, after the others


@dataclass(frozen=True)
class Dataset:
    """A benchmark: its name, its origin and its reader."""

    name: str  # on the command line
    title: str  # in tables
    origin: str  # where to get it
    split: str | None
    subset: tuple[int, int] | None
    read: Callable[[Path, Selection], list[VideoSequence]]
    tested: bool = True  # the reader, on files of the dataset itself

    @property
    def note(self) -> str:
        """A sentence to show beside scores, or ""."""
        if self.tested:
            return ""
        return (
            f"The reader of {self.title} has been tested on made-up files only; compare the ground "
            "truth in gallery/ with the dataset before you use these scores."
        )

    def sequences(self, root: Path, selection: Selection | None = None) -> list[VideoSequence]:
        """Return the sequences under `root`. Raise InputError for missing or damaged files."""
        chosen = self.selection(selection or Selection())
        if not root.is_dir():
            raise self._missing(f"There is no folder {root}")
        try:
            found = self.read(root, chosen)
        except FileNotFoundError as error:
            raise self._missing(f"{error.filename} is missing") from error
        found = _named(found, chosen.sequences, root)
        if chosen.subset:
            found = found[slice(*chosen.subset)]
        check(bool(found), f"no sequence of {self.title} is left under {root}; choose others")
        return found

    def selection(self, given: Selection) -> Selection:
        """Return the selection, completed with the defaults of this dataset."""
        usual = None if given.sequences else self.subset
        return Selection(
            split=given.split or self.split,
            sequences=given.sequences,
            subset=given.subset or usual,
        )

    def _missing(self, what: str) -> InputError:
        return InputError(f"{what}; get {self.title} from {self.origin}.")


def _named(found: list[VideoSequence], names: tuple[str, ...], root: Path) -> list[VideoSequence]:
    if not names:
        return found
    by_name = {sequence.name: sequence for sequence in found}
    for name in names:
        check(name in by_name, f"there is no sequence {name!r} under {root}")
    return [by_name[name] for name in names]


# ---- DAVIS --------------------------------------------------------------------------------------


def _read_davis(
    root: Path,
    selection: Selection,
    *,
    lists: tuple[str, ...],
    annotations: str,
    reader: Callable[[Path], Annotation],
    single: bool,
) -> list[VideoSequence]:
    """Read JPEGImages/480p, annotations/480p and the lists of sequences under ImageSets."""
    masks, frames = root / annotations / "480p", root / "JPEGImages" / "480p"
    names = selection.sequences or _davis_names(root, selection, lists, masks)
    return [
        _beside(
            name,
            _pictures(frames / name),
            {path.stem: partial(reader, path) for path in _pictures(masks / name)},
            leave_out_ends=single,
            first_frame_decides=not single,
        )
        for name in names
    ]


def _davis_names(
    root: Path, selection: Selection, lists: tuple[str, ...], masks: Path
) -> list[str]:
    if selection.split == "all":
        return [folder.name for folder in _folders(masks)]
    files = [root / "ImageSets" / year / f"{selection.split}.txt" for year in lists]
    lines = next((f for f in files if f.is_file()), files[0]).read_text().split("\n")
    # A line is a name, or in the release of 2016 a frame's path and its mask's.
    entries = [Path(line.split()[0]) for line in lines if line.strip()]
    return list(dict.fromkeys(e.parent.name if e.suffix else e.name for e in entries))


# ---- SegTrack v2, FBMS-59, MOVi-E, a plain folder -----------------------------------------------


def _read_segtrack(root: Path, _: Selection) -> list[VideoSequence]:
    """Read JPEGImages/NAME and GroundTruth/NAME, which has a folder for each of several objects."""
    return [
        _beside(folder.name, _pictures(root / "JPEGImages" / folder.name), _segtrack_masks(folder))
        for folder in _folders(root / "GroundTruth")
    ]


def _segtrack_masks(folder: Path) -> dict[str, Reader]:
    objects = _folders(folder)
    if not objects:
        return {path.stem: partial(read_foreground, path) for path in _pictures(folder)}
    files: dict[str, dict[int, Path]] = {}
    for number, part in enumerate(objects, 1):
        for path in _pictures(part):
            files.setdefault(path.stem, {})[number] = path
    return {stem: partial(read_masks, paths) for stem, paths in files.items()}


def _read_fbms(root: Path, selection: Selection) -> list[VideoSequence]:
    """Read SPLIT/NAME/*.jpg and the masks of a few frames in SPLIT/NAME/GroundTruth."""
    assert selection.split is not None
    return [
        _beside(folder.name, _pictures(folder), _fbms_masks(folder / "GroundTruth"), key=_number)
        for folder in _folders(root / selection.split)
    ]


def _fbms_masks(folder: Path) -> dict[str, Reader]:
    """Return readers by frame number: colours on white (.ppm), else labels (.pgm, .png).

    Files with PROB in their names show places that annotators were unsure of.
    """
    files = [path for path in _listed(folder) if "PROB" not in path.name]
    masks: dict[str, Reader] = {}
    for suffix, reader in ((".pgm", read_objects), (".png", read_objects), (".ppm", read_colours)):
        for path in files:
            if path.suffix == suffix:
                masks[_number(path.stem)] = partial(reader, path)
    return masks


def _read_movi(root: Path, selection: Selection) -> list[VideoSequence]:
    """Read a folder per video, in either of the two layouts in which MOVi is exported.

    Kubric's names, rgba_00000.png and segmentation_00000.png (0 is background), or 00000_image.png
    and 00000_mask_NN.png, where NN = 00 is background.
    """
    folder = root / selection.split if selection.split else root
    return [_movi_sequence(video) for video in _folders(folder)]


def _movi_sequence(folder: Path) -> VideoSequence:
    files = _pictures(folder)
    frames = [path for path in files if re.match(r"rgba?_\d+$|\d+_image$", path.stem)]
    masks: dict[str, Reader] = {}
    parts: dict[str, dict[int, Path]] = {}
    for path in files:
        if path.stem.startswith("segmentation_"):
            masks[_number(path.stem)] = partial(read_objects, path)
        elif found := re.match(r"(\d+)_mask_(\d+)$", path.stem):
            frame, number = _number(found[1]), int(found[2])
            if number:
                parts.setdefault(frame, {})[number] = path
    masks |= {frame: partial(read_masks, paths) for frame, paths in parts.items()}
    return _beside(folder.name, frames, masks, key=_number)


def _read_folder(root: Path, _: Selection) -> list[VideoSequence]:
    """Read frames/NAME and masks/NAME, or frames and masks alone for a single sequence."""
    frames, masks = root / "frames", root / "masks"
    names = [folder.name for folder in _folders(masks)]
    pairs = [(n, frames / n, masks / n) for n in names] or [(root.resolve().name, frames, masks)]
    return [
        _beside(name, _pictures(seen), {p.stem: partial(read_objects, p) for p in _pictures(truth)})
        for name, seen, truth in pairs
    ]


# ---- files --------------------------------------------------------------------------------------


def _beside(
    name: str,
    frames: list[Path],
    masks: dict[str, Reader],
    *,
    key: Callable[[str], str] = str,
    leave_out_ends: bool = False,
    first_frame_decides: bool = False,
) -> VideoSequence:
    """Pair frames with masks: `key` turns the name of a frame into that of its mask."""
    check(bool(frames), f"the sequence {name!r} has no frames; unpack the dataset again")
    found = tuple(masks.get(key(path.stem)) for path in frames)
    check(
        any(found),
        f"no frame of the sequence {name!r} has a mask of its name; unpack the dataset again",
    )
    return VideoSequence(
        name,
        tuple(path.stem for path in frames),
        tuple(frames),
        found,
        leave_out_ends,
        first_frame_decides,
    )


def _number(stem: str) -> str:
    """Return the last number in a name, without leading zeros."""
    digits = re.findall(r"\d+", stem)
    return str(int(digits[-1])) if digits else stem


def _pictures(folder: Path) -> list[Path]:
    return [path for path in _listed(folder) if path.suffix.lower() in IMAGE_SUFFIXES]


def _folders(folder: Path) -> list[Path]:
    return [path for path in _listed(folder) if path.is_dir()]


def _listed(folder: Path) -> list[Path]:
    """List a folder in natural order. Raise FileNotFoundError if it does not exist."""
    shown: Iterable[Path] = (p for p in folder.iterdir() if not p.name.startswith("."))
    return sorted(shown, key=lambda path: natural(path.name))


_DAVIS_2016 = partial(
    _read_davis,
    lists=("480p", "2016"),
    annotations="Annotations",
    reader=read_foreground,
    single=True,
)
_DAVIS_2017 = partial(_read_davis, lists=("2017",), reader=read_objects, single=False)

_DAVIS_ORIGIN = "https://davischallenge.org"
_YTVIS_ORIGIN = "https://youtube-vos.org/dataset/vis"

DATASETS = {
    dataset.name: dataset
    for dataset in (
        Dataset("davis-2016", "DAVIS-2016", _DAVIS_ORIGIN, "val", None, _DAVIS_2016),
        Dataset(
            "davis-2017", "DAVIS-2017, unsupervised annotations", _DAVIS_ORIGIN, "val", None,
            partial(_DAVIS_2017, annotations="Annotations_unsupervised"),
        ),
        Dataset(
            "davis-2017-semi", "DAVIS-2017, semi-supervised annotations", _DAVIS_ORIGIN, "val",
            None, partial(_DAVIS_2017, annotations="Annotations"),
        ),
        Dataset(
            "segtrack-v2", "SegTrack v2",
            "https://web.engr.oregonstate.edu/~lif/SegTrack2/dataset.html", None, None,
            _read_segtrack, tested=False,
        ),
        Dataset(
            "fbms-59", "FBMS-59", "https://lmb.informatik.uni-freiburg.de/resources/datasets",
            "Testset", None, _read_fbms, tested=False,
        ),
        Dataset(
            "ytvis-2019", "YouTube-VIS 2019", _YTVIS_ORIGIN, "train", (600, 900),
            lambda root, selection: read_ytvis(root, selection.split), tested=False,
        ),
        Dataset(
            "ytvis-2021", "YouTube-VIS 2021", _YTVIS_ORIGIN, "train", None,
            lambda root, selection: read_ytvis(root, selection.split), tested=False,
        ),
        Dataset(
            "movi-e", "MOVi-E",
            "https://github.com/google-research/kubric/tree/main/challenges/movi", None, None,
            _read_movi, tested=False,
        ),
        Dataset(
            "folder", "a folder", "wherever your frames and masks are: frames/NAME, masks/NAME",
            None, None, _read_folder,
        ),
    )
}  # fmt: skip
