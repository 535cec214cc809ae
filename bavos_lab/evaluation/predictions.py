"""The masks to score: saved ones, or those that the pipeline makes.

Both are files DIR/SEQUENCE/FRAME.png, 0 for no proposal and any other number for one. The pipeline
saves every cluster, background too, since each is a proposal.
"""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from bavos_core import backbones
from bavos_core.analysis import Analysis
from bavos_core.backbones import Backbone
from bavos_core.errors import InputError
from bavos_core.export import all_masks, summary
from bavos_core.pipeline import analyse
from bavos_core.render import MAX_PARTS
from bavos_core.segmentation import Segmentation
from bavos_core.settings import Compute, Settings
from bavos_io.clip import Clip
from bavos_io.palette_png import palette_png
from bavos_lab.grouping import Grouping
from bavos_lab.grouping.regroup import regrouped
from bavos_lab.grouping.slots import Slots

from .sequences import Truth, VideoSequence, read_labels

SUMMARY = "summary.json"  # beside the masks that the pipeline saved


class Predictions(Protocol):
    """Masks for the sequences of a dataset."""

    @property
    def description(self) -> dict[str, Any]:
        """Their origin, as JSON-ready values; runs that share a folder must agree on it."""

    def folder(self, sequence: VideoSequence) -> Path:
        """Return the folder of a sequence's masks; make them first where necessary."""


@dataclass(frozen=True)
class SavedMasks:
    """Masks in a folder."""

    root: Path

    @property
    def description(self) -> dict[str, Any]:
        """The folder, by its full path."""
        return {"predictions": str(self.root.resolve())}

    def folder(self, sequence: VideoSequence) -> Path:
        """Return the folder of a sequence. Raise InputError if there is none."""
        folder = self.root / sequence.name
        if not folder.is_dir():
            raise InputError(f"There is no folder {folder} with masks; give --predictions another.")
        return folder


@dataclass(frozen=True)
class Pipeline:
    """Masks made by `analyse` and `segment`, and kept under `root`.

    Only one process at a time may ask for a sequence.
    """

    settings: Settings
    root: Path
    grouping: Grouping = field(default="attention", kw_only=True)
    slots: Path | None = field(default=None, kw_only=True)  # trained, for the grouping of that name

    @property
    def description(self) -> dict[str, Any]:
        """The settings, and another grouping than attention's."""
        if self.grouping == "attention":
            return {"settings": self.settings.to_dict()}
        slots = self.slots and str(self.slots.resolve())
        return {"settings": self.settings.to_dict(), "grouping": self.grouping, "slots": slots}

    def folder(self, sequence: VideoSequence) -> Path:
        """Return the folder of a sequence. Raise InputError for unusable frames and settings."""
        folder = self.root / sequence.name
        if not folder.is_dir():
            self._make(sequence, folder)
        return folder

    def analysis(self, clip: Clip) -> Analysis:
        """Analyse the frames of a sequence; the clip has the sequence's name."""
        analysis = analyse(clip, self.settings, backbone=self.backbone)
        return regrouped(analysis, self.grouping, self.trained_slots)

    def segmentation(self, analysis: Analysis) -> Segmentation:
        """Return the clusters to score."""
        return analysis.segment()

    @cached_property
    def backbone(self) -> Backbone:
        """The backbone of the settings, loaded when first needed."""
        settings = self.settings
        return backbones.load(
            settings.backbone,
            weights=settings.weights,
            layer=settings.layer,
            device=Compute.choose(settings).device,
        )

    @cached_property
    def trained_slots(self) -> Slots | None:
        """The slots, loaded when first needed."""
        return None if self.slots is None else Slots.load(self.slots)

    def _make(self, sequence: VideoSequence, folder: Path) -> None:
        stage = self.root / f".{sequence.name}.part"
        shutil.rmtree(stage, ignore_errors=True)  # of a process that was killed
        stage.mkdir(parents=True)
        try:
            clip = sequence.clip()
            analysis = self.analysis(clip)
            write_proposals(stage, analysis, self.segmentation(analysis), clip)
            stage.replace(folder)
        finally:
            shutil.rmtree(stage, ignore_errors=True)


def write_proposals(
    folder: Path, analysis: Analysis, segmentation: Segmentation, clip: Clip
) -> None:
    """Write a palette PNG per frame of the clip, cluster c as value c + 1, and a summary.

    Clusters that 8 bits cannot number are left out, and the summary says how many.
    """
    values = np.arange(1, segmentation.clusters + 1)
    values[values > MAX_PARTS] = 0
    start = time.perf_counter()
    for mask in all_masks(analysis, segmentation, clip):
        png = palette_png(values.astype(np.uint8)[mask.labels])
        (folder / f"{analysis.frame_names[mask.clip_frame]}.png").write_bytes(png)
    document = summary(analysis, segmentation, {"masks": time.perf_counter() - start})
    (folder / SUMMARY).write_text(json.dumps(document, indent=1))


def read_predictions(folder: Path, sequence: VideoSequence, truth: Truth) -> list[np.ndarray]:
    """Return the labels of the scored frames, T of (H, W) int, at the sizes of the truth.

    Masks of another size are scaled by nearest neighbour. Raise InputError for a scored frame
    without a mask and for damaged files.
    """
    labels = []
    for position, annotation in zip(truth.frames, truth.annotations, strict=True):
        found = read_labels(folder / f"{sequence.frame_names[position]}.png")[0]
        if found.shape != annotation.size:
            found = np.asarray(
                Image.fromarray(found).resize(annotation.size[::-1], Image.Resampling.NEAREST)
            )
        labels.append(found)
    return labels


def pipeline_seconds(folder: Path) -> float | None:
    """Return the seconds that the pipeline took for a sequence, from frames to masks."""
    path = folder / SUMMARY
    return sum(json.loads(path.read_text())["seconds"].values()) if path.is_file() else None
