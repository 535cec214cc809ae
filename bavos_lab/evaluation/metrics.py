"""Scores of how well proposals cover objects.

T frames, O objects, P proposals, H×W pixels. A frame's proposals are a map of labels (H, W): 0 for
no proposal, 1 … P. Pixels that are void count nowhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from bavos_core.refinement import nearest_pixels

from ..partitions import adjusted_rand_of_table

BOUNDARY_TOLERANCE = 0.008  # share of the picture's diagonal (DAVIS)


@dataclass(frozen=True)
class Statistics:
    """The statistics that DAVIS reports of a value per frame."""

    mean: float
    recall: float  # share of frames above 0.5
    decay: float  # mean of the first quarter of the frames minus mean of the last


def statistics(values: np.ndarray) -> Statistics:
    """Return mean, recall and decay of values (T,), T ≥ 1, with the official code's quarters."""
    edges = np.round(np.linspace(1, len(values), 5) + 1e-10).astype(int) - 1
    first, last = values[edges[0] : edges[1] + 1], values[edges[3] : edges[4] + 1]
    return Statistics(
        float(values.mean()), float((values > 0.5).mean()), float(first.mean() - last.mean())
    )


# ---- region -------------------------------------------------------------------------------------


def best_cluster_j(labels: np.ndarray, truth: np.ndarray) -> float:
    """Return J of the one cluster of a video that covers its object best, 0 … 1.

    labels (T, h, w) int from 0: clusters of patches. truth (T, H, W) bool: pixels of the object.
    Patch labels are scaled up by nearest neighbour. Not an official protocol.
    """
    clusters = int(labels.max()) + 1
    scores = np.zeros((clusters, len(truth)))
    for t, (patches, inside) in enumerate(zip(labels, truth, strict=True)):
        pixels = nearest_pixels(patches, inside.shape)
        area = np.bincount(pixels.ravel(), minlength=clusters)
        both = np.bincount(pixels[inside], minlength=clusters)
        scores[:, t] = both / np.maximum(area + inside.sum() - both, 1)
    return float(scores.mean(1).max())


@dataclass(frozen=True)
class Counts:
    """Pixels of one frame; leading axes may be added, such as one for frames."""

    both: np.ndarray  # (O, P) in an object and a proposal
    objects: np.ndarray  # (O,)
    proposals: np.ndarray  # (P,)

    @property
    def jaccard(self) -> np.ndarray:
        """Intersection over union (O, P), float64 in 0 … 1; 1 where both are empty."""
        union = self.objects[..., :, None] + self.proposals[..., None, :] - self.both
        return np.where(union == 0, 1.0, self.both / np.maximum(union, 1))


def count_pixels(
    masks: np.ndarray, labels: np.ndarray, proposals: int, void: np.ndarray | None = None
) -> Counts:
    """Count the pixels of a frame: masks (O, H, W) bool, labels (H, W) 0 … P, void (H, W) bool."""
    bins = proposals + 1
    if void is not None:
        masks, labels = masks & ~void, np.where(void, 0, labels)
    area = np.bincount(labels.ravel(), minlength=bins)
    both = [np.bincount(labels[mask], minlength=bins) for mask in masks]
    return Counts(
        np.array(both).reshape(len(masks), bins)[:, 1:],
        np.array([mask.sum() for mask in masks], np.int64),
        area[1:],
    )


# ---- boundary -----------------------------------------------------------------------------------


def boundary_f(
    masks: np.ndarray, labels: np.ndarray, proposals: int, void: np.ndarray | None = None
) -> np.ndarray:
    """Return F of every object against every proposal in a frame: (O, P) float64 in 0 … 1.

    masks (O, H, W) bool, labels (H, W) of 0 … P, void (H, W) bool. A boundary pixel is matched
    when one of the other boundary lies within 0.8 % of the diagonal, rounded up; F is the harmonic
    mean of the shares that are matched. 1 where neither has a boundary. As DAVIS measures it.
    """
    counted = True if void is None else ~void
    radius = boundary_radius(labels.shape)
    objects = [Boundary.of(mask & counted, radius) for mask in masks]
    found = np.zeros((len(masks), proposals))
    for p in range(proposals):
        proposal = Boundary.of((labels == p + 1) & counted, radius)
        found[:, p] = [proposal.f(truth) for truth in objects]
    return found


@dataclass(frozen=True)
class Boundary:
    """Boundary pixels of one mask."""

    places: np.ndarray  # (B,) their positions in the flattened picture
    near: np.ndarray  # (H, W) bool: pixels within the tolerance of one of them

    @classmethod
    def of(cls, mask: np.ndarray, radius: int) -> Boundary:
        """Return the boundary of a mask (H, W) bool."""
        line = boundary_pixels(mask)
        return cls(np.flatnonzero(line), dilated(line, radius))

    def f(self, other: Boundary) -> float:
        """Return the harmonic mean of the shares of each boundary that lie near the other."""
        if not len(self.places) or not len(other.places):
            return float(len(self.places) == len(other.places))
        precision = other.near.ravel()[self.places].mean()
        recall = self.near.ravel()[other.places].mean()
        total = precision + recall
        return float(2 * precision * recall / total) if total else 0.0


def boundary_radius(size: tuple[int, ...]) -> int:
    """Return the tolerance in pixels for an image (H, W)."""
    return math.ceil(BOUNDARY_TOLERANCE * math.hypot(*size))


def boundary_pixels(mask: np.ndarray) -> np.ndarray:
    """Mark pixels (H, W) that differ from their right, lower or lower right neighbour, bool."""
    line = np.zeros_like(mask)
    line[:, :-1] |= mask[:, :-1] ^ mask[:, 1:]
    line[:-1] |= mask[:-1] ^ mask[1:]
    line[:-1, :-1] |= mask[:-1, :-1] ^ mask[1:, 1:]
    return line


def dilated(line: np.ndarray, radius: int) -> np.ndarray:
    """Mark pixels (H, W) within a Euclidean distance of a set pixel, bool.

    A disk is a stack of rows: dilate the image along rows, by the width of each of them, and OR the
    results at the offsets of the rows. This is tens of times as fast as SciPy's dilation.
    """
    rows = np.flatnonzero(line.any(1))
    near = np.zeros_like(line)
    if not len(rows):
        return near
    columns = np.flatnonzero(line.any(0))
    # Only the part that can be reached is worked on.
    top, left = max(rows[0] - radius, 0), max(columns[0] - radius, 0)
    part = (slice(top, rows[-1] + radius + 1), slice(left, columns[-1] + radius + 1))
    near[part] = _dilated(line[part], radius)
    return near


def _dilated(line: np.ndarray, radius: int) -> np.ndarray:
    near, wide, widened = np.zeros_like(line), line.copy(), 0
    for offset in range(radius, -1, -1):
        half = math.isqrt(radius**2 - offset**2)
        while widened < half:
            widened += 1
            wide[:, widened:] |= line[:, :-widened]
            wide[:, :-widened] |= line[:, widened:]
        kept = max(len(line) - offset, 0)
        near[offset:] |= wide[:kept]
        near[:kept] |= wide[offset:]
    return near


# ---- matching -----------------------------------------------------------------------------------


def best_match(scores: np.ndarray) -> np.ndarray:
    """Match objects with proposals one to one, for the highest sum of scores (O, P).

    Return the proposals (O,) int64, -1 for objects without one.
    """
    match = np.full(len(scores), -1)
    objects, proposals = linear_sum_assignment(scores, maximize=True)
    match[objects] = proposals
    return match


# ---- partitions ---------------------------------------------------------------------------------


def foreground_table(
    masks: np.ndarray, labels: np.ndarray, proposals: int, void: np.ndarray | None = None
) -> np.ndarray:
    """Count foreground pixels by object and label: (O, P+1), label 0 first.

    As `count_pixels`, but a pixel of several objects counts for the last of them only.
    """
    owner = np.zeros(labels.shape, np.int64)
    for number, mask in enumerate(masks, 1):
        owner[mask] = number
    if void is not None:
        owner[void] = 0
    inside = owner > 0
    bins = proposals + 1
    pairs = (owner[inside] - 1) * bins + labels[inside]
    return np.bincount(pairs, minlength=len(masks) * bins).reshape(len(masks), bins)


def fg_ari(table: np.ndarray) -> float | None:
    """Return the adjusted Rand index of the foreground from its table; None without foreground.

    Labels outside all proposals are one group. With a single object it is 1 when one label covers
    it and 0 otherwise.
    """
    return adjusted_rand_of_table(table) if table.sum() else None
