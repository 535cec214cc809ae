"""Checkpoints: all of a learner's state in one safetensors file.

No state of a random generator is saved: what a step draws follows from the seed and the number of
the step (`sample_generator`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bavos_core.correlator import TemporalCorrelator, TrainedCorrelator
from bavos_core.errors import InputError
from bavos_io.weights import read_metadata, read_tensors

from .blocks import new_block
from .data import TrainingData
from .files import write_tensors
from .learner import Best, Learner, StepLosses
from .settings import TrainSettings

FORMAT = "bavos-checkpoint-1"
_MOMENTS = ("exp_avg", "exp_avg_sq")  # of AdamW, under torch's names


def checkpoint_path(out: Path) -> Path:
    """Return the path of the checkpoint of a run that writes its result to `out`."""
    return out.with_suffix(".checkpoint.safetensors")


def save_checkpoint(path: Path, learner: Learner, data: TrainingData) -> None:
    """Replace a checkpoint by the learner's present state, atomically."""
    tensors = {"features.mean": learner.correlator.mean, "features.std": learner.correlator.std}
    tensors |= {f"block.{name}": tensor for name, tensor in learner.block.state_dict().items()}
    tensors |= _moments(learner)
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
    """Return a learner as it was saved, which continues as if it had never stopped.

    Raise InputError for damaged files, and for other settings or clips than it was saved with.
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
    """Return the settings that a checkpoint was made with. Raise InputError for any other file."""
    return TrainSettings.from_dict(json.loads(_metadata(path)["settings"]))


def _metadata(path: Path) -> dict[str, str]:
    metadata = read_metadata(path)
    if metadata.get("format") != FORMAT:
        raise InputError(
            f"{path.name} is not a checkpoint; give the one that training wrote beside its result."
        )
    return metadata


def _restored(path: Path, settings: TrainSettings, state: Mapping[str, Any]) -> Learner:
    tensors = read_tensors(path, option="--resume")
    channels = tensors["features.mean"].numel() if "features.mean" in tensors else settings.heads
    block = new_block(channels, settings)
    _check_whole(tensors, _wanted(block, with_best="best_step" in state), path.name)
    block.load_state_dict(_below("block.", tensors))
    learner = Learner(
        TrainedCorrelator(block, tensors["features.mean"], tensors["features.std"]), settings
    )
    _restore_moments(learner, tensors, state["step"])
    learner.step, learner.seconds = state["step"], state["seconds"]
    learner.losses = StepLosses(*state["losses"])
    if "best_step" in state:
        best = _below("best.", tensors)
        learner.best = Best(state["best_step"], state["best_score"], best)
    return learner


def _wanted(block: TemporalCorrelator, *, with_best: bool) -> dict[str, Tensor]:
    """Return tensors of the shapes that a checkpoint must hold, by name."""
    channel = torch.empty(len(block.norm1.weight))
    wanted = {"features.mean": channel, "features.std": channel}
    for part in ("block", *_MOMENTS, *(["best"] if with_best else [])):
        wanted |= {f"{part}.{name}": tensor for name, tensor in block.state_dict().items()}
    return wanted


def _check_whole(
    tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], checkpoint: str
) -> None:
    """Raise InputError when a checkpoint lacks a tensor or has it in another shape."""
    lost = [k for k, v in wanted.items() if k not in tensors or tensors[k].shape != v.shape]
    if lost:
        raise InputError(
            f"{checkpoint} is damaged (missing or of the wrong shape: {', '.join(lost[:3])}); "
            "resume from another checkpoint."
        )


def _moments(learner: Learner) -> dict[str, Tensor]:
    """Return AdamW's state as tensors, zeros for weights that have not been updated yet."""
    state = learner.optimiser.state
    return {
        f"{moment}.{name}": state.get(weights, {}).get(moment, torch.zeros_like(weights))
        for moment in _MOMENTS
        for name, weights in learner.block.named_parameters()
    }


def _restore_moments(learner: Learner, tensors: Mapping[str, Tensor], step: int) -> None:
    """Give AdamW the state that `_moments` returned after so many steps."""
    for name, weights in learner.block.named_parameters():
        held = {m: tensors[f"{m}.{name}"].to(weights.device) for m in _MOMENTS}
        learner.optimiser.state[weights] = {"step": torch.tensor(float(step)), **held}


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix, without it."""
    found = {name: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    return {name.removeprefix(prefix): tensor for name, tensor in found.items()}
