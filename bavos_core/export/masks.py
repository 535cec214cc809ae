"""Pixel masks of every frame of a clip, as palette PNG and COCO RLE.

F frames in the clip, T of them analysed, H×W pixels, C clusters. Between two analysed frames,
membership is blended by time and refined on the frame itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from .. import render
from ..analysis import Analysis
from ..refinement import nearest_pixels, refined_membership, refined_pixels
from ..segmentation import Segmentation
from ..video import ArrayClip, Clip

MAX_PNG_CLUSTERS = 255  # value 0 is background


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
        self, colours: np.ndarray, alpha: np.ndarray, style: render.Style = "both"
    ) -> np.ndarray:
        """The frame with every cluster in its colour (H, W, 3) uint8."""
        if self.refined:
            return render.paint(self.frame, *self._membership, colours, alpha, style)
        pixels = F.interpolate(self.soft[None], size=self.frame.shape[:2], mode="nearest")[0]
        clusters = torch.arange(len(self.soft))
        return render.paint(self.frame, clusters, pixels, colours, alpha, style)


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
        yield FrameMask(index, frame, blend(soft, analysis, index), analysis.settings.refined)


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


def blend(values: Tensor, analysis: Analysis, index: int) -> Tensor:
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


def png_values(segmentation: Segmentation) -> np.ndarray:
    """Value of each cluster in the PNG masks (C,) uint8: 0 for background, else its number + 1."""
    values = np.arange(1, segmentation.clusters + 1)
    values[segmentation.background | (values > MAX_PNG_CLUSTERS)] = 0
    return values.astype(np.uint8)


def mask_png(mask: FrameMask, values: np.ndarray) -> bytes:
    """One frame's masks as an 8-bit palette PNG in DAVIS colours."""
    image = Image.fromarray(values[mask.labels], mode="P")
    image.putpalette(render.davis_palette().tobytes())
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
