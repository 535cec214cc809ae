"""All results of `segment` in one folder."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bavos_io.clip import Clip
from bavos_io.folder import filled
from bavos_io.palette_png import palette_png

from .. import render
from ..analysis import Analysis
from ..progress import Progress, reporting, silent
from ..segmentation import Segmentation
from . import documents
from .editors import CutOuts, write_cut_outs
from .masks import all_masks, png_values
from .videos import OPACITY, write_over_clip


@reporting
def write_all(
    out: Path,
    analysis: Analysis,
    segmentation: Segmentation,
    clip: Clip | None,
    *,
    sound: bool = True,
    cut_outs: CutOuts | None = None,
    features: bool = False,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Write every result of `segment` into one folder, in one pass over the clip.

    sound: keep the clip's sound in the overlay. cut_outs: objects to cut out as well, in a pass of
    their own. features: write features.npz too. Files appear when all of them are complete, with
    a list of them in bavos.json; only files so listed are replaced. Return the summary.
    Raise InputError for a folder with other files but no such list.
    """
    with filled(out) as stage:
        if cut_outs:
            write_cut_outs(stage, analysis, segmentation, clip, cut_outs, progress=progress)
        if features:
            documents.write_features(stage / "features.npz", analysis)
        return _fill(stage, analysis, segmentation, clip, sound, progress)


def _fill(
    folder: Path,
    analysis: Analysis,
    segmentation: Segmentation,
    clip: Clip | None,
    sound: bool,
    progress: Progress,
) -> dict[str, Any]:
    (folder / "masks").mkdir()
    seconds = {"masks": 0.0, "encode": 0.0}
    colours, alpha = render.cluster_paint(
        segmentation.colours, segmentation.background, opacity=OPACITY, show_background=False
    )
    values = png_values(segmentation)
    coco = documents.masks_file(folder / "masks.json", analysis, segmentation)

    def painted() -> Iterator[np.ndarray]:
        for mask in all_masks(analysis, segmentation, clip):
            start = time.perf_counter()
            name = f"{analysis.frame_names[mask.clip_frame]}.png"
            (folder / "masks" / name).write_bytes(palette_png(values[mask.labels]))
            second = float(analysis.times[mask.clip_frame])
            coco.add(mask.labels, name, frame=mask.clip_frame, seconds=second)
            frame = mask.painted(colours, alpha)
            seconds["masks"] += time.perf_counter() - start
            yield frame

    start = time.perf_counter()
    with coco:
        write_over_clip(
            folder / "overlay.mp4", analysis, clip, painted(), sound=sound, progress=progress
        )
    seconds["encode"] = time.perf_counter() - start - seconds["masks"]
    documents.write_labels(folder / "labels.npz", analysis, segmentation)
    documents.write_hierarchy(folder, analysis, segmentation)
    document = documents.summary(analysis, segmentation, seconds)
    (folder / "summary.json").write_text(json.dumps(document, indent=1))
    return document
