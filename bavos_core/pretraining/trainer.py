"""The pretraining run: steps, log, checkpoints, and the file of what was learned.

A run that ends early, whatever ends it, goes on from its last checkpoint and arrives, on a CPU with
as many threads, at the very weights that it would have arrived at.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

from .. import __version__
from ..backbones.weights import write_tensors
from ..settings import Settings
from ..trained import git_revision
from ..training.run import append_to_log, asked_to_stop, check_out, log_path, start_log
from .checkpoint import checkpoint_folder, load_checkpoint, save_checkpoint
from .learner import Learner, Material, Prepared
from .pictures import Pictures
from .quality import SIZE, Measured, development_j
from .recipes import new_learner
from .settings import PretrainSettings, RunSettings, learning_rate


@dataclass(frozen=True)
class Step:
    """One step, told when it is done."""

    step: int  # its number, from 1
    steps: int  # of the whole run
    losses: Any  # what it saw, a dataclass of the recipe
    lr: float
    seconds: float  # spent learning so far
    j: float | None  # on the development split, where it was measured after this step


@dataclass(frozen=True)
class PretrainResult:
    """What a run arrived at."""

    steps: int  # done
    samples: int  # seen
    j: float | None  # when it was last measured
    seconds: float  # spent learning
    stopped: bool  # before its end


Progress = Callable[[Step], None]


def pretrain(
    pictures: Pictures,
    settings: RunSettings | None = None,
    *,
    out: Path,
    sequences: Sequence[Measured] = (),
    preparing: Prepared | None = None,
    progress: Progress | None = None,
    resume: Path | None = None,
) -> PretrainResult:
    """Train a network on pictures and write it to `out`, with log and checkpoints beside.

    settings: their type says by which recipe; None: a Vision Transformer by its defaults.
    out: a .safetensors file, written anew at every checkpoint. sequences: what J is measured on,
    from `read_sequences`. preparing: called while pictures are made ready. progress: called after
    every step; when it raises Cancelled the run ends there. resume: a folder of checkpoints to go
    on from, whose settings then count.
    Raises InputError for settings, checkpoints and places that cannot be used.
    """
    check_out(out)
    if resume:
        learner = load_checkpoint(resume, pictures)
    else:
        learner = new_learner(settings or PretrainSettings())
    material = learner.material(pictures, preparing or (lambda _: None))
    start_log(log_path(out), log_columns(learner), after=learner.step)
    kept = -1
    for step in learn(learner, material, sequences):
        append_to_log(log_path(out), _log_row(step))
        if step.step % learner.settings.checkpoint_every == 0:
            _keep(out, learner, pictures)
            kept = step.step
        if asked_to_stop(progress, step):
            break
    if kept != learner.step:
        _keep(out, learner, pictures)
    samples = learner.step * learner.settings.batch
    stopped = learner.step < learner.settings.steps
    return PretrainResult(learner.step, samples, learner.j, learner.seconds, stopped)


def learn(
    learner: Learner[Material], material: Material, sequences: Sequence[Measured] = ()
) -> Iterator[Step]:
    """Take the steps that are left, telling each when it is done."""
    settings = learner.settings
    analysis = Settings(size=SIZE, correlator="keys", device=settings.device)
    while learner.step < settings.steps:
        start = time.perf_counter()
        rate = learning_rate(learner.step, settings)
        losses = learner.take_step(material)
        learner.seconds += time.perf_counter() - start
        due = learner.step % settings.measure_every == 0 or learner.step == settings.steps
        found = None
        if due and sequences:
            found = learner.j = development_j(learner.backbone(), sequences, analysis)
        yield Step(learner.step, settings.steps, losses, rate, learner.seconds, found)


def _keep(out: Path, learner: Learner[Any], pictures: Pictures) -> None:
    """The checkpoint, and what was learned as it is now."""
    save_checkpoint(checkpoint_folder(out), learner, pictures)
    tensors, about = learner.file()
    about |= {
        "steps": str(learner.step),
        "samples": str(learner.step * learner.settings.batch),
        "pictures": str(len(pictures)),
        "j": "" if learner.j is None else f"{learner.j:.4f}",
        "settings": json.dumps(learner.settings.to_dict()),
        "revision": git_revision(),
        "version": __version__,
    }
    write_tensors(out, tensors, about)


def log_columns(learner: Learner[Any]) -> tuple[str, ...]:
    """What the log says of every step."""
    return ("step", *(field.name for field in fields(learner.told)), "lr", "seconds", "j")


def _log_row(step: Step) -> tuple[object, ...]:
    found = "" if step.j is None else step.j
    return (step.step, *astuple(step.losses), step.lr, f"{step.seconds:.3f}", found)
