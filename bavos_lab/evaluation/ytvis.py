"""YouTube-VIS: a JSON file with run-length-coded masks beside folders of frames."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bavos_core.errors import InputError
from bavos_core.settings import check

from .sequences import Annotation, VideoSequence


def read_ytvis(root: Path, split: str | None) -> list[VideoSequence]:
    """Return every video of the JSON file, in its order (the paper takes 600 … 899 of 2019).

    The file is SPLIT.json (2019), SPLIT/instances.json (2021) or instances_SPLIT_sub.json; frames
    lie in SPLIT/JPEGImages/VIDEO. An object is an annotation; its number is its place among those
    of its video, from 1. Raise FileNotFoundError for a missing file, InputError for a damaged one.
    """
    names = (f"{split}.json", f"{split}/instances.json", f"instances_{split}_sub.json")
    path = next((root / n for n in names if (root / n).is_file()), root / names[0])
    try:
        document = json.loads(path.read_text())
        objects: dict[Any, list[dict[str, Any]]] = {video["id"]: [] for video in document["videos"]}
        for annotation in document["annotations"] or ():
            objects[annotation["video_id"]].append(annotation)
        frames = root / str(split) / "JPEGImages"
        return [_sequence(frames, video, objects[video["id"]]) for video in document["videos"]]
    except InputError:
        raise
    except (ValueError, LookupError, TypeError) as error:
        raise InputError(f"{path} is damaged or has another format; download it again.") from error


def _sequence(folder: Path, video: dict[str, Any], objects: list[dict[str, Any]]) -> VideoSequence:
    files = [Path(name) for name in video["file_names"]]
    size = (int(video["height"]), int(video["width"]))
    coded = [o["segmentations"] for o in objects]
    check(
        all(len(masks) == len(files) for masks in coded),
        f"the video {files[0].parent} has masks for another number of frames; fetch the JSON again",
    )
    readers = [
        partial(_annotation, size, {n: m[i] for n, m in enumerate(coded, 1)})
        for i in range(len(files))
    ]
    return VideoSequence(
        files[0].parent.name,
        tuple(file.stem for file in files),
        tuple(folder / file for file in files),
        tuple(readers) if objects else (None,) * len(files),
    )


def _annotation(size: tuple[int, int], coded: dict[int, dict[str, Any] | None]) -> Annotation:
    masks = {number: decode_rle(code) for number, code in coded.items() if code}
    return Annotation(size, {number: mask for number, mask in masks.items() if mask.any()})


def decode_rle(code: dict[str, Any]) -> np.ndarray:
    """Decode COCO's run-length code, a list of runs or a compressed string, to (H, W) bool.

    Runs go down the columns and alternate between zeros and ones, zeros first. Raise InputError
    for a code that does not fill its size.
    """
    counts = code["counts"]
    runs = _uncompressed(counts) if isinstance(counts, str) else counts
    height, width = code["size"]
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    check(
        flat.size == height * width, "a run-length code does not fill its mask; get the file again"
    )
    return flat.reshape(width, height).T


def _uncompressed(text: str) -> list[int]:
    """Decode COCO's string: five bits a character, low ones first; bit 5 says that more follow.

    From the third run on, what is written is the difference to the run two before.
    """
    runs: list[int] = []
    value, shift = 0, 0
    for character in text:
        bits = ord(character) - 48
        value |= (bits & 0x1F) << shift
        shift += 5
        if not bits & 0x20:
            if bits & 0x10:
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value, shift = 0, 0
    return runs
