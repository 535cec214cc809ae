"""The protocols: which proposals are matched with which objects, and how.

T scored frames, O objects, P proposals.

| protocol | proposals | matching |
|---|---|---|
| official | the 20 largest | one to one, once a video, by mean (J + F) / 2, as DAVIS-2017 |
| per-frame | all | one to one, anew in every frame, by J + F, as the paper's reference code |
| single-object, best cluster | all | the one that covers the foreground best, by mean J |
| single-object, oracle union | all | the union that covers the foreground best, by mean J |

The reference code also drops a video's last frame and scores a copy of the one before; here every
frame is scored as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .metrics import Counts, best_match, boundary_f, count_pixels, fg_ari, foreground_table
from .sequences import Annotation, Truth

Protocol = Literal["official", "per-frame", "single-object"]
PROTOCOLS: tuple[Protocol, ...] = ("official", "per-frame", "single-object")
MAX_PROPOSALS = 20  # of the official protocol


@dataclass(frozen=True)
class Score:
    """The scores of a sequence under one protocol.

    J and F are those of each object's match. mIoU and mBO compare whole objects: over the video's
    pixels under `official`, in each frame where the object is present under `per-frame`, the mean
    of objects and frames. mIoU is of the best one-to-one matching by that overlap, mBO of the
    proposal that overlaps best. None stands for what the protocol does not define, or for a video
    without foreground.
    """

    protocol: str  # such as "official" or "single-object, best cluster"
    jaccard: np.ndarray  # (O, T) in 0 … 1
    boundary: np.ndarray  # (O, T)
    matches: tuple[tuple[int, ...], ...] = ()  # (O,) labels that stand for it in the whole video
    fg_ari_frame: float | None = None  # mean over frames
    fg_ari_video: float | None = None  # all frames as one picture
    miou: float | None = None
    mbo: float | None = None


@dataclass(frozen=True)
class Measured:
    """The overlaps of a sequence that all protocols use.

    Rows are objects and, last, the foreground as a whole: R = O + 1, or 1 for a single object.
    Columns are proposals and, last, none at all, which is what an object without a match gets.
    """

    numbers: np.ndarray  # (P,) labels in the files
    objects: int  # O
    counts: Counts  # of all frames: (T, R, P+1), (T, R), (T, P+1)
    boundary: np.ndarray  # (T, R, P+1)
    parts: np.ndarray  # (T, O, P+1): the foreground by objects and labels, label 0 first

    @property
    def jaccard(self) -> np.ndarray:
        """(T, R, P+1)."""
        return self.counts.jaccard

    def among(self, chosen: np.ndarray) -> Measured:
        """Return the overlaps of some proposals (C,); pixels of the others belong to none."""
        columns = np.append(chosen, len(self.numbers))
        counts, parts = self.counts, self.parts[..., np.append(0, chosen + 1)]
        parts[..., 0] += self.parts.sum(-1) - parts.sum(-1)
        return Measured(
            self.numbers[chosen],
            self.objects,
            Counts(counts.both[..., columns], counts.objects, counts.proposals[..., columns]),
            self.boundary[..., columns],
            parts,
        )

    def candidates(self) -> np.ndarray:
        """Return the columns to match (max(O, P),): every proposal, padded with "none"."""
        count = len(self.numbers)
        return np.minimum(np.arange(max(count, self.objects)), count)


def measure(truth: Truth, labels: Sequence[np.ndarray]) -> Measured:
    """Compare every object with every proposal in every scored frame.

    labels: T maps (H, W) of the truth's sizes, 0 for no proposal, any other number for one.
    """
    numbers = np.unique(np.concatenate([np.unique(frame) for frame in labels]))
    numbers = numbers[numbers > 0]
    columns = len(numbers) + 1  # no pixel has the last label
    counts: list[Counts] = []
    boundary, parts = [], []
    for annotation, frame in zip(truth.annotations, labels, strict=True):
        compact = np.where(frame > 0, np.searchsorted(numbers, frame) + 1, 0).astype(np.int32)
        masks = object_masks(annotation, truth.objects)
        rows = masks if len(masks) == 1 else np.concatenate([masks, foreground(masks)])
        counts.append(count_pixels(rows, compact, columns, annotation.void))
        boundary.append(boundary_f(rows, compact, columns, annotation.void))
        parts.append(foreground_table(masks, compact, columns - 1, annotation.void))
    stacked = Counts(
        np.stack([c.both for c in counts]),
        np.stack([c.objects for c in counts]),
        np.stack([c.proposals for c in counts]),
    )
    return Measured(numbers, len(truth.objects), stacked, np.stack(boundary), np.stack(parts))


def object_masks(annotation: Annotation, objects: Sequence[int]) -> np.ndarray:
    """Return the masks of objects in a frame (O, H, W) bool, empty for absent ones."""
    empty = np.zeros(annotation.size, bool)
    return np.stack([annotation.masks.get(number, empty) for number in objects])


def foreground(masks: np.ndarray) -> np.ndarray:
    """Join all objects: (O, H, W) → (1, H, W) bool."""
    return np.asarray(np.logical_or.reduce(masks, axis=0, keepdims=True))


def score(
    protocol: Protocol, measured: Measured, truth: Truth, labels: Sequence[np.ndarray]
) -> Iterator[Score]:
    """Yield the score of a protocol, or both of `single-object`. Arguments as for `measure`."""
    match protocol:
        case "official":
            yield official(measured)
        case "per-frame":
            yield per_frame(measured)
        case "single-object":
            yield best_cluster(measured)
            yield oracle_union(measured, truth, labels)


# ---- several objects ----------------------------------------------------------------------------


def official(measured: Measured) -> Score:
    """Score as DAVIS-2017 unsupervised: at most 20 proposals, matched once a video."""
    kept = measured.among(largest(measured.counts.proposals.sum(0)[:-1]))
    jaccard, boundary = _of_objects(kept)
    rows = np.arange(kept.objects)
    columns = kept.candidates()
    match = columns[best_match((jaccard.mean(0) + boundary.mean(0))[:, columns])]
    counts = kept.counts
    video = Counts(counts.both.sum(0), counts.objects.sum(0), counts.proposals.sum(0)).jaccard
    return Score(
        "official",
        jaccard[:, rows, match].T,
        boundary[:, rows, match].T,
        tuple(tuple(kept.numbers[p : p + 1].tolist()) for p in match),
        *_fg_ari(kept.parts),
        *map(_mean, _overlaps(video[: kept.objects, :-1])),
    )


def per_frame(measured: Measured) -> Score:
    """Score as the reference code: matched in every frame, so losing an identity costs nothing."""
    jaccard, boundary = _of_objects(measured)
    columns = measured.candidates()
    matches = [columns[best_match(both[:, columns])] for both in jaccard + boundary]
    match = np.stack(matches)[..., None]  # (T, O, 1)
    present = measured.counts.objects[:, : measured.objects] > 0
    overlaps = [
        _overlaps(values[there, :-1]) for values, there in zip(jaccard, present, strict=True)
    ]
    return Score(
        "per-frame",
        np.take_along_axis(jaccard, match, 2)[..., 0].T,
        np.take_along_axis(boundary, match, 2)[..., 0].T,
        (),
        *_fg_ari(measured.parts),
        *(_mean(np.concatenate(kind)) for kind in zip(*overlaps, strict=True)),
    )


def largest(areas: np.ndarray) -> np.ndarray:
    """Return the proposals that the official protocol admits: the 20 largest (P,), in order."""
    return np.sort(np.argsort(-areas, kind="stable")[:MAX_PROPOSALS])


def _of_objects(measured: Measured) -> tuple[np.ndarray, np.ndarray]:
    """Return J and F of the objects, without the foreground's row: (T, O, P+1) each."""
    return measured.jaccard[:, : measured.objects], measured.boundary[:, : measured.objects]


def _fg_ari(parts: np.ndarray) -> tuple[float | None, float | None]:
    """Return FG-ARI as the mean over frames with foreground, and over all frames at once."""
    frames = [value for value in map(fg_ari, parts) if value is not None]
    # A label means the same in all frames, and so does an object.
    return _mean(np.array(frames)), fg_ari(parts.sum(0))


def _overlaps(iou: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the IoU (O, P) of every object with its match and with the best proposal."""
    match = best_match(iou)
    found = match >= 0
    matched = np.zeros(len(iou))
    matched[found] = iou[found, match[found]]
    return matched, iou.max(1, initial=0.0)


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if values.size else None


# ---- one object ---------------------------------------------------------------------------------


def best_cluster(measured: Measured) -> Score:
    """Score the proposal with the highest mean J against the foreground."""
    jaccard, boundary = measured.jaccard[:, -1], measured.boundary[:, -1]
    best = int(jaccard[:, : max(len(measured.numbers), 1)].mean(0).argmax())
    return Score(
        "single-object, best cluster",
        jaccard[None, :, best],
        boundary[None, :, best],
        (tuple(measured.numbers[best : best + 1].tolist()),),
    )


def oracle_union(measured: Measured, truth: Truth, labels: Sequence[np.ndarray]) -> Score:
    """Score the union of proposals that covers the foreground best: perfect grouping.

    Proposals are joined in order of the share of their pixels that lies inside, as long as mean J
    rises most; the order is the best possible for the overlap of the whole video. The best single
    proposal counts as a union too.
    """
    chosen = _best_union(measured.counts)
    numbers = measured.numbers[chosen]
    frames: list[tuple[float, float]] = []
    for annotation, frame in zip(truth.annotations, labels, strict=True):
        inside = foreground(object_masks(annotation, truth.objects))
        union = np.isin(frame, numbers).astype(np.int64)
        jaccard = count_pixels(inside, union, 1, annotation.void).jaccard
        boundary = boundary_f(inside, union, 1, annotation.void)
        frames.append((jaccard.item(), boundary.item()))
    values = np.array(frames).T
    return Score("single-object, oracle union", values[:1], values[1:], (tuple(numbers.tolist()),))


def _best_union(counts: Counts) -> np.ndarray:
    """Return the proposals to join, from counts whose last object is the foreground."""
    inside, area = counts.both[:, -1, :-1], counts.proposals[:, :-1]  # (T, P)
    order = np.argsort(-inside.sum(0) / np.maximum(area.sum(0), 1), kind="stable")
    size = counts.objects[:, -1:]
    alone = Counts(inside[:, None], size, area).jaccard[:, 0].mean(0)
    joined = Counts(inside[:, None, order].cumsum(-1), size, area[:, order].cumsum(-1))
    unions = joined.jaccard[:, 0].mean(0)
    if alone.max(initial=0.0) > unions.max(initial=0.0):
        return np.array([alone.argmax()])
    return order[: int(unions.argmax()) + 1] if len(order) else order
