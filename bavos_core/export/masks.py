"""Pixel masks of every frame of a clip, as palette PNG.

F frames in the clip, T of them analysed, H×W pixels, C clusters. Between two analysed frames,
membership is blended by time and refined on the frame itself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from bavos_io.clip import ArrayClip, Clip, Timeline

from .. import render
from ..analysis import Analysis
from ..refinement import nearest_pixels, refined_membership, refined_pixels
from ..segmentation import Segmentation

SOFT_EDGE = 0.3  # lead in membership, of 0 … 1, that makes a pixel of an object fully opaque


@dataclass(frozen=True)
class FrameMask:
    """The masks of one frame of the clip, computed when they are asked for."""

    clip_frame: int  # index into the clip
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

    def alpha(self, clusters: Collection[int]) -> np.ndarray:
        """Return how opaque each pixel is if only some clusters are kept: (H, W) uint8.

        Where masks are refined, it rises across their border, from 0 to 255, with the lead of the
        kept clusters' membership over that of the others. Otherwise it is 0 or 255.
        """
        chosen = torch.tensor(list(clusters))
        if not self.refined:
            return np.where(np.isin(self.labels, chosen), 255, 0).astype(np.uint8)
        present, membership = self._membership
        kept = torch.isin(present, chosen)
        none = torch.zeros_like(membership[:1])
        inside, outside = (torch.cat([none, membership[part]]).amax(0) for part in (kept, ~kept))
        lead = F.interpolate((inside - outside)[None, None], self.frame.shape[:2], mode="bilinear")
        opaque = (lead[0, 0] / SOFT_EDGE + 1) * 127.5
        return np.asarray(opaque.round_().clamp_(0, 255).byte().numpy())

    def painted(
        self, colours: np.ndarray, alpha: np.ndarray, style: render.Style = "both"
    ) -> np.ndarray:
        """Return the frame with every cluster in its colour (H, W, 3) uint8."""
        if self.refined:
            return render.paint(self.frame, *self._membership, colours, alpha, style)
        pixels = F.interpolate(self.soft[None], size=self.frame.shape[:2], mode="nearest")[0]
        clusters = torch.arange(len(self.soft))
        return render.paint(self.frame, clusters, pixels, colours, alpha, style)


def analysed_mask(analysis: Analysis, segmentation: Segmentation, sample_index: int) -> FrameMask:
    """Return the masks of one analysed frame; sample_index: 0 … T-1."""
    return FrameMask(
        int(analysis.analysed[sample_index]),
        analysis.frames[sample_index],
        _soft(analysis, segmentation)[sample_index],
        analysis.settings.refined,
    )


def all_masks(
    analysis: Analysis, segmentation: Segmentation, clip: Clip | None
) -> Iterator[FrameMask]:
    """Yield the masks of every frame of the clip; without the clip, of the analysed frames."""
    soft = _soft(analysis, segmentation)
    for clip_frame, frame in numbered_frames(analysis, clip):
        mixed = blend(soft, analysis, clip_frame)
        yield FrameMask(clip_frame, frame, mixed, analysis.settings.refined)


def numbered_frames(analysis: Analysis, clip: Clip | None) -> Iterator[tuple[int, np.ndarray]]:
    """Yield index into the clip and frame (H, W, 3) of a clip, or of the analysed frames."""
    numbers = range(len(analysis.times)) if clip else analysis.analysed.tolist()
    return zip(numbers, shown_clip(analysis, clip)[0].read(), strict=False)  # may be damaged


def analysed_clip(analysis: Analysis) -> ArrayClip:
    """Return the analysed frames as a clip of their own, at the size of the clip."""
    names = tuple(analysis.frame_names[i] for i in analysis.analysed)
    times = analysis.times[analysis.analysed]
    timeline = Timeline(times - times[0], analysis.end - times[0])
    return ArrayClip(analysis.frames, timeline, names, analysis.clip_name, analysis.size)


def shown_clip(analysis: Analysis, clip: Clip | None) -> tuple[Clip, Timeline]:
    """Return a clip, or the analysed frames without one, and when its frames are shown."""
    if clip:
        return clip, Timeline(analysis.times, analysis.end)
    still = analysed_clip(analysis)
    return still, still.timeline


def _soft(analysis: Analysis, segmentation: Segmentation) -> Tensor:
    """Return membership (T, C, h, w); hard if masks are not refined, as the paper's labels are."""
    if analysis.settings.refined:
        return segmentation.membership
    hard = F.one_hot(torch.from_numpy(segmentation.labels), segmentation.clusters)
    return hard.permute(0, 3, 1, 2).float()


def blend(values: Tensor, analysis: Analysis, clip_frame: int) -> Tensor:
    """Return values (T, ...) of analysed frames, blended by time for one frame of the clip."""
    before = int(np.searchsorted(analysis.analysed, clip_frame, side="right")) - 1
    after = min(before + 1, len(values) - 1)
    if before < 0 or before == after:
        return values[after]
    start, stop = analysis.times[analysis.analysed[[before, after]]]
    share = float((analysis.times[clip_frame] - start) / max(stop - start, 1e-9))
    if not analysis.settings.refined:
        share = round(share)  # whole labels are carried from the nearest analysed frame
    return torch.lerp(values[before], values[after], share)


def png_values(segmentation: Segmentation) -> np.ndarray:
    """Return the PNG value of each cluster (C,) uint8: 0 for background, else its number + 1."""
    values = np.arange(1, segmentation.clusters + 1)
    values[segmentation.background | (values > render.MAX_PARTS)] = 0
    return values.astype(np.uint8)


def mask_png(mask: FrameMask, values: np.ndarray) -> bytes:
    """Return one frame's masks as an 8-bit palette PNG in DAVIS colours."""
    image = Image.fromarray(values[mask.labels], mode="P")
    image.putpalette(render.davis_palette().tobytes())
    buffer = BytesIO()
    image.save(buffer, "PNG", compress_level=3)  # labels shrink well at any level
    return buffer.getvalue()
