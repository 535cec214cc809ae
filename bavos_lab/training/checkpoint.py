"""Checkpoints: all of a learner's state in one safetensors file.

There is no state of a random generator among it: what a step draws follows from the seed and the
number of the step (`sample_generator`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bavos_core.backbones.weights import read_metadata, read_tensors, write_tensors
from bavos_core.correlator import TemporalCorrelator, TrainedCorrelator
from bavos_core.errors import InputError

from .blocks import new_block
from .data import TrainingData
from .learner import Best, Learner, StepLosses
from .run import MOMENTS, check_whole, moments, restore_moments
from .settings import TrainSettings

FORMAT = "bavos-checkpoint-1"


def checkpoint_path(out: Path) -> Path:
    """Where the checkpoints of a run are that writes its result to `out`."""
    return out.with_suffix(".checkpoint.safetensors")


def save_checkpoint(path: Path, learner: Learner, data: TrainingData) -> None:
    """Replace the checkpoint by the learner's present state; the old one stays until then."""
    tensors = {"features.mean": learner.trained.mean, "features.std": learner.trained.std}
    tensors |= {f"block.{name}": tensor for name, tensor in learner.block.state_dict().items()}
    tensors |= moments(learner.block, learner.optimiser)
    state = {
        "step": learner.step,
        "seconds": learner.seconds,
        "losses": [learner.losses.semantic, learner.losses.motion],
        "clips": data.fingerprint,
    }
    if learner.best:
        tensors |= {f"best.{name}": tensor for name, tensor in learner.best.weights.items()}
        state |= {"best_step": learner.best.step, "best_score": learner.best.score}
    about = {"format": FORMAT, "settings": json.dumps(learner.settings.to_dict())}
    write_tensors(path, tensors, about | {"state": json.dumps(state)})


def load_checkpoint(path: Path, settings: TrainSettings, data: TrainingData) -> Learner:
    """A learner as it was saved, which goes on just as if it had never stopped.

    Raises InputError for damaged files, and for other settings or clips than it was saved with.
    """
    saved = checkpoint_settings(path)
    for name, value in settings.to_dict().items():
        if value != saved.to_dict()[name]:
            raise InputError(
                f"{path.name} was made with {name} {saved.to_dict()[name]}, not {value}; "
                "resume with the same settings."
            )
    state = json.loads(_metadata(path)["state"])
    if state["clips"] != data.fingerprint:
        raise InputError(f"{path.name} was made from other clips; resume with the same folder.")
    return _restored(path, settings, state)


def checkpoint_settings(path: Path) -> TrainSettings:
    """The settings that a checkpoint was made with. Raises InputError for any other file."""
    return TrainSettings.from_dict(json.loads(_metadata(path)["settings"]))


def _metadata(path: Path) -> dict[str, str]:
    metadata = read_metadata(path)
    if metadata.get("format") != FORMAT:
        raise InputError(
            f"{path.name} is no checkpoint; give the one that training left beside its result."
        )
    return metadata


def _restored(path: Path, settings: TrainSettings, state: Mapping[str, Any]) -> Learner:
    tensors = read_tensors(path, option="--resume")
    channels = tensors["features.mean"].numel() if "features.mean" in tensors else settings.heads
    block = new_block(channels, settings)
    check_whole(tensors, _wanted(block, with_best="best_step" in state), path.name)
    block.load_state_dict(_below("block.", tensors))
    learner = Learner(
        TrainedCorrelator(block, tensors["features.mean"], tensors["features.std"]), settings
    )
    restore_moments(learner.block, learner.optimiser, tensors, state["step"])
    learner.step, learner.seconds = state["step"], state["seconds"]
    learner.losses = StepLosses(*state["losses"])
    if "best_step" in state:
        best = _below("best.", tensors)
        learner.best = Best(state["best_step"], state["best_score"], best)
    return learner


def _wanted(block: TemporalCorrelator, *, with_best: bool) -> dict[str, Tensor]:
    """Names of a checkpoint's tensors, and tensors of their shapes."""
    channel = torch.empty(len(block.norm1.weight))
    wanted = {"features.mean": channel, "features.std": channel}
    for part in ("block", *MOMENTS, *(["best"] if with_best else [])):
        wanted |= {f"{part}.{name}": tensor for name, tensor in block.state_dict().items()}
    return wanted


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found = {name: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    return {name.removeprefix(prefix): tensor for name, tensor in found.items()}
