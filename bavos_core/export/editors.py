"""Chosen objects, cut out of the clip for video editors."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bavos_io.clip import Clip, TimedFrame
from bavos_io.cut_outs import CutOutKind, CutOutWriter

from ..analysis import Analysis
from ..errors import InputError
from ..progress import Progress, Stage, checkpoint, reporting, silent
from ..segmentation import Segmentation
from .masks import all_masks, shown_clip


@dataclass(frozen=True)
class CutOuts:
    """Which objects are cut out, and how."""

    kind: CutOutKind
    clusters: tuple[int, ...] | None = None  # from 0; None for all objects
    each: bool = False  # one file per object instead of one for all of them

    def files(self, segmentation: Segmentation) -> dict[str, tuple[int, ...]]:
        """Return the clusters of every file, by its name without suffix.

        Objects are numbered from 1 there, as in their usual names. Raise InputError for clusters
        that are not in the clip, and when there are none.
        """
        objects, present = segmentation.objects, segmentation.present
        chosen = tuple(objects if self.clusters is None else dict.fromkeys(self.clusters))
        if wrong := [cluster for cluster in chosen if cluster not in present]:
            known = ", ".join(str(cluster + 1) for cluster in objects[:20])
            raise InputError(f"There is no object {wrong[0] + 1} here; choose from {known}.")
        if not chosen:
            raise InputError("There is no object to cut out; make one of the clusters an object.")
        if self.each:
            return {f"object-{cluster + 1}": (cluster,) for cluster in chosen}
        return {"objects": chosen}


@reporting
def write_cut_outs(
    folder: Path,
    analysis: Analysis,
    segmentation: Segmentation,
    clip: Clip | None,
    wanted: CutOuts,
    *,
    progress: Progress = silent,
) -> None:
    """Write chosen objects into a folder, at the size and times of the clip and without sound.

    PNG frames go into a folder of their own. Without the clip, the analysed frames are written.
    """
    files = wanted.files(segmentation)
    shown, timeline = shown_clip(analysis, clip)
    with ExitStack() as stack:
        writers = [CutOutWriter(folder / name, wanted.kind, size=shown.size) for name in files]
        for writer in writers:
            stack.enter_context(writer)
        masks = all_masks(analysis, segmentation, clip)
        for mask, (start, end) in zip(masks, timeline.spans, strict=False):
            for writer, clusters in zip(writers, files.values(), strict=True):
                checkpoint()
                name = analysis.frame_names[mask.clip_frame]
                writer.write(TimedFrame(start, end, mask.frame), mask.alpha(clusters), name)
            progress(Stage.CUT_OUTS, min(1.0, end / timeline.end))
