"""ZeroGPU on Hugging Face Spaces; does nothing elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

try:
    import spaces
except ImportError:
    spaces = None

Function = TypeVar("Function", bound=Callable[..., object])

ZERO_GPU = spaces is not None and bool(os.environ.get("SPACES_ZERO_GPU"))
SECONDS = 60  # of GPU time asked for one analysis


def on_gpu(function: Function) -> Function:
    """Run the function where a GPU is attached for its duration."""
    if spaces is None:
        return function
    decorated: Function = spaces.GPU(duration=SECONDS)(function)
    return decorated
