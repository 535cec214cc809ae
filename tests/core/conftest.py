"""Analyses of tiny clips that several tests look at."""

import numpy as np
import pytest

from bavos_core import Analysis, Settings, analyse

from .helpers import TINY, noise_clip


@pytest.fixture(scope="session")
def square_clip() -> np.ndarray:
    """A bright square that wanders over noise: (7, 48, 64, 3) uint8."""
    frames = noise_clip(7, (48, 64)) // 4
    for t, frame in enumerate(frames):
        frame[12:28, 8 + 4 * t : 24 + 4 * t] = (220, 180, 40)
    return frames


@pytest.fixture(scope="session")
def square_analysis(square_clip: np.ndarray) -> Analysis:
    """That clip, analysed by default means with the descriptors on a 6×8 grid."""
    return analyse(square_clip, Settings(**TINY))


@pytest.fixture(scope="session")
def exact_analysis(square_clip: np.ndarray) -> Analysis:
    """The same, by the paper's procedure to the letter."""
    return analyse(square_clip, Settings(**TINY, exact=True, key_ratio=3))
