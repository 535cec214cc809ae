"""All results of `segment` in one folder."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from bavos_io.clip import Clip
from bavos_io.coco import CocoMasks
from bavos_io.files import cannot_write

from .. import render
from ..analysis import Analysis
from ..progress import Progress, silent
from ..segmentation import Segmentation
from . import documents
from .editors import CutOuts, write_cut_outs
from .masks import all_masks, mask_png, png_values
from .videos import OPACITY, write_over_clip


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
    their own. features: write features.npz too. Files move into the folder when all of them are
    complete. Return the summary.
    """
    with _staged(out) as stage:
        if cut_outs:
            write_cut_outs(stage, analysis, segmentation, clip, cut_outs, progress=progress)
        if features:
            documents.write_features(stage / "features.npz", analysis)
        return _fill(stage, analysis, segmentation, clip, sound, progress)


@contextmanager
def _staged(out: Path) -> Iterator[Path]:
    """Yield a folder whose files move to `out` at the end, or are deleted after an error.

    Raise InputError when files cannot be written, for instance to a full disk.
    """
    new = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".bavos-", dir=out) as stage:
            yield Path(stage)
            for item in Path(stage).iterdir():
                target = out / item.name
                if target.is_dir():
                    shutil.rmtree(target)
                item.replace(target)
    except BaseException as error:
        for folder in new:  # a folder that is not empty by now holds another's files
            with suppress(OSError):
                folder.rmdir()
        if isinstance(error, OSError):
            raise cannot_write(out, error) from error
        raise


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
        segmentation.background, opacity=OPACITY, show_background=False
    )
    values = png_values(segmentation)
    found = CocoMasks()

    def painted() -> Iterator[np.ndarray]:
        for mask in all_masks(analysis, segmentation, clip):
            start = time.perf_counter()
            name = f"{analysis.frame_names[mask.clip_frame]}.png"
            (folder / "masks" / name).write_bytes(mask_png(mask, values))
            second = float(analysis.times[mask.clip_frame])
            found.add(mask.labels, name, frame=mask.clip_frame, seconds=second)
            frame = mask.painted(colours, alpha)
            seconds["masks"] += time.perf_counter() - start
            yield frame

    start = time.perf_counter()
    write_over_clip(
        folder / "overlay.mp4", analysis, clip, painted(), sound=sound, progress=progress
    )
    seconds["encode"] = time.perf_counter() - start - seconds["masks"]
    (folder / "masks.json").write_text(
        json.dumps(documents.masks_document(analysis, segmentation, found))
    )
    documents.write_labels(folder / "labels.npz", analysis, segmentation)
    documents.write_hierarchy(folder, analysis, segmentation)
    document = documents.summary(analysis, segmentation, seconds)
    (folder / "summary.json").write_text(json.dumps(document, indent=1))
    return document
