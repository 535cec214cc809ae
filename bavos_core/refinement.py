"""From patch labels to pixel masks (paper, 3.3).

T analysed frames, h×w patch grid, L leaves, C clusters, H×W pixels of the clip.
The paper copies each patch label to its pixels. By default, membership is up-sampled, weighted by
how common the pixel's colour is in each cluster, and aligned with the edges of the frame by a
guided filter (He et al., ECCV 2010); each pixel then gets its strongest cluster.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from .segmentation import UNLIKELY

_GUIDE_SIDE = 384  # pixels: longest side at which borders are refined
_RADIUS = 3  # pixels of the guide at half its size
_EPSILON = 2e-3  # below this variance (of 0 … 1 grey) the guide counts as flat
_COLOUR_STEPS = 16  # a channel
_FAINT = 0.12  # the strongest of a patch's 8 leaves has 1/8; weaker clusters win nowhere


def nearest_pixels(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return patch labels (h, w) copied to pixels (H, W): the paper's masks."""
    rows = np.arange(size[0]) * labels.shape[0] // size[0]
    columns = np.arange(size[1]) * labels.shape[1] // size[1]
    return labels[rows[:, None], columns]


def refined_membership(soft: Tensor, frame: np.ndarray) -> tuple[Tensor, Tensor]:
    """Refine membership (C, h, w) by the colours and edges of a frame (H, W, 3) uint8.

    Return the clusters that appear (C',) int64 and their membership (C', gh, gw), where gh×gw is
    the frame's shape with its longer side at most 384 pixels. Colours are counted and the filter's
    coefficients found at half that size, at a quarter of the cost (He and Sun, "Fast Guided
    Filter", 2015).
    """
    shrink = min(1.0, _GUIDE_SIDE / max(frame.shape[:2]))
    picture = _resampled(frame, [max(1, round(side * shrink)) for side in frame.shape[:2]])
    small = _resampled(picture, [(side + 1) // 2 for side in picture.shape[:2]])
    guide, half = _grey(picture), _grey(small)
    present = (soft.flatten(1).amax(1) > _FAINT).nonzero().flatten()
    by_place = F.interpolate(soft[present][None], size=half.shape, mode="bicubic")[0]
    maps = weighted_by_colour(by_place, small)
    slope, offset = guided_coefficients(half, maps, radius=_RADIUS, epsilon=_EPSILON)
    return present, _resize(slope, guide.shape) * guide + _resize(offset, guide.shape)


def weighted_by_colour(maps: Tensor, picture: np.ndarray) -> Tensor:
    """Return membership by place (C, H, W), weighted by colour: (C, H, W).

    picture (H, W, 3) uint8. By Bayes' rule, a pixel's membership is that of its place times how
    common its colour is in the cluster. Colours are counted in 16 steps a channel and spread to the
    neighbouring steps. Sums to 1 over C.
    """
    maps = maps.clamp_min(UNLIKELY)
    step = torch.from_numpy(picture // (256 // _COLOUR_STEPS)).long().flatten(0, 1)
    colour = step @ torch.tensor([_COLOUR_STEPS**2, _COLOUR_STEPS, 1])  # (H·W,)
    counts = maps.new_zeros(len(maps), _COLOUR_STEPS**3).index_add_(1, colour, maps.flatten(1))
    cube = counts.unflatten(1, (_COLOUR_STEPS,) * 3)
    common = F.avg_pool3d(cube[None], 3, stride=1, padding=1)[0].flatten(1)
    common = common / common.sum(1, keepdim=True)
    weighted = maps * common[:, colour].view_as(maps)
    return weighted / weighted.sum(0)


def refined_pixels(clusters: Tensor, membership: Tensor, size: tuple[int, int]) -> np.ndarray:
    """Return the strongest cluster of every pixel (H, W) int64, from `refined_membership`.

    The result is that of up-sampling every map bilinearly; but where the four map pixels around a
    pixel agree, which is nearly everywhere, there is nothing to compute.
    """
    coarse = strongest(membership)  # (gh, gw)
    (y0, y1, wy), (x0, x1, wx) = (
        _bilinear(wanted, given) for wanted, given in zip(size, coarse.shape, strict=True)
    )
    upper, lower = coarse[y0], coarse[y1]  # (H, gw)
    pixels = upper[:, x0]
    agree = (pixels == upper[:, x1]) & (pixels == lower[:, x0]) & (pixels == lower[:, x1])
    rows, columns = (~agree).nonzero(as_tuple=True)
    top, bottom, left, right = y0[rows], y1[rows], x0[columns], x1[columns]
    above = torch.lerp(membership[:, top, left], membership[:, top, right], wx[columns])
    below = torch.lerp(membership[:, bottom, left], membership[:, bottom, right], wx[columns])
    pixels[rows, columns] = strongest(torch.lerp(above, below, wy[rows]))
    return np.asarray(clusters[pixels].numpy())


def _bilinear(wanted: int, given: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return lower and upper neighbour and weight of the upper, (wanted,) each; centres aligned."""
    place = ((torch.arange(wanted) + 0.5) * (given / wanted) - 0.5).clamp(0, given - 1)
    low = place.long()
    return low, (low + 1).clamp(max=given - 1), place - low


def strongest(maps: Tensor) -> Tensor:
    """Return the index of the largest of C maps at every pixel, (C, H, W) → (H, W) int64."""
    return maps.max(0).indices  # argmax(0) gives the same ten times slower


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
