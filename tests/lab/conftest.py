"""Analyses that several tests look at."""

from pathlib import Path

import numpy as np
import pytest

from bavos_core import Analysis, Settings, analyse

EXAMPLES = Path(__file__).resolve().parents[2] / "assets" / "examples"


@pytest.fixture(scope="session")
def reef_path() -> Path:
    """A clip that the project ships: 40 frames of 432×240."""
    return EXAMPLES / "reef.mp4"


@pytest.fixture(scope="session")
def reef(reef_path: Path) -> Analysis:
    """Its analysis by the bundled backbone, which has six heads and a [CLS] token."""
    return analyse(reef_path, Settings(backbone="bundled-vits14", frames=6, patches=240))


@pytest.fixture(scope="session")
def square() -> Analysis:
    """A bright square that wanders over noise, analysed with the descriptors on 9×12 patches."""
    frames = np.random.default_rng(0).integers(0, 64, (5, 72, 96, 3), np.uint8)
    for t, frame in enumerate(frames):
        frame[24:48, 8 + 8 * t : 32 + 8 * t] = (220, 180, 40)
    return analyse(frames, Settings(backbone="descriptors", size=(72, 96)))


@pytest.fixture(params=["reef", "square"])
def analysis(request: pytest.FixtureRequest) -> Analysis:
    """Each of the two."""
    found: Analysis = request.getfixturevalue(request.param)
    return found
