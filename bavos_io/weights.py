"""Weights in files, read without running code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from .errors import InputError
from .weights_format import weights_format


class _Skipped:
    """Placeholder for objects in a checkpoint that are not tensors and are not needed."""

    def __init__(self, *_: object) -> None: ...

    def __setstate__(self, _: object) -> None: ...


# DINO's full checkpoints keep their training options, and learning rates as NumPy numbers.
_SKIPPED: Any = [
    (_Skipped, name)
    for name in (
        "argparse.Namespace",
        "numpy.dtype",
        "numpy.core.multiarray.scalar",
        "numpy._core.multiarray.scalar",
    )
]


def read_tensors(path: Path, *, option: str = "--weights") -> dict[str, Tensor]:
    """Read all tensors of a safetensors or PyTorch file under their own names.

    Checkpoints are unwrapped: the reference's `model_state_dict`, DINO's `teacher`, `state_dict`.
    option: that named the file, for the message when it is absent.
    Raise InputError when the file is absent, damaged or holds anything but data.
    """
    if not path.is_file():
        raise InputError(f"There is no file {path.name!r}; check the path given to {option}.")
    try:
        kind = weights_format(path)
        if kind == "safetensors":
            return load_file(path)
        if kind is None:
            raise ValueError("neither safetensors nor PyTorch's")
        with torch.serialization.safe_globals(_SKIPPED):
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        raise InputError(f"{path.name} is no readable weights file; download it again.") from error
    except Exception as error:  # pickle may raise anything
        raise InputError(
            f"{path.name} holds more than tensors and is not loaded; "
            "save its state dict with torch.save or safetensors."
        ) from error
    return _unwrap(checkpoint, path)


def _unwrap(checkpoint: Any, path: Path) -> dict[str, Tensor]:
    for key in ("model_state_dict", "teacher", "student", "state_dict", "model"):
        if isinstance(checkpoint, Mapping) and isinstance(checkpoint.get(key), Mapping):
            checkpoint = checkpoint[key]
    if not isinstance(checkpoint, Mapping):
        raise InputError(f"{path.name} holds no state dict; save one with safetensors.")
    return {str(k): v for k, v in checkpoint.items() if isinstance(v, Tensor)}


def read_metadata(path: Path) -> dict[str, str]:
    """Read the metadata of a weights file; only safetensors files have any.

    Raise InputError when the file is absent or damaged.
    """
    if not path.is_file():
        raise InputError(f"There is no file {path.name!r}; check the path.")
    try:
        if weights_format(path) != "safetensors":
            return {}
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path.name} is no readable weights file.") from error
