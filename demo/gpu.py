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
Seconds = Callable[..., int]  # of GPU time to ask for, from the arguments of the call


def on_gpu(seconds: Seconds) -> Callable[[Function], Function]:
    """Run a function, or a generator, where a GPU is attached for as long as it asks for."""

    def decorate(function: Function) -> Function:
        if spaces is None:
            return function
        decorated: Function = spaces.GPU(duration=seconds)(function)
        return decorated

    return decorate
