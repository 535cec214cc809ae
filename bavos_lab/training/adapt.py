"""Adaptation: train a block on one clip that is analysed already.

T frames, h×w patch grid, N = h·w, C channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from torch import Tensor

from bavos_core.correlator import TrainedCorrelator
from bavos_core.errors import InputError

from .data import CachedClip
from .learner import Learner
from .run import asked_to_stop
from .settings import TrainSettings
from .trainer import Progress, Step, TrainResult, learn, new_learner, result_of

# Analysed frames of a sampled clip lie apart already; few steps ask for longer ones. One head and
# one factor for all channels: the fresh block's attention is that of the training-free keys.
ADAPT = TrainSettings(steps=100, lr=2e-4, gap=1, heads=1, standardise="common", measure_every=0)


def adapt(
    tokens: Tensor,
    grid: tuple[int, int],
    *,
    steps: int | None = None,
    settings: TrainSettings = ADAPT,
    start: TrainedCorrelator | None = None,
    progress: Progress | None = None,
) -> TrainResult:
    """Train on the features of one clip for some steps; nothing is written.

    tokens (T, N, C) float: the backbone's features of the analysed frames; grid (h, w). steps:
    instead of the settings'. start: a block to go on from, which is left as it is; None for a fresh
    one. progress: called after every step; when it raises Cancelled, what was learned so far is the
    result. The result is the last block: few steps on one clip leave nothing to choose between.
    Raises InputError for fewer frames than a sample takes, and features that do not fit.
    """
    learner, clip = _learner(tokens, grid, steps, settings, start)
    for step in learn(learner, [clip]):
        if asked_to_stop(progress, step):
            break
    return result_of(learner)


def adapting(
    tokens: Tensor,
    grid: tuple[int, int],
    *,
    steps: int | None = None,
    settings: TrainSettings = ADAPT,
    start: TrainedCorrelator | None = None,
) -> Iterator[Step]:
    """`adapt` as an iterator, for who wants to look at the block while it learns.

    What a Step holds goes on changing: `step.trained.frozen_copy()` keeps it. Raises as `adapt`.
    """
    learner, clip = _learner(tokens, grid, steps, settings, start)
    return learn(learner, [clip])


def _learner(
    tokens: Tensor,
    grid: tuple[int, int],
    steps: int | None,
    settings: TrainSettings,
    start: TrainedCorrelator | None,
) -> tuple[Learner, CachedClip]:
    settings = settings if steps is None else replace(settings, steps=steps)
    _check(tokens, grid, settings, start)
    clip = CachedClip("clip", grid, tokens.detach().half().cpu())
    return new_learner([clip], settings, start=start), clip


def _check(
    tokens: Tensor, grid: tuple[int, int], settings: TrainSettings, start: TrainedCorrelator | None
) -> None:
    if tokens.ndim != 3 or tokens.shape[1] != grid[0] * grid[1] or tokens.shape[1] < 2:
        raise InputError(
            f"Features of shape {tuple(tokens.shape)} are not (frames, patches, channels) on a "
            f"grid of {grid[0]}×{grid[1]}; give those of an analysis."
        )
    if len(tokens) < settings.frames:
        raise InputError(
            f"{len(tokens)} frames were analysed and a sample takes {settings.frames}; "
            "analyse more frames or a longer clip."
        )
    if start is not None and start.channels != tokens.shape[2]:
        raise InputError(
            f"The block was trained on {start.channels} channels and these features have "
            f"{tokens.shape[2]}; choose the backbone that it was made for."
        )
