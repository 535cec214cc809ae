"""Files of trained correlators and checkpoints: safetensors, written atomically."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from bavos_core.correlator import TrainedCorrelator, state_of
from bavos_io.files import atomic_write


def write_correlator(path: Path, trained: TrainedCorrelator) -> None:
    """Write a correlator, its feature statistics and its metadata for `read_correlator`."""
    write_tensors(path, state_of(trained), trained.metadata)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file."""
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_write(path) as part:
        part.write_bytes(save(whole, metadata=dict(metadata)))  # readable like any other file
