"""From patches to pixel masks (paper, 3.3).

T analysed frames, h×w patch grid, L leaves, G nodes, H×W pixels of the clip.
The paper copies each patch label to its pixels. By default, the membership of the leaves is
up-sampled, weighted by how common the pixel's colour is in each leaf, and aligned with the edges of
the frame by a guided filter (He et al., ECCV 2010). Each pixel then descends the tree from its
root, at each node to the child with the larger membership, and so belongs to one leaf, whatever the
cut: cuts, merges and splits only group leaves.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

_SOFTNESS = 0.3  # symmetric KL over which membership falls by e
_UNLIKELY = 1e-4  # membership of a place that colour can still outweigh
_GUIDE_SIDE = 384  # pixels: longest side at which borders are refined
_RADIUS = 3  # pixels of the guide at half its size
_EPSILON = 2e-3  # below this variance (of 0 … 1 grey) the guide counts as flat
_COLOUR_STEPS = 16  # a channel
_FAINT = 0.12  # the strongest of a patch's 8 leaves has 1/8


# ---- membership of patches ----------------------------------------------------------------------


def soft_membership(index: np.ndarray, distance: np.ndarray, leaves: int) -> Tensor:
    """Return how much each patch of a frame belongs to each leaf, (L, h, w) float32.

    index and distance (h, w, k): its nearest leaves. A softmax of the negative distances.
    """
    weight = (-torch.from_numpy(distance.astype(np.float32)) / _SOFTNESS).softmax(-1)
    soft = weight.new_zeros(*index.shape[:2], leaves)
    soft.scatter_add_(2, torch.from_numpy(index.astype(np.int64)), weight)
    return soft.permute(2, 0, 1).contiguous()


def without_seams(soft: Tensor, seams: np.ndarray) -> Tensor:
    """Return membership (L, h, w) with that of the seams (L,) bool given to the other leaves.

    Each patch keeps the proportions that are left. Where nothing is left, it is as the nearest
    patch; a frame of nothing but seams stays as it is.
    """
    kept = soft.clone()
    kept[torch.from_numpy(seams)] = 0
    left = kept.sum(0) > _UNLIKELY  # (h, w)
    if not left.any():
        return soft
    if not left.all():
        rows, columns = nearest_place(left.numpy())
        kept = kept[:, rows, columns]
    return kept / kept.sum(0)


def nearest_place(where: np.ndarray) -> np.ndarray:
    """Return row and column of the nearest true place of every place: (h, w) bool → (2, h, w)."""
    return np.asarray(
        ndimage.distance_transform_edt(~where, return_distances=False, return_indices=True)
    )


# ---- membership of pixels -----------------------------------------------------------------------


@dataclass(frozen=True)
class Guide:
    """A frame, small: what borders are aligned with."""

    colours: np.ndarray  # (⌈gh/2⌉, ⌈gw/2⌉, 3) uint8
    grey: Tensor  # (gh, gw) float32 in 0 … 1; the longer side is at most 384

    @classmethod
    def of(cls, frame: np.ndarray) -> Guide:
        """Return the guide of a frame (H, W, 3) uint8."""
        shrink = min(1.0, _GUIDE_SIDE / max(frame.shape[:2]))
        picture = _resampled(frame, [max(1, round(side * shrink)) for side in frame.shape[:2]])
        half = [(side + 1) // 2 for side in picture.shape[:2]]
        return cls(_resampled(picture, half), _grey(picture))


@dataclass(frozen=True)
class NodeMaps:
    """Membership of pixels in nodes of the tree that lie side by side, and how these merge."""

    nodes: np.ndarray  # (G,) int64, those that appear
    maps: Tensor  # (G, gh, gw)
    pairs: Sequence[tuple[int, int]]  # places that merge; the i-th pair makes place G + i

    @functools.cached_property
    def _coarse(self) -> Tensor:
        return self.winners()

    def winners(self, maps: Tensor | None = None) -> Tensor:
        """Return the place in `nodes` that each pixel descends to, of maps (G, …): (…) int64.

        At each node, it goes to the child with the larger membership.
        """
        sums = list(self.maps if maps is None else maps)
        found = [torch.full_like(sums[0], i, dtype=torch.int16) for i in range(len(sums))]
        for a, b in self.pairs:
            found.append(torch.where(sums[a] >= sums[b], found[a], found[b]))
            sums.append(sums[a] + sums[b])
        return found[-1].long()

    def leads(self, chosen: np.ndarray, behind: Mapping[int, Tensor] | None = None) -> Tensor:
        """Return by how much each pixel descends to chosen nodes, (gh, gw) in about -1 … 1.

        chosen (G,) bool. behind: by place, leads (gh, gw) that decide at nodes instead. It is above
        0 just where the pixel does, and goes through 0 at the border, with the difference of the
        membership of the nodes that meet there.
        """
        sums = list(self.maps)
        lead = [torch.full_like(sums[0], 1.0 if inside else -1.0) for inside in chosen.tolist()]
        lead = [(behind or {}).get(place, own) for place, own in enumerate(lead)]
        for a, b in self.pairs:
            lead.append(choose(sums[a] - sums[b], lead[a], lead[b]))
            sums.append(sums[a] + sums[b])
        return lead[-1]

    def pixels(
        self, size: tuple[int, int] | None = None, where: np.ndarray | None = None
    ) -> np.ndarray:
        """Return the node of every pixel, (*size) int64; without a size, at that of the maps.

        The result is that of up-sampling every map bilinearly; but where the four map pixels around
        a pixel agree, which is nearly everywhere, there is nothing to compute. where (*size) bool:
        pixels that are asked for.
        """
        coarse = self._coarse
        if size is None:
            return np.asarray(self.nodes[coarse.numpy()])
        (y0, y1, wy), (x0, x1, wx) = (
            _bilinear(wanted, given) for wanted, given in zip(size, coarse.shape, strict=True)
        )
        upper, lower = coarse[y0], coarse[y1]  # (H, gw)
        pixels = upper[:, x0]
        agree = (pixels == upper[:, x1]) & (pixels == lower[:, x0]) & (pixels == lower[:, x1])
        open_ = ~agree if where is None else ~agree & torch.from_numpy(where)
        rows, columns = open_.nonzero(as_tuple=True)
        flat, width = self.maps.flatten(1), coarse.shape[1]

        def row(y: Tensor) -> Tensor:
            left, right = (flat.index_select(1, y * width + x[columns]) for x in (x0, x1))
            return torch.lerp(left, right, wx[columns])

        pixels[rows, columns] = self.winners(torch.lerp(row(y0[rows]), row(y1[rows]), wy[rows]))
        return np.asarray(self.nodes[pixels.numpy()])


def choose(lead: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Return the lead of `first` where another lead is above 0, and that of `second` elsewhere.

    All go through 0 where the choice changes, but not where both would be chosen.
    """
    either = torch.maximum(torch.minimum(lead, first), torch.minimum(-lead, second))
    return torch.maximum(either, torch.minimum(first, second))


def refined_maps(soft: Tensor, guide: Guide, node: np.ndarray, children: np.ndarray) -> NodeMaps:
    """Refine membership of leaves (L, h, w) by the colours and edges of a frame.

    node (L,): the node that stands for each leaf, the leaf itself or one above it. children
    (L-1, 2): of the nodes above the leaves. Colours are counted and the filter's coefficients found
    at half the guide's size, at a quarter of the cost (He and Sun, "Fast Guided Filter", 2015).
    The filter is linear, so that leaves are summed before it.
    """
    present = (soft.flatten(1).amax(1) > _FAINT).nonzero().flatten()
    half = guide.colours.shape[:2]
    by_place = F.interpolate(soft[present][None], size=half, mode="bicubic")[0]
    weighted = weighted_by_colour(by_place, guide.colours)
    nodes, place = np.unique(node[present.numpy()], return_inverse=True)
    summed = weighted.new_zeros(len(nodes), *half).index_add_(0, torch.from_numpy(place), weighted)
    grey = _grey(guide.colours)
    slope, offset = guided_coefficients(grey, summed, radius=_RADIUS, epsilon=_EPSILON)
    size = guide.grey.shape
    maps = _resize(slope, size).mul_(guide.grey).add_(_resize(offset, size))
    return NodeMaps(nodes, maps, merging(nodes.tolist(), children))


def merging(nodes: Sequence[int], children: np.ndarray) -> list[tuple[int, int]]:
    """Return how nodes merge above: pairs of places, of which the i-th makes place G + i.

    nodes (G,): none is above another. children (L-1, 2): of the nodes above the leaves.
    """
    place, pairs = {node: i for i, node in enumerate(nodes)}, list[tuple[int, int]]()
    for node, both in enumerate(children.tolist(), len(children) + 1):
        below = [place[child] for child in both if child in place]
        if len(below) == 2:
            place[node] = len(nodes) + len(pairs)
            pairs.append((below[0], below[1]))
        elif below:
            place[node] = below[0]
    return pairs


def weighted_by_colour(maps: Tensor, picture: np.ndarray) -> Tensor:
    """Return membership by place (C, H, W), weighted by colour: (C, H, W).

    picture (H, W, 3) uint8. By Bayes' rule, a pixel's membership is that of its place times how
    common its colour is in the cluster. Colours are counted in 16 steps a channel and spread to the
    neighbouring steps. Sums to 1 over C.
    """
    maps = maps.clamp_min(_UNLIKELY)
    step = torch.from_numpy(picture // (256 // _COLOUR_STEPS)).long().flatten(0, 1)
    colour = step @ torch.tensor([_COLOUR_STEPS**2, _COLOUR_STEPS, 1])  # (H·W,)
    counts = maps.new_zeros(len(maps), _COLOUR_STEPS**3).index_add_(1, colour, maps.flatten(1))
    cube = counts.unflatten(1, (_COLOUR_STEPS,) * 3)
    common = F.avg_pool3d(cube[None], 3, stride=1, padding=1)[0].flatten(1)
    common = common / common.sum(1, keepdim=True)
    weighted = maps * common[:, colour].view_as(maps)
    return weighted / weighted.sum(0)


def _bilinear(wanted: int, given: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return lower and upper neighbour and weight of the upper, (wanted,) each; centres aligned."""
    place = ((torch.arange(wanted) + 0.5) * (given / wanted) - 0.5).clamp(0, given - 1)
    low = place.long()
    return low, (low + 1).clamp(max=given - 1), place - low


def guided_coefficients(
    guide: Tensor, maps: Tensor, *, radius: int, epsilon: float
) -> tuple[Tensor, Tensor]:
    """Return slope and offset (C, H, W) that make each map locally linear in the guide.

    guide (H, W) float32 in 0 … 1, maps (C, H, W), averaged over windows (He, Sun and Tang, ECCV
    2010, eq. 5, 6 and 8).
    """
    mean_guide = box_mean(guide[None], radius)
    variance = box_mean((guide * guide)[None], radius) - mean_guide**2
    mean_maps = box_mean(maps, radius)
    covariance = box_mean(guide * maps, radius) - mean_guide * mean_maps
    slope = covariance / (variance + epsilon)
    offset = mean_maps - slope * mean_guide
    return box_mean(slope, radius), box_mean(offset, radius)


def box_mean(maps: Tensor, radius: int) -> Tensor:
    """Return the mean over squares of side 2·radius+1 within the picture, (C, H, W) → (C, H, W).

    Two products with band matrices: five times as fast as average pooling, which has no
    vectorised kernel for long thin windows.
    """
    height, width = maps.shape[1:]
    return _band(height, radius) @ maps @ _band(width, radius).T


@functools.lru_cache(maxsize=16)
def _band(length: int, radius: int) -> Tensor:
    """Return the matrix (length, length) of means over the values within the radius."""
    places = torch.arange(length)
    near = ((places[:, None] - places).abs() <= radius).float()
    return near / near.sum(1, keepdim=True)


def _resampled(picture: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Resample (H, W, 3) uint8 to (*size, 3); each pixel is the mean of the area that it covers."""
    return np.asarray(Image.fromarray(picture).resize((size[1], size[0]), Image.Resampling.BOX))


def _grey(picture: np.ndarray) -> Tensor:
    """Return the grey values of a picture, (gh, gw) float32 in 0 … 1."""
    return torch.from_numpy(np.array(Image.fromarray(picture).convert("L"), np.float32) / 255)


def _resize(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Resize maps (C, H, W) to (C, *size), bilinear."""
    return F.interpolate(maps[None], size=tuple(size), mode="bilinear", align_corners=False)[0]


def nearest_pixels(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return patch labels (h, w) copied to pixels (H, W): the paper's masks."""
    rows = np.arange(size[0]) * labels.shape[0] // size[0]
    columns = np.arange(size[1]) * labels.shape[1] // size[1]
    return labels[rows[:, None], columns]
