"""ZeroGPU on Hugging Face Spaces; no effect elsewhere."""

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
Seconds = Callable[..., int]  # GPU seconds to request, from the arguments of the call


def on_gpu(seconds: Seconds) -> Callable[[Function], Function]:
    """Return a decorator that attaches a GPU for the requested seconds of a call or generator."""

    def decorate(function: Function) -> Function:
        if spaces is None:
            return function
        decorated: Function = spaces.GPU(duration=seconds)(function)
        return decorated

    return decorate
