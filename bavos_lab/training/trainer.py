"""The training run: steps, log, checkpoints, and the best correlator by the measure.

An interrupted run resumes from its last checkpoint and, on a CPU with the same number of threads,
arrives at exactly the weights of an uninterrupted one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from bavos_core import __version__
from bavos_core.compat import current, renamed
from bavos_core.correlator import TrainedCorrelator
from bavos_core.errors import Cancelled
from bavos_lab.revision import git_revision

from .blocks import frozen_copy, keys_gain, new_block
from .checkpoint import checkpoint_path, load_checkpoint, save_checkpoint
from .data import TrainingClip, TrainingData, load_clips, statistics
from .files import write_correlator
from .learner import ALONE, Learner, learning_rate
from .log import append_to_log, check_out, log_path, start_log
from .measure import Measure, held_out_windows, measure
from .settings import TrainSettings
from .workers import Workers


class _OldName:
    """The name that `correlator` had in version 0.1."""

    correlator: TrainedCorrelator

    @property
    def trained(self) -> TrainedCorrelator:
        """The correlator, with a FutureWarning."""
        current("trained", {"trained": "correlator"})
        return self.correlator


@dataclass(frozen=True)
class Step(_OldName):
    """A training step that is done."""

    step: int  # its number, from 1
    steps: int  # of the whole run
    semantic: float
    motion: float
    lr: float
    seconds: float  # of training so far
    measure: Measure | None  # if it was taken after this step
    correlator: TrainedCorrelator = field(repr=False)  # not a copy: later steps change it


@dataclass(frozen=True)
class TrainResult(_OldName):
    """The result of a run."""

    correlator: TrainedCorrelator  # on the CPU: the best by the measure; without one the last
    steps: int  # done
    best_step: int  # after which this correlator was kept
    semantic: float  # of the last step
    motion: float  # of the last step
    measure: float | None  # its score
    seconds: float  # of training
    stopped: bool  # before the last step


OnStep = Callable[[Step], None]


@renamed(progress="on_step")
def train(
    clips: Path | TrainingData,
    settings: TrainSettings | None = None,
    *,
    out: Path,
    on_step: OnStep | None = None,
    resume: Path | None = None,
    workers: Workers = ALONE,
) -> TrainResult:
    """Train a correlator on clips and write it to `out`, with a log and checkpoints beside it.

    clips: a folder of clips, or what `load_clips` read from one. out: a .safetensors file, beside
    which a .csv and a .checkpoint.safetensors appear. on_step: called after every step; when it
    raises Cancelled, training ends there and the result so far is written. resume: a checkpoint to
    continue from, with the settings and clips that it was made with. workers: all processes that
    train together, of which the first writes.
    Raise InputError for clips, settings, checkpoints and paths that cannot be used.
    """
    settings = settings or TrainSettings()
    check_out(out)
    data = load_clips(clips, settings) if isinstance(clips, Path) else clips
    learned_on, measured_on = data.split(settings.holdout_every)
    if resume:
        learner = load_checkpoint(resume, settings, data)
    else:
        learner = new_learner(learned_on, settings, workers)
    windows = held_out_windows(measured_on, settings.gap) if settings.measure_every else []
    if workers.first:
        start_log(log_path(out), after=learner.step)
    for step in learn(learner, learned_on, windows, workers):
        if workers.first:
            append_to_log(log_path(out), _log_row(step))
            if step.step % settings.checkpoint_every == 0:
                save_checkpoint(checkpoint_path(out), learner, data)
        if workers.any(asked_to_stop(on_step, step), learner.device):
            break
    result = result_of(learner, windows)
    about = _about(data, result, settings, workers)
    result = replace(result, correlator=replace(result.correlator, about=about))
    if workers.first:
        save_checkpoint(checkpoint_path(out), learner, data)
        write_correlator(out, result.correlator)
    return result


def asked_to_stop(on_step: OnStep | None, step: Step) -> bool:
    """Report a step; return whether the callback raised Cancelled."""
    try:
        if on_step:
            on_step(step)
    except Cancelled:
        return True
    return False


def new_learner(
    clips: Sequence[TrainingClip],
    settings: TrainSettings,
    workers: Workers = ALONE,
    *,
    start: TrainedCorrelator | None = None,
) -> Learner:
    """Return a learner before its first step, on a new correlator or on a copy of `start`."""
    if start is None:
        start = _fresh(clips, settings)
    learner = Learner(frozen_copy(start), settings)
    shared = [parameter.detach() for parameter in learner.block.parameters()]
    workers.agree([*shared, learner.correlator.mean, learner.correlator.std])
    return learner


def _fresh(clips: Sequence[TrainingClip], settings: TrainSettings) -> TrainedCorrelator:
    """Return a new correlator whose rows are as sharp as the settings ask for."""
    mean, std = statistics(clips, settings.standardise)
    fresh = TrainedCorrelator(new_block(len(mean), settings), mean, std)
    if settings.init == "random" or settings.gain is not None:
        return fresh
    windows = [fresh.standardised(tokens) for tokens in held_out_windows(clips, settings.gap)]
    return replace(
        fresh, block=new_block(len(mean), settings, gain=keys_gain(windows, settings.heads))
    )


def learn(
    learner: Learner,
    clips: Sequence[TrainingClip],
    windows: Sequence[Tensor] = (),
    workers: Workers = ALONE,
) -> Iterator[Step]:
    """Take the remaining steps; yield each when it is done.

    windows: features for the measure, which is taken every `measure_every` steps and after the
    last one; none to leave it out.
    """
    settings = learner.settings
    while learner.step < settings.steps:
        start = time.perf_counter()
        rate = learning_rate(learner.step, settings)
        losses = learner.take_step(clips, workers)
        due = learner.step == settings.steps or learner.step % max(settings.measure_every, 1) == 0
        seen = measure(learner.correlator, windows) if windows and due and workers.first else None
        if seen:
            learner.keep_if_best(seen.score)
        learner.seconds += time.perf_counter() - start
        yield Step(
            step=learner.step,
            steps=settings.steps,
            semantic=losses.semantic,
            motion=losses.motion,
            lr=rate,
            seconds=learner.seconds,
            measure=seen,
            correlator=learner.correlator,
        )


def result_of(learner: Learner, windows: Sequence[Tensor] = ()) -> TrainResult:
    """Return a learner's best correlator, or its present one if none was measured yet."""
    best = learner.best
    score = best.score if best else None
    if best is None and windows:
        score = measure(learner.correlator, windows).score
    correlator = frozen_copy(learner.correlator, best.weights if best else None)
    return TrainResult(
        correlator=correlator.to(torch.device("cpu")),
        steps=learner.step,
        best_step=best.step if best else learner.step,
        semantic=learner.losses.semantic,
        motion=learner.losses.motion,
        measure=score,
        seconds=learner.seconds,
        stopped=learner.step < learner.settings.steps,
    )


def _about(
    data: TrainingData, result: TrainResult, settings: TrainSettings, workers: Workers
) -> dict[str, str]:
    """Return the metadata of the correlator's file."""
    samples = result.best_step * settings.batch * workers.count
    return {
        "backbone": settings.backbone,
        "layer": "" if data.layer is None else str(data.layer),
        "size": "x".join(map(str, settings.size)) if settings.size else "shaped like each clip",
        "data": data.name,
        "clips": str(len(data.clips)),
        "frames": str(data.frames),
        "steps": str(result.steps),
        "best_step": str(result.best_step),
        "samples": str(samples),
        "measure": "" if result.measure is None else f"{result.measure:.4f}",
        "settings": json.dumps(settings.as_shown()),
        "revision": git_revision(),
        "version": __version__,
    }


def _log_row(step: Step) -> tuple[object, ...]:
    seen = astuple(step.measure) if step.measure else ("", "", "")
    return (step.step, step.semantic, step.motion, step.lr, f"{step.seconds:.3f}", *seen)
