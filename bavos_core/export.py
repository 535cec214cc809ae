"""Results on disk: overlay and heatmap videos, palette PNGs, COCO RLE, NPZ, hierarchy, summary.

F frames in the clip, T of them analysed, H×W pixels, C clusters. Masks exist for every frame of the
clip: between two analysed frames, membership is blended by time and refined on the frame itself.
"""

from __future__ import annotations

import json
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from . import drawing
from .analysis import Analysis
from .errors import InputError
from .files import cannot_write, replacing
from .masks import Segmentation, nearest_pixels, refined_membership, refined_pixels
from .video import ArrayClip, Clip, VideoWriter, playback

OPACITY = 0.55  # of painted objects
MAX_PNG_CLUSTERS = 255  # value 0 is background

Report = Callable[[float], None]  # share done, 0 … 1


@dataclass(frozen=True)
class FrameMask:
    """The masks of one frame of the clip, worked out when they are asked for."""

    index: int  # in the clip
    frame: np.ndarray  # (H, W, 3) uint8
    soft: Tensor  # (C, h, w)
    refined: bool

    @cached_property
    def _membership(self) -> tuple[Tensor, Tensor]:
        return refined_membership(self.soft, self.frame)

    @cached_property
    def labels(self) -> np.ndarray:
        """Cluster of every pixel (H, W) int64."""
        size = self.frame.shape[:2]
        if self.refined:
            return refined_pixels(*self._membership, size)
        return nearest_pixels(self.soft.argmax(0).numpy(), size)

    def painted(
        self, colours: np.ndarray, alpha: np.ndarray, style: drawing.Style = "both"
    ) -> np.ndarray:
        """The frame with every cluster in its colour (H, W, 3) uint8."""
        if self.refined:
            return drawing.paint(self.frame, *self._membership, colours, alpha, style)
        pixels = F.interpolate(self.soft[None], size=self.frame.shape[:2], mode="nearest")[0]
        clusters = torch.arange(len(self.soft))
        return drawing.paint(self.frame, clusters, pixels, colours, alpha, style)


def analysed_mask(analysis: Analysis, segmentation: Segmentation, position: int) -> FrameMask:
    """Masks of one analysed frame, by its position 0 … T-1."""
    return FrameMask(
        int(analysis.analysed[position]),
        analysis.frames[position],
        _soft(analysis, segmentation)[position],
        analysis.settings.refined,
    )


def all_masks(
    analysis: Analysis, segmentation: Segmentation, clip: Clip | None
) -> Iterator[FrameMask]:
    """Masks of every frame of the clip; without the clip, of the analysed frames only."""
    soft = _soft(analysis, segmentation)
    shown = clip or analysed_clip(analysis)
    numbers = range(len(shown.times)) if clip else analysis.analysed.tolist()
    for index, frame in zip(numbers, shown.read(), strict=False):  # a damaged tail is shorter
        yield FrameMask(index, frame, _blend(soft, analysis, index), analysis.settings.refined)


def analysed_clip(analysis: Analysis) -> Clip:
    """The analysed frames as a clip of their own."""
    names = tuple(analysis.frame_names[i] for i in analysis.analysed)
    times = analysis.times[analysis.analysed]
    return ArrayClip(analysis.frames, times - times[0], names, analysis.clip_name)


def _soft(analysis: Analysis, segmentation: Segmentation) -> Tensor:
    """Membership (T, C, h, w); hard where masks are not refined, so that labels are the paper's."""
    if analysis.settings.refined:
        return segmentation.membership
    hard = F.one_hot(torch.from_numpy(segmentation.labels), segmentation.clusters)
    return hard.permute(0, 3, 1, 2).float()


def _blend(values: Tensor, analysis: Analysis, index: int) -> Tensor:
    """Values (T, ...) of analysed frames, blended by time for frame `index` of the clip."""
    before = int(np.searchsorted(analysis.analysed, index, side="right")) - 1
    after = min(before + 1, len(values) - 1)
    if before < 0 or before == after:
        return values[after]
    start, stop = analysis.times[analysis.analysed[[before, after]]]
    share = float((analysis.times[index] - start) / max(stop - start, 1e-9))
    if not analysis.settings.refined:
        share = round(share)  # whole labels are carried from the nearest analysed frame
    return torch.lerp(values[before], values[after], share)


# ---- videos ------------------------------------------------------------------------------------


def write_overlay(
    path: Path,
    analysis: Analysis,
    segmentation: Segmentation,
    clip: Clip | None,
    *,
    opacity: float = OPACITY,
    show_background: bool = False,
    hidden: Collection[int] = (),
    progress: Report | None = None,
) -> None:
    """The clip with every object in its colour, at the clip's own size and times."""
    colours, alpha = drawing.cluster_paint(
        segmentation.background,
        opacity=opacity,
        show_background=show_background,
        hidden=hidden,
    )
    masks = all_masks(analysis, segmentation, clip)
    _write(path, clip or analysed_clip(analysis), (m.painted(colours, alpha) for m in masks),
           progress)  # fmt: skip


def write_heatmap(
    path: Path,
    analysis: Analysis,
    row: np.ndarray,
    clip: Clip | None,
    *,
    query: tuple[int, float, float] | None = None,
    progress: Report | None = None,
) -> None:
    """The clip under the heatmap of one attention row (T, h, w); colours mean the same throughout.

    query: analysed frame, y and x of the point to mark.
    """
    shown = clip or analysed_clip(analysis)
    numbers = range(len(shown.times)) if clip else analysis.analysed.tolist()
    heat = torch.from_numpy(row / drawing.heat_scale(row))

    def frames() -> Iterator[np.ndarray]:
        for index, frame in zip(numbers, shown.read(), strict=False):
            over = drawing.heat_overlay(frame, _blend(heat, analysis, index).numpy())
            if query and index == analysis.analysed[query[0]]:
                over = drawing.mark_point(over, query[1], query[2])
            yield over

    _write(path, shown, frames(), progress)


def _write(path: Path, clip: Clip, frames: Iterator[np.ndarray], progress: Report | None) -> None:
    """Write frames at the clip's times."""
    fps, order = playback(clip.times)
    repeats = np.bincount(order, minlength=len(clip.times))
    with VideoWriter(path, size=clip.size, fps=fps) as video:
        for i, frame in enumerate(frames):
            for _ in range(repeats[i]):
                video.write(frame)
            if progress:
                progress((i + 1) / len(repeats))


# ---- masks -------------------------------------------------------------------------------------


def png_values(segmentation: Segmentation) -> np.ndarray:
    """Value of each cluster in the PNG masks (C,) uint8: 0 for background, else its number + 1."""
    values = np.arange(1, segmentation.clusters + 1)
    values[segmentation.background | (values > MAX_PNG_CLUSTERS)] = 0
    return values.astype(np.uint8)


def mask_png(mask: FrameMask, values: np.ndarray) -> bytes:
    """One frame's masks as an 8-bit palette PNG in DAVIS colours."""
    image = Image.fromarray(values[mask.labels], mode="P")
    image.putpalette(drawing.davis_palette().tobytes())
    buffer = BytesIO()
    image.save(buffer, "PNG", compress_level=3)  # labels shrink well at any level
    return buffer.getvalue()


def mask_annotations(mask: FrameMask, name: str) -> list[dict[str, Any]]:
    """COCO annotations of one frame: one run-length-coded mask per cluster in it."""
    starts, values = label_runs(mask.labels)
    height = mask.labels.shape[0]
    annotations = []
    for cluster in np.unique(values).tolist():
        chosen = values == cluster
        begin, end = starts[:-1][chosen], starts[1:][chosen]
        columns = begin // height, (end - 1) // height
        spans = columns[0] != columns[1]  # a run over several columns reaches top and bottom
        top = 0 if spans.any() else int((begin % height).min())
        bottom = height - 1 if spans.any() else int(((end - 1) % height).max())
        left, right = int(columns[0].min()), int(columns[1].max())
        annotations.append(
            {
                "frame": mask.index,
                "file_name": name,
                "cluster": cluster,
                "area": int((end - begin).sum()),
                "bbox": [left, top, right - left + 1, bottom - top + 1],
                "segmentation": {
                    "size": [int(side) for side in mask.labels.shape],
                    "counts": rle_counts(begin, end, mask.labels.size),
                },
            }
        )
    return annotations


def label_runs(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Runs of equal labels down the columns of (H, W): starts (R+1,) with the end, values (R,)."""
    flat = labels.T.ravel()
    starts = np.concatenate([[0], np.flatnonzero(np.diff(flat)) + 1])
    return np.append(starts, flat.size), flat[starts]


def rle_counts(begin: np.ndarray, end: np.ndarray, total: int) -> str:
    """COCO's compressed run-length code of a mask whose ones are at begin … end-1 (both (R,)).

    Run lengths alternate between zeros and ones and begin with zeros. Each is written as its
    difference to the run two before, from the third on, five bits a character from the low end,
    with bit 5 for "more" (as pycocotools does).
    """
    edges = np.stack([begin, end], axis=1).ravel()
    runs = np.diff(np.concatenate([[0], edges, [total]]))
    if runs[-1] == 0:
        runs = runs[:-1]
    differences = runs.copy()
    differences[3:] -= runs[1:-2]
    return "".join(_rle_characters(int(value)) for value in differences)


def _rle_characters(value: int) -> str:
    characters = ""
    while True:
        low, value = value & 0x1F, value >> 5
        done = value == (-1 if low & 0x10 else 0)
        characters += chr(48 + (low if done else low | 0x20))
        if done:
            return characters


def masks_document(
    analysis: Analysis, segmentation: Segmentation, annotations: list[dict[str, Any]]
) -> dict[str, Any]:
    """The COCO-style document that holds all annotations."""
    return {
        "clip": analysis.clip_name,
        "size": list(analysis.size),
        "frames": list(analysis.frame_names),
        "clusters": [
            {
                "id": i,
                "name": segmentation.name(i),
                "background": bool(segmentation.background[i]),
                "png_value": int(value),
                "colour": list(drawing.object_colour(i)),
            }
            for i, value in enumerate(png_values(segmentation))
        ],
        "annotations": annotations,
    }


def write_labels(path: Path, analysis: Analysis, segmentation: Segmentation) -> None:
    """Patch labels and what they refer to, as NPZ."""
    with replacing(path) as part, part.open("wb") as file:
        np.savez_compressed(
            file,
            labels=segmentation.labels.astype(np.int32),  # (T, h, w)
            analysed=analysis.analysed,  # (T,) frame numbers
            times=analysis.times,  # (F,) seconds
            background=segmentation.background,  # (C,) the roles
            names=np.array([segmentation.name(i) for i in range(segmentation.clusters)]),  # (C,)
            tau=segmentation.tau,
            size=np.array(analysis.size),
            levels=analysis.levels,  # (R, T, h, w) the paper's process: window merge, then rounds
            leaf_labels=analysis.nearest[..., 0],  # (T, h, w) leaf of every patch
            leaf_rows=analysis.tree.rows,  # (L, K·h·w) mean attention, in units of 1/(K·h·w)
        )


# ---- hierarchy and summary ---------------------------------------------------------------------


def hierarchy_document(analysis: Analysis, segmentation: Segmentation) -> dict[str, Any]:
    """The whole tree, node by node, the present cut, and the levels of the paper's process.

    A node's `attention` is the share of its mean row that each key frame gets; whole rows of the
    leaves are in labels.npz. `instances` says whether its children are instances of one cluster,
    `splits` which parts a person divided a cluster into; the leaves stay with the first.
    """
    tree = analysis.tree
    slots, cluster = tree.slots(), tree.node_clusters(segmentation.leaf_cluster)
    counts = tree.node_counts()
    attention = _attention_per_key_frame(analysis)
    nodes: list[dict[str, Any]] = []
    for node in range(2 * tree.leaves - 1):
        inner = tree.merges[node - tree.leaves] if node >= tree.leaves else None
        nodes.append(
            {
                "id": node,
                "children": [] if inner is None else [int(inner[0]), int(inner[1])],
                "distance": 0.0 if inner is None else float(inner[2]),
                "patches": int(counts[node].sum()),
                "frames": analysis.analysed[counts[node] > 0].tolist(),
                "number": int(slots[node]),
                "cluster": int(cluster[node]),
                "instances": inner is not None and bool(tree.instances[node - tree.leaves]),
                "attention": [round(float(share), 4) for share in attention[node]],
            }
        )
    return {
        "clip": analysis.clip_name,
        "tau": segmentation.tau,
        "clusters": segmentation.clusters,
        "background": np.flatnonzero(segmentation.background).tolist(),
        "names": {i: segmentation.name(i) for i in segmentation.present},
        "roles": {i: segmentation.role(i) for i in segmentation.present},
        "splits": {i: list(parts) for i, parts in segmentation.splits.items()},
        "leaves": tree.leaves,
        "key_frames": analysis.key_frames.tolist(),
        "nodes": nodes,
        "levels": [int(level.max()) + 1 for level in analysis.levels],  # clusters of each
    }


def _attention_per_key_frame(analysis: Analysis) -> np.ndarray:
    """Share of every node's mean row that each key frame gets: (2L-1, K)."""
    tree = analysis.tree
    per_frame = tree.rows.reshape(tree.leaves, len(analysis.key_frames), -1)
    summed = tree.sum_over_nodes(per_frame.sum(2, dtype=np.float64) * tree.weights[:, None])
    return summed / summed.sum(1, keepdims=True)


def write_hierarchy(folder: Path, analysis: Analysis, segmentation: Segmentation) -> None:
    """hierarchy.json and hierarchy.svg."""
    with replacing(folder / "hierarchy.json") as part:
        part.write_text(json.dumps(hierarchy_document(analysis, segmentation)))
    with replacing(folder / "hierarchy.svg") as part:
        svg = drawing.hierarchy_svg(
            analysis.tree, segmentation.tau, segmentation.leaf_cluster, segmentation.background
        )
        part.write_text(svg, encoding="utf-8")


def summary(
    analysis: Analysis, segmentation: Segmentation, extra_seconds: dict[str, float]
) -> dict[str, Any]:
    """What was run, how long it took and what came out."""
    seconds = {**analysis.timings, **extra_seconds}
    return {
        "clip": analysis.clip_name,
        "size": list(analysis.size),
        "frames": len(analysis.times),
        "frames_analysed": len(analysis.analysed),
        "grid": list(analysis.grid),
        "source": analysis.source,
        "tau": segmentation.tau,
        "clusters": segmentation.clusters,
        "objects": len(segmentation.objects),
        "names": {i: segmentation.name(i) for i in segmentation.present},
        "seconds": {stage: round(value, 3) for stage, value in seconds.items()},
        "frames_per_second": round(len(analysis.analysed) / max(sum(seconds.values()), 1e-9), 2),
        "peak_memory_mib": analysis.peak_memory_mib,
        "settings": analysis.settings.to_dict(),
        "warnings": [*analysis.notes, *_overflow(segmentation)],
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "timm", "numpy")},
        },
    }


def _overflow(segmentation: Segmentation) -> list[str]:
    extra = segmentation.clusters - MAX_PNG_CLUSTERS
    if extra <= 0:
        return []
    return [f"{extra} clusters do not fit into 8-bit masks; they are in masks.json only."]


def write_all(
    out: Path,
    analysis: Analysis,
    segmentation: Segmentation,
    clip: Clip | None,
    *,
    progress: Report | None = None,
) -> dict[str, Any]:
    """Every result of `segment` in one folder (design, command line), in one pass over the clip.

    The folder is filled under another name first, so an interrupted run leaves nothing half-made.
    Returns the summary.
    """
    with _staged(out) as stage:
        return _fill(stage, analysis, segmentation, clip, progress)


@contextmanager
def _staged(out: Path) -> Iterator[Path]:
    """A folder whose files move to `out` when all went well; otherwise nothing is left of it.

    Raises InputError when files cannot be written, be it for want of room.
    """
    new = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        _make_folder(out)
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


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The folder {folder} cannot be written to; choose another.") from error


def _fill(
    folder: Path,
    analysis: Analysis,
    segmentation: Segmentation,
    clip: Clip | None,
    progress: Report | None,
) -> dict[str, Any]:
    (folder / "masks").mkdir()
    seconds = {"masks": 0.0, "encode": 0.0}
    colours, alpha = drawing.cluster_paint(
        segmentation.background, opacity=OPACITY, show_background=False
    )
    values = png_values(segmentation)
    annotations: list[dict[str, Any]] = []

    def painted() -> Iterator[np.ndarray]:
        for mask in all_masks(analysis, segmentation, clip):
            start = time.perf_counter()
            name = analysis.frame_names[mask.index]
            (folder / "masks" / f"{name}.png").write_bytes(mask_png(mask, values))
            annotations.extend(mask_annotations(mask, name))
            frame = mask.painted(colours, alpha)
            seconds["masks"] += time.perf_counter() - start
            yield frame

    start = time.perf_counter()
    _write(folder / "overlay.mp4", clip or analysed_clip(analysis), painted(), progress)
    seconds["encode"] = time.perf_counter() - start - seconds["masks"]
    (folder / "masks.json").write_text(
        json.dumps(masks_document(analysis, segmentation, annotations))
    )
    write_labels(folder / "labels.npz", analysis, segmentation)
    write_hierarchy(folder, analysis, segmentation)
    document = summary(analysis, segmentation, seconds)
    (folder / "summary.json").write_text(json.dumps(document, indent=1))
    return document
