"""Checkpoints: all of a learner's state in a folder of small safetensors files.

A checkpoint is `step-000400/` with `000.safetensors`, `001.safetensors` …, each at most 16 MB, so
that they can be moved where large files cannot. There is no state of a random generator among it:
what a step draws follows from the seed and the number of the step.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ..backbones.weights import read_metadata, read_tensors, write_tensors
from ..errors import InputError
from ..files import cannot_write, part_of
from .learner import Learner
from .pictures import Pictures
from .recipes import new_learner, settings_type
from .settings import RunSettings

FORMAT = "bavos-pretraining-1"
MOST_BYTES = 15 * 2**20  # of the tensors of one piece; a larger tensor has a piece of its own


def checkpoint_folder(out: Path) -> Path:
    """Where the checkpoints of a run are that writes its result to `out`."""
    return out.with_suffix(".checkpoint")


def save_checkpoint(folder: Path, learner: Learner[Any], pictures: Pictures) -> None:
    """Write the present state; the checkpoint before it goes when this one is whole.

    Raises InputError where it cannot be written.
    """
    state = {
        "step": learner.step,
        "seconds": learner.seconds,
        "j": learner.j,
        "pictures": pictures.fingerprint,
    }
    pieces = _pieces(learner.tensors())
    about = {
        "format": FORMAT,
        "recipe": learner.recipe,
        "pieces": str(len(pieces)),
        "settings": json.dumps(learner.settings.to_dict()),
        "state": json.dumps(state),
    }
    whole = folder / f"step-{learner.step:06d}"
    part = part_of(whole)
    try:
        part.mkdir(parents=True)
        for number, piece in enumerate(pieces):
            write_tensors(part / f"{number:03d}.safetensors", piece, about)
        if whole.exists():  # a run that was resumed comes by again
            whole.replace(part_of(whole))
        part.replace(whole)
        for old in [*folder.glob("step-*"), *folder.glob(".*.part")]:  # these of killed runs
            if old != whole:
                shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise cannot_write(whole, error) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def load_checkpoint(folder: Path, pictures: Pictures) -> Learner[Any]:
    """A learner as it was saved, which goes on just as if it had never stopped.

    Raises InputError for a folder without a whole checkpoint and for other pictures than it was
    made from.
    """
    newest = _newest(folder)
    learner = new_learner(checkpoint_settings(folder))
    state = json.loads(_metadata(newest)["state"])
    if state["pictures"] != pictures.fingerprint:
        raise InputError(f"{folder.name} was made from other pictures; resume with the same ones.")
    learner.restore(_read_pieces(newest), state["step"], folder.name)
    learner.seconds, learner.j = state["seconds"], state["j"]
    return learner


def checkpoint_settings(folder: Path) -> RunSettings:
    """The settings that a checkpoint was made with. Raises InputError for any other folder."""
    about = _metadata(_newest(folder))
    kind = settings_type(about.get("recipe", ""))
    if kind is None:
        raise InputError(f"{folder.name} is of a recipe that is not known here; start anew.")
    return kind.from_dict(json.loads(about["settings"]))


def _pieces(tensors: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    """Tensors in their order, as many in a piece as it may hold."""
    pieces: list[dict[str, Tensor]] = [{}]
    for name, tensor in tensors.items():
        held = sum(each.nbytes for each in pieces[-1].values())
        if held and held + tensor.nbytes > MOST_BYTES:
            pieces.append({})
        pieces[-1][name] = tensor
    return pieces


def _newest(folder: Path) -> Path:
    found = sorted(folder.glob("step-*")) if folder.is_dir() else []
    if not found:
        raise InputError(
            f"{folder.name} is no checkpoint; give the folder that pretraining left beside its "
            "result."
        )
    return found[-1]


def _metadata(step: Path) -> dict[str, str]:
    metadata = read_metadata(step / "000.safetensors")
    if metadata.get("format") != FORMAT:
        raise InputError(f"{step.name} is no checkpoint of pretraining; give another folder.")
    return metadata


def _read_pieces(step: Path) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for number in range(int(_metadata(step)["pieces"])):
        tensors |= read_tensors(step / f"{number:03d}.safetensors", option="--resume")
    return tensors
