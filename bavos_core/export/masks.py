"""Pixel masks of every frame of a clip.

F frames in the clip, T of them analysed, H×W pixels, gh×gw pixels of the guide, C clusters, L
leaves. Between two analysed frames, membership is blended by time and refined on the frame itself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bavos_io.clip import ArrayClip, Clip, Timeline

from .. import render
from ..analysis import Analysis
from ..progress import checkpoint
from ..refinement import (
    Guide,
    NodeMaps,
    nearest_pixels,
    refined_maps,
    soft_membership,
    without_seams,
)  # fmt: skip
from ..segmentation import Segmentation

SOFT_EDGE = 0.3  # lead in membership, of 0 … 1, that makes a pixel of an object fully opaque


@dataclass(frozen=True)
class Grouping:
    """The nodes of the tree at which a cut ends, and what becomes of them."""

    node: np.ndarray  # (L,) the node that stands for each leaf
    cluster: np.ndarray  # (2L-1,) of these nodes
    hidden: np.ndarray  # (2L-1,) bool: seams that get no pixels

    @classmethod
    def of(cls, analysis: Analysis, leaf_cluster: np.ndarray, hidden: np.ndarray) -> Grouping:
        """Group leaves by cluster (L,), and by whether they are hidden (L,) bool."""
        node = analysis.tree.whole(2 * leaf_cluster + hidden)
        cluster, out = np.zeros((2, 2 * analysis.tree.leaves - 1), np.int64)
        cluster[node], out[node] = leaf_cluster, hidden
        return cls(node, cluster, out > 0)


@dataclass(frozen=True)
class FrameMask:
    """The masks of one frame of the clip, computed when they are asked for."""

    analysis: Analysis
    clip_frame: int  # index into the clip
    frame: np.ndarray  # (H, W, 3) uint8
    grouping: Grouping

    @cached_property
    def labels(self) -> np.ndarray:
        """Cluster of every pixel (H, W) int64."""
        return self.grouping.cluster[self.nodes(self.frame.shape[:2])[1]]

    def nodes(self, size: tuple[int, int] | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return the nodes that pixels descend to, and the same with no hidden ones.

        (*size) int64 each; without a size, at that of the guide. Where masks are not refined, both
        are those of the patches.
        """
        if not self.analysis.settings.refined:
            ((sample, _),) = surrounding(self.analysis, self.clip_frame)
            patches = self.grouping.node[self.analysis.nearest[sample, ..., 0]]
            pixels = nearest_pixels(patches, size or self.frame.shape[:2])
            return pixels, pixels
        first = self._maps.pixels(size)
        hidden = self.grouping.hidden[first]
        if not hidden.any():
            return first, first
        return first, np.where(hidden, self._solid_maps.pixels(size, hidden), first)

    def alpha(self, clusters: Collection[int]) -> np.ndarray:
        """Return how opaque each pixel is if only some clusters are kept: (H, W) uint8.

        Where masks are refined, it rises across their border, from 0 to 255, with the lead of the
        membership on the kept side over that on the other. Otherwise it is 0 or 255.
        """
        chosen = np.isin(self.grouping.cluster, list(clusters))
        if not self.analysis.settings.refined:
            return np.where(chosen[self.nodes()[1]], 255, 0).astype(np.uint8)
        maps, behind = self._maps, dict[int, Tensor]()
        if hidden := np.flatnonzero(self.grouping.hidden[maps.nodes]).tolist():
            solid = self._solid_maps
            behind = dict.fromkeys(hidden, solid.leads(chosen[solid.nodes]))
        lead = maps.leads(chosen[maps.nodes], behind)
        lead = F.interpolate(lead[None, None], self.frame.shape[:2], mode="bilinear")[0, 0]
        return np.asarray(((lead / SOFT_EDGE + 1) * 127.5).round_().clamp_(0, 255).byte().numpy())

    def painted(
        self, colours: np.ndarray, alpha: np.ndarray, style: render.Style = "both"
    ) -> np.ndarray:
        """Return the frame with every cluster in its colour (H, W, 3) uint8."""
        labels = self.grouping.cluster[self.nodes()[1]]
        return render.paint(self.frame, labels, colours, alpha, style)

    @cached_property
    def _guide(self) -> Guide:
        return Guide.of(self.frame)

    @cached_property
    def _maps(self) -> NodeMaps:
        return self._refine(np.zeros_like(self.analysis.seams))

    @cached_property
    def _solid_maps(self) -> NodeMaps:
        return self._refine(self.analysis.seams)

    def _refine(self, without: np.ndarray) -> NodeMaps:
        tree, parts = self.analysis.tree, []
        for sample, share in surrounding(self.analysis, self.clip_frame):
            near, distance = self.analysis.nearest[sample], self.analysis.distance[sample]
            soft = without_seams(soft_membership(near, distance, tree.leaves), without)
            parts.append(share * soft)
        children = tree.merges[:, :2].astype(np.int64)
        return refined_maps(torch.stack(parts).sum(0), self._guide, self.grouping.node, children)


def analysed_mask(analysis: Analysis, segmentation: Segmentation, sample_index: int) -> FrameMask:
    """Return the masks of one analysed frame; sample_index: 0 … T-1."""
    clip_frame, frame = int(analysis.analysed[sample_index]), analysis.frames[sample_index]
    return FrameMask(analysis, clip_frame, frame, _grouping(analysis, segmentation))


def all_masks(
    analysis: Analysis, segmentation: Segmentation, clip: Clip | None
) -> Iterator[FrameMask]:
    """Yield the masks of every frame of the clip; without the clip, of the analysed frames."""
    grouping = _grouping(analysis, segmentation)
    for clip_frame, frame in numbered_frames(analysis, clip):
        yield FrameMask(analysis, clip_frame, frame, grouping)


def _grouping(analysis: Analysis, segmentation: Segmentation) -> Grouping:
    hidden = analysis.seams & segmentation.background[segmentation.leaf_cluster]
    return Grouping.of(analysis, segmentation.leaf_cluster, hidden)


def leaf_maps(
    analysis: Analysis, frame: np.ndarray, clip_frame: int, size: tuple[int, int] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the leaf of every pixel of a frame of the clip, twice: (*size) int64 each.

    frame (H, W, 3) uint8; size: of the maps, without it that of the frame. In any cut, a pixel has
    the cluster of its first leaf; but where that is a seam (see `Analysis.seams`) and no object,
    that of its second. The two differ at seams only. The pixels of `all_masks` are the same.
    """
    grouping = Grouping.of(analysis, np.arange(analysis.tree.leaves), analysis.seams)
    return FrameMask(analysis, clip_frame, frame, grouping).nodes(size or frame.shape[:2])


def numbered_frames(analysis: Analysis, clip: Clip | None) -> Iterator[tuple[int, np.ndarray]]:
    """Yield index into the clip and frame (H, W, 3) of a clip, or of the analysed frames."""
    numbers = range(len(analysis.times)) if clip else analysis.analysed.tolist()
    for numbered in zip(numbers, shown_clip(analysis, clip)[0].read(), strict=False):  # damaged?
        checkpoint()
        yield numbered


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


def surrounding(analysis: Analysis, clip_frame: int) -> list[tuple[int, float]]:
    """Return the analysed frames (0 … T-1) around a frame of the clip, and their shares in it."""
    before = int(np.searchsorted(analysis.analysed, clip_frame, side="right")) - 1
    after = min(before + 1, len(analysis.analysed) - 1)
    if before < 0 or before == after:
        return [(after, 1.0)]
    start, stop = analysis.times[analysis.analysed[[before, after]]]
    share = float((analysis.times[clip_frame] - start) / max(stop - start, 1e-9))
    if not analysis.settings.refined:
        share = round(share)  # whole labels are carried from the nearest analysed frame
    return [part for part in ((before, 1 - share), (after, share)) if part[1] > 0]


def blend(values: Tensor, analysis: Analysis, clip_frame: int) -> Tensor:
    """Return values (T, ...) of analysed frames, blended by time for one frame of the clip."""
    parts = [share * values[sample] for sample, share in surrounding(analysis, clip_frame)]
    return torch.stack(parts).sum(0)


def png_values(segmentation: Segmentation) -> np.ndarray:
    """Return the PNG value of each cluster (C,) uint8: 0 for background, else its number + 1."""
    values = np.arange(1, segmentation.clusters + 1)
    values[segmentation.background | (values > render.MAX_PARTS)] = 0
    return values.astype(np.uint8)
