"""Analyses of tiny clips that several tests look at."""

from pathlib import Path

import numpy as np
import pytest
import torch

from bavos_core import Analysis, Settings, analyse
from bavos_core.correlator import untrained
from bavos_io.clip import ArrayClip

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


@pytest.fixture(scope="session")
def block_file(tmp_path_factory) -> Path:
    """A block with weights of its own, for the 24 channels of the descriptors."""
    path = tmp_path_factory.mktemp("block") / "block.pth"
    torch.save({k: 2 * v for k, v in untrained(24, seed=11).state_dict().items()}, path)
    return path


@pytest.fixture(scope="session")
def learned_analysis(square_clip, block_file) -> Analysis:
    """With a trained block."""
    return analyse(square_clip, Settings(**TINY, correlator=str(block_file)))


@pytest.fixture(scope="session")
def clip(square_clip: np.ndarray) -> ArrayClip:
    """Seven frames of 48×64."""
    return ArrayClip.of(square_clip)
