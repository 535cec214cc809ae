"""Small datasets on disk, in the layout of every benchmark, and pictures from text."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from bavos_io.palette_png import davis_palette
from bavos_lab.evaluation import Annotation, Truth

ROOT = Path(__file__).resolve().parents[3]


def grid(text: str) -> np.ndarray:
    """A map of labels from rows of digits; "." is 0."""
    return np.array([[int(c.replace(".", "0")) for c in row] for row in text.split()], np.uint8)


def truth_of(*maps: np.ndarray, void: np.ndarray | None = None) -> Truth:
    """Ground truth of frames from maps of labels."""
    objects = sorted({int(v) for labels in maps for v in np.unique(labels) if v})
    annotations = [
        Annotation(labels.shape, {n: labels == n for n in objects if (labels == n).any()}, void)
        for labels in maps
    ]
    return Truth(tuple(range(len(maps))), tuple(objects), tuple(annotations))


def moving(frames: int, *, size: tuple[int, int] = (24, 32), objects: int = 1) -> list[np.ndarray]:
    """Squares that move to the right, one below the other, as maps of labels."""
    maps = []
    for t in range(frames):
        labels = np.zeros(size, np.uint8)
        for n in range(objects):
            top = 2 + n * 10
            labels[top : top + 7, 3 + t : 11 + t] = n + 1
        maps.append(labels)
    return maps


def write_picture(path: Path, labels: np.ndarray) -> None:
    """A frame in which objects are bright on dark."""
    grey = (40 + 180 * (labels > 0) + 5 * labels).astype(np.uint8)
    _save(path, Image.fromarray(np.stack([grey, grey // 2, 255 - grey], axis=2)))


def write_palette(path: Path, labels: np.ndarray) -> None:
    """A palette mask, as DAVIS-2017 has them."""
    image = Image.fromarray(labels, mode="P")
    image.putpalette(davis_palette().tobytes())
    _save(path, image)


def write_grey(path: Path, mask: np.ndarray) -> None:
    """A mask of 0 and 255, as DAVIS-2016 and SegTrack have them."""
    _save(path, Image.fromarray((mask > 0).astype(np.uint8) * 255))


def write_colours(path: Path, labels: np.ndarray) -> None:
    """Coloured objects on white, as FBMS-59 has them."""
    rgb = np.full((*labels.shape, 3), 255, np.uint8)
    for n in np.unique(labels[labels > 0]):
        rgb[labels == n] = (10 * n, 200, 30)
    _save(path, Image.fromarray(rgb))


def _save(path: Path, image: Image.Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def write_davis(root: Path, names: Iterable[str] = ("a",), *, year: int = 2016, frames: int = 5,
                objects: int = 1) -> Path:  # fmt: skip
    """DAVIS with its list of validation sequences; 2017's annotations are the unsupervised ones."""
    names = tuple(names)
    folder = "Annotations" if year == 2016 else "Annotations_unsupervised"
    for name in names:
        for t, labels in enumerate(moving(frames, objects=objects)):
            write_picture(root / "JPEGImages" / "480p" / name / f"{t:05d}.jpg", labels)
            path = root / folder / "480p" / name / f"{t:05d}.png"
            (write_grey if year == 2016 else write_palette)(path, labels)
    lists = root / "ImageSets" / str(year) / "val.txt"
    lists.parent.mkdir(parents=True, exist_ok=True)
    lists.write_text("\n".join(names) + "\n")
    return root


def write_masks(root: Path, name: str, maps: Iterable[np.ndarray], first: int = 0) -> Path:
    """Predictions: palette masks numbered from `first`."""
    for t, labels in enumerate(maps, first):
        write_palette(root / name / f"{t:05d}.png", labels)
    return root


def write_ytvis(root: Path, maps: list[np.ndarray], encode, *, compact: bool = False) -> Path:
    """YouTube-VIS with one video, v0; `encode` codes a mask, `compact` takes the names of 2021."""
    document: dict[str, list] = {"videos": [], "annotations": []}
    height, width = maps[0].shape
    files = [f"v0/{5 * t:05d}.jpg" for t in range(len(maps))]  # every fifth frame, as there
    for file, labels in zip(files, maps, strict=True):
        write_picture(root / "train" / "JPEGImages" / file, labels)
    document["videos"].append({"id": 1, "file_names": files, "height": height, "width": width})
    for n in sorted({int(x) for labels in maps for x in np.unique(labels) if x}):
        masks = [encode(labels == n) if (labels == n).any() else None for labels in maps]
        document["annotations"].append({"id": n, "video_id": 1, "segmentations": masks})
    path = root / ("train/instances.json" if compact else "train.json")
    path.write_text(json.dumps(document))
    return root


def runs_of(mask: np.ndarray) -> dict:
    """COCO's uncompressed code, as YouTube-VIS has it."""
    flat = mask.T.ravel().astype(int)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat, [1 - flat[-1]]])))
    counts = np.diff(np.concatenate([[0], edges]))
    return {"size": list(mask.shape), "counts": counts.tolist()}
