"""Adaptation: train a correlator on one analysed clip.

T frames, h×w patch grid, N = h·w, C channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from torch import Tensor

from bavos_core.compat import renamed
from bavos_core.correlator import TrainedCorrelator
from bavos_core.errors import InputError

from .data import CachedClip
from .learner import Learner
from .settings import TrainSettings
from .trainer import OnStep, Step, TrainResult, asked_to_stop, learn, new_learner, result_of

# Analysed frames lie apart already, hence gap 1; few steps need a higher learning rate. With one
# head and one factor for all channels, training starts from the attention of training-free keys.
ADAPT = TrainSettings(steps=100, lr=2e-4, gap=1, heads=1, standardise="common", measure_every=0)


@renamed(progress="on_step")
def adapt(
    tokens: Tensor,
    grid: tuple[int, int],
    *,
    steps: int | None = None,
    settings: TrainSettings = ADAPT,
    start: TrainedCorrelator | None = None,
    on_step: OnStep | None = None,
) -> TrainResult:
    """Train on the features of one clip and return the last correlator; write nothing.

    tokens (T, N, C) float: the backbone's features of the analysed frames. grid (h, w). steps:
    instead of the settings'. start: a correlator to start from, which is not changed; None for a
    new one. on_step: called after every step; when it raises Cancelled, training ends there.
    Raise InputError for fewer frames than a sample takes, and for features that do not fit.
    """
    learner, clip = _learner(tokens, grid, steps, settings, start)
    for step in learn(learner, [clip]):
        if asked_to_stop(on_step, step):
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
    """Train as `adapt` does, and yield every step.

    Later steps change `step.correlator`; `frozen_copy(step.correlator)` keeps it. Raise
    InputError as `adapt` does.
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
            f"{len(tokens)} frames were analysed and a sample needs {settings.frames}; "
            "analyse more frames or a longer clip."
        )
    if start is not None and start.channels != tokens.shape[2]:
        raise InputError(
            f"The correlator was trained on {start.channels} channels and these features have "
            f"{tokens.shape[2]}; choose the backbone that it was made for."
        )
