"""Shared set-up: one thread, and analyses of tiny clips that several tests look at."""

import numpy as np
import pytest
import torch
from hypothesis import settings

from bavos_core import Analysis, Settings, analyse

from .helpers import TINY, noise_clip

# The same inputs on every run, and no time limit, since the machine may be busy.
settings.register_profile("core", derandomize=True, deadline=None, database=None)
settings.load_profile("core")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tensors here are so small that threads would only wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def square_clip() -> np.ndarray:
    """A bright square that wanders over noise: (7, 48, 64, 3) uint8."""
    frames = noise_clip(7, (48, 64)) // 4
    for t, frame in enumerate(frames):
        frame[12:28, 8 + 4 * t : 24 + 4 * t] = (220, 180, 40)
    return frames


@pytest.fixture(scope="session")
def square_analysis(square_clip: np.ndarray) -> Analysis:
    """That clip, analysed by default means with the builtin backbone on a 6×8 grid."""
    return analyse(square_clip, Settings(**TINY))


@pytest.fixture(scope="session")
def exact_analysis(square_clip: np.ndarray) -> Analysis:
    """The same, by the paper's procedure to the letter."""
    return analyse(square_clip, Settings(**TINY, exact=True, key_ratio=3))
