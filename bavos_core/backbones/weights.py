"""Weights for a model, checked tensor by tensor."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor, nn

from ..errors import InputError


def encoder_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors under timm's names, without the prefixes that wrappers add."""
    prefixes = r"^(module\.)?(backbone\.)?(encoder\.)?"
    return {re.sub(prefixes, "", name): tensor for name, tensor in tensors.items()}


def load_checked(model: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Copy tensors into the model; more than it needs do no harm.

    Raise InputError naming the first missing or misshapen ones. source: their file's name.
    """
    wanted = model.state_dict()
    missing = [name for name in wanted if name not in tensors]
    misshapen = [
        f"{name} is {tuple(tensors[name].shape)}, not {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    if wrong := missing or misshapen:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        what = f"{len(missing)} of {len(wanted)} tensors are missing" if missing else "other shapes"
        raise InputError(
            f"{source} does not fit: {what} ({', '.join(wrong[:3])}{more}); "
            "choose the backbone that it was made for."
        )
    model.load_state_dict({name: tensors[name].float() for name in wanted})
