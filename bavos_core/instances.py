"""The instances within a cluster, tracked through the clip.

Similar objects attend alike, so the paper's clusters hold all of them. They differ in that they are
in different places at the same time: a cluster has as many instances as it often has connected
pieces. Where pieces touch, place, colour and features divide them. A clip played backwards gives
the same instances.

T frames, h×w patches, K instances, d channels of looks.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from .refinement import nearest_place

_OFTEN = 0.25  # of the frames that hold the cluster: so many must show K pieces
_SMALL = 0.25  # of a frame's largest piece: a smaller one counts as no piece
_FEWEST = 3  # patches of a piece
_ALIKE = 0.5  # weight of a unit of dissimilarity beside a radius of distance
_WITHIN = 0.8  # radii from a track's place to a piece that may hold it
_TOO_LARGE = 1.2  # times a track's area: a larger piece holds several tracks
_FEATURES = 32  # principal components of a clip's features that are kept
_OWN_FEATURES = 6  # principal components of those within a cluster

Looks = np.ndarray  # (T, h, w, d) float32: colour (3 channels) and features of every patch


@dataclass(frozen=True)
class _Pieces:
    """The connected pieces of one frame that are large enough to be instances."""

    labels: np.ndarray  # (h, w) int: 0 outside, all pieces, small ones too
    numbers: np.ndarray  # (n,) int: the labels of the large ones
    places: np.ndarray  # (n, 2) float64: their centres, row and column
    areas: np.ndarray  # (n,) float64: patches
    looks: np.ndarray  # (n, d) float64: their mean looks

    @classmethod
    def of(cls, inside: np.ndarray, looks: np.ndarray, least: float) -> _Pieces:
        """Return the pieces of a mask (h, w) bool."""
        labels, _ = ndimage.label(inside)
        areas = np.bincount(labels.ravel()).astype(float)
        areas[0] = 0
        numbers = np.flatnonzero(areas >= max(_SMALL * areas.max(), least))
        places = np.reshape(ndimage.center_of_mass(inside, labels, numbers), (-1, 2))
        means = [looks[labels == number].mean(0) for number in numbers]
        return cls(
            labels, numbers, places, areas[numbers], np.reshape(means, (-1, looks.shape[-1]))
        )


@dataclass(frozen=True)
class _Tracks:
    """Where the instances are in every frame."""

    places: np.ndarray  # (T, K, 2)
    areas: np.ndarray  # (T, K)
    looks: np.ndarray  # (K, d)
    pieces: dict[int, list[int]]  # of frames that show all apart: the label of each one's piece


def patch_looks(frames: np.ndarray, tokens: Tensor, grid: tuple[int, int]) -> Looks:
    """Return the looks of every patch, (T, h, w, d) float32: mean colour, then features.

    frames (T, H, W, 3) uint8, tokens (T, N, C). Of the features, the principal components count.
    """
    features = _principal(tokens.flatten(0, 1).float().cpu(), _FEATURES).numpy()
    features = features.reshape(len(frames), *grid, -1)
    colours = patch_colours(frames, grid).astype(np.float32) / 255
    return np.concatenate([colours, features], axis=-1)


def patch_colours(frames: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Return the mean colour of every patch (T, h, w, 3) uint8 of frames (T, H, W, 3)."""
    size = (grid[1], grid[0])
    small = (Image.fromarray(frame).resize(size, Image.Resampling.BOX) for frame in frames)
    return np.stack([np.asarray(picture) for picture in small])


def _principal(values: Tensor, most: int) -> Tensor:
    """Return the strongest principal components of values (n, C): (n, at most `most`)."""
    centred = values - values.mean(0)
    moments = (centred.T @ centred).double()  # as float32, eigh may fail where channels are empty
    return centred @ torch.linalg.eigh(moments)[1][:, -most:].to(centred)


def instances(inside: np.ndarray, looks: Looks) -> np.ndarray | None:
    """Return the instance of every patch of a cluster, or None if it holds only one.

    inside (T, h, w) bool: the cluster. looks (T, h, w, d): see `patch_looks`.
    → (T, h, w) int64, -1 outside, 0 … K-1 inside, the largest instance first.
    """
    present = inside.any((1, 2))
    if not present.any():
        return None
    own = _recentred(looks, inside)
    least = max(_FEWEST, np.median(inside.sum((1, 2))[present]) / 30)
    pieces = [_Pieces.of(mask, own[t], least) for t, mask in enumerate(inside)]
    count = _count(pieces, int(present.sum()))
    if count < 2:
        return None
    tracks = _follow(pieces, count)
    found = np.full(inside.shape, -1)
    for t in np.flatnonzero(present).tolist():
        found[t] = _divide(pieces[t], tracks, t, own[t])
    return _largest_first(found, count)


def everywhere(found: np.ndarray) -> np.ndarray:
    """Return parts (T, h, w) with each -1 replaced by the nearest part of its frame, else by 0."""
    filled = np.zeros_like(found)
    for here, frame in zip(filled, found, strict=True):
        if (frame >= 0).any():
            here[:] = frame[tuple(nearest_place(frame >= 0))]
    return filled


def _recentred(looks: Looks, inside: np.ndarray) -> Looks:
    """Return colour and principal components of features within a cluster, of unit spread each."""
    own = np.zeros((*inside.shape, 3 + min(_OWN_FEATURES, looks.shape[-1] - 3)))
    colour, features = looks[inside, :3], torch.from_numpy(looks[inside, 3:])
    parts = (colour - colour.mean(0), _principal(features, _OWN_FEATURES).numpy())
    spread = [np.sqrt((part**2).sum(-1).mean()) + 1e-6 for part in parts]
    own[inside] = np.concatenate([p / s for p, s in zip(parts, spread, strict=True)], axis=-1)
    return own


def _count(pieces: list[_Pieces], present: int) -> int:
    """Return the largest K that a quarter of the frames show or exceed and two show exactly."""
    numbers = np.array([len(p.numbers) for p in pieces])
    for count in range(int(numbers.max()), 1, -1):
        often = (numbers >= count).sum() >= max(2, _OFTEN * present)
        if often and (numbers == count).sum() >= 2:
            return count
    return 1


# ---- tracking pieces through the clip -----------------------------------------------------------


def _follow(pieces: list[_Pieces], count: int) -> _Tracks:
    """Link the frames that show all K instances apart; interpolate places and areas in between."""
    apart = [t for t, found in enumerate(pieces) if len(found.numbers) == count]
    order = [np.arange(count)]  # the piece of every track
    for before, after in pairwise(apart):
        order.append(_linked(pieces, before, after)[order[-1]])
    places, areas, looks = (
        np.stack([getattr(pieces[t], what)[o] for t, o in zip(apart, order, strict=True)])
        for what in ("places", "areas", "looks")
    )
    known = {t: pieces[t].numbers[o].tolist() for t, o in zip(apart, order, strict=True)}
    times = np.arange(len(pieces))

    def between(values: np.ndarray) -> np.ndarray:
        columns = values.reshape(len(apart), -1).T
        return np.stack([np.interp(times, apart, column) for column in columns], axis=1)

    return _Tracks(between(places).reshape(-1, count, 2), between(areas), looks.mean(0), known)


def _linked(pieces: list[_Pieces], before: int, after: int) -> np.ndarray:
    """Return for each piece of one frame that shows all instances its piece in the next: (K,).

    The cost of a link is that of the smoothest path between the pieces: of all paths that leave and
    arrive at their speeds, the one with the least total squared acceleration.
    """
    gap = after - before
    early, late = pieces[before], pieces[after]
    leave, arrive = _speed(pieces, before, -1), _speed(pieces, after, 1)
    way = late.places - early.places[:, None] - gap * (leave[:, None] + arrive) / 2  # (K, K, 2)
    turn = gap * (arrive - leave[:, None])
    return _pairs(early, late, np.sqrt((way**2 + turn**2 / 12).sum(-1)))


def _speed(pieces: list[_Pieces], t: int, side: int) -> np.ndarray:
    """Return how far each piece moves, in patches a frame, on one side of frame t: (K, 2)."""
    here = pieces[t]
    if not 0 <= t + side < len(pieces) or len(pieces[t + side].numbers) != len(here.numbers):
        return np.zeros_like(here.places)
    there = pieces[t + side]
    apart = np.linalg.norm(here.places[:, None] - there.places, axis=-1)
    return (there.places[_pairs(here, there, apart)] - here.places) * side


def _pairs(a: _Pieces, b: _Pieces, apart: np.ndarray) -> np.ndarray:
    """Return the piece of b that is nearest to and most like each piece of a: (K,).

    apart (K, K): distances in patches, which count in radii.
    """
    unlike = apart / (a.areas[:, None] * b.areas) ** 0.25
    unlike += np.linalg.norm(a.looks[:, None] - b.looks, axis=-1)
    return np.asarray(linear_sum_assignment(unlike)[1])


def _divide(pieces: _Pieces, tracks: _Tracks, t: int, looks: np.ndarray) -> np.ndarray:
    """Return the instance of every patch of one frame (h, w), -1 outside."""
    found = np.full(pieces.labels.shape, -1)
    rows, columns = np.nonzero(pieces.labels)
    offsets = np.stack([rows, columns], -1)[:, None] - tracks.places[t]  # (n, K, 2)
    radii = np.sqrt(tracks.areas[t] / np.pi)  # of discs of the same areas
    away = (offsets**2).sum(-1) / radii**2
    unlike = ((looks[rows, columns][:, None] - tracks.looks) ** 2).sum(-1)
    cost = away + _ALIKE * unlike  # (n, K)
    piece = pieces.labels[rows, columns]
    chosen = np.empty(len(rows), int)
    known = tracks.pieces.get(t, [])
    for number in np.unique(piece).tolist():
        own = piece == number
        if number in known:
            chosen[own] = known.index(number)
        else:
            chosen[own] = _share_out(cost[own], away[own].min(0) < _WITHIN**2, tracks.areas[t])
    found[rows, columns] = chosen
    return found


def _share_out(cost: np.ndarray, near: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """Return the track of every patch of one piece: cost (n, K) → (n,).

    A piece is whole unless it is too large for its best track and others (near, (K,) bool) lie
    within it.
    """
    best = int(cost.mean(0).argmin())
    several = near.copy()
    several[best] = True
    if len(cost) <= _TOO_LARGE * areas[best] or several.sum() == 1:
        return np.full(len(cost), best)
    candidates = np.flatnonzero(several)
    return candidates[cost[:, candidates].argmin(1)]


def _largest_first(found: np.ndarray, count: int) -> np.ndarray:
    """Number the instances by size, the largest first."""
    sizes = np.bincount(found[found >= 0], minlength=count)
    rank = np.argsort(np.argsort(-sizes, kind="stable"), kind="stable")
    return np.where(found >= 0, rank[found], -1)
