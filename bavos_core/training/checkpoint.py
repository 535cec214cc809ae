"""Checkpoints: all of a learner's state in one safetensors file.

There is no state of a random generator among it: what a step draws follows from the seed and the
number of the step (`sample_generator`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..backbones.weights import read_tensors
from ..errors import InputError
from ..trained import TrainedBlock, read_metadata, write_tensors
from .blocks import new_block
from .data import TrainingData
from .learner import Best, Learner, StepLosses
from .settings import TrainSettings

FORMAT = "bavos-checkpoint-1"
_MOMENTS = ("exp_avg", "exp_avg_sq")  # of AdamW, under torch's names


def checkpoint_path(out: Path) -> Path:
    """Where the checkpoints of a run are that writes its result to `out`."""
    return out.with_suffix(".checkpoint.safetensors")


def save_checkpoint(path: Path, learner: Learner, data: TrainingData) -> None:
    """Replace the checkpoint by the learner's present state; the old one stays until then."""
    tensors = {"features.mean": learner.trained.mean, "features.std": learner.trained.std}
    tensors |= {f"block.{name}": tensor for name, tensor in learner.block.state_dict().items()}
    for moment in _MOMENTS:
        tensors |= {f"{moment}.{name}": tensor for name, tensor in _moments(learner, moment)}
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
    wanted = block.state_dict()
    per_channel = torch.empty(channels)
    features = _part(path, tensors, "features.", {"mean": per_channel, "std": per_channel})
    block.load_state_dict(_part(path, tensors, "block.", wanted))
    moments = [_part(path, tensors, f"{moment}.", wanted) for moment in _MOMENTS]
    learner = Learner(TrainedBlock(block, features["mean"], features["std"]), settings)
    for name, parameter in learner.block.named_parameters():
        learner.optimiser.state[parameter] = {
            "step": torch.tensor(float(state["step"])),
            **{m: part[name].to(learner.device) for m, part in zip(_MOMENTS, moments, strict=True)},
        }
    learner.step, learner.seconds = state["step"], state["seconds"]
    learner.losses = StepLosses(*state["losses"])
    if "best_step" in state:
        best = _part(path, tensors, "best.", wanted)
        learner.best = Best(state["best_step"], state["best_score"], best)
    return learner


def _moments(learner: Learner, moment: str) -> Iterator[tuple[str, Tensor]]:
    for name, parameter in learner.block.named_parameters():
        yield name, learner.optimiser.state[parameter][moment]


def _part(
    path: Path, tensors: Mapping[str, Tensor], prefix: str, wanted: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The tensors below a prefix, all of them there and shaped as wanted."""
    found = {name: tensors.get(prefix + name) for name in wanted}
    part = {k: v for k, v in found.items() if v is not None and v.shape == wanted[k].shape}
    lost = [prefix + name for name in wanted if name not in part]
    if lost:
        raise InputError(
            f"{path.name} is not whole, {', '.join(lost[:3])} being missing or misshapen; "
            "resume from another checkpoint."
        )
    return part
