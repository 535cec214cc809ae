"""J of the training-free pipeline on sequences with ground truth, while a network learns.

Every 5th frame of a sequence is analysed, once from frame 0 and once from frame 2, since another
choice of frames alone moves the mean by 0.03; the one cluster with the highest mean intersection
over union counts. T frames, h×w patch grid, H×W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..analysis import analyse
from ..backbones import Backbone
from ..evaluation.datasets import DATASETS, Selection
from ..evaluation.protocols import foreground, object_masks
from ..masks import nearest_pixels
from ..settings import Settings

SIZE = (192, 384)  # pixels fed to the network
_STEP = 5
_STARTS = (0, 2)


@dataclass(frozen=True, eq=False)
class Measured:
    """Frames to analyse and what is to be found in them."""

    name: str
    frames: np.ndarray  # (T, H, W, 3) uint8
    truth: np.ndarray  # (T, H, W) bool


def read_sequences(root: Path, names: Sequence[str] = ()) -> list[Measured]:
    """Sequences of a DAVIS folder, all of them where none are named, twice each.

    Raises InputError for what is missing or damaged.
    """
    chosen = Selection(split="all", sequences=tuple(names))
    found = []
    for sequence in DATASETS["davis-2016"].sequences(root, chosen):
        annotated = [i for i, read in enumerate(sequence.annotations) if read is not None]
        for start in _STARTS:
            which = annotated[start::_STEP]
            reads = [sequence.annotations[i] for i in which]
            notes = [read() for read in reads if read]
            frames = np.stack(list(sequence.clip().read(which)))
            truth = [foreground(object_masks(note, sorted(note.masks)))[0] for note in notes]
            found.append(Measured(sequence.name, frames, np.stack(truth)))
    return found


def development_j(backbone: Backbone, sequences: Sequence[Measured], settings: Settings) -> float:
    """Mean over sequences of the best cluster's J, by training-free keys."""
    scores = [
        best_cluster_j(analyse(s.frames, settings, backbone=backbone).segment().labels, s.truth)
        for s in sequences
    ]
    return float(np.mean(scores))


def best_cluster_j(labels: np.ndarray, truth: np.ndarray) -> float:
    """Labels (T, h, w) of patches, truth (T, H, W) bool → J of the best single cluster."""
    clusters = int(labels.max()) + 1
    scores = np.zeros((clusters, len(truth)))
    for t, (patches, inside) in enumerate(zip(labels, truth, strict=True)):
        pixels = nearest_pixels(patches, inside.shape)
        area = np.bincount(pixels.ravel(), minlength=clusters)
        both = np.bincount(pixels[inside], minlength=clusters)
        scores[:, t] = both / np.maximum(area + inside.sum() - both, 1)
    return float(scores.mean(1).max())
