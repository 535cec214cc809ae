"""Shared set-up: one thread, and a folder of tiny clips."""

from pathlib import Path

import pytest
import torch
from hypothesis import settings

from bavos_core.training.data import TrainingData, load_clips

from .helpers import TINY, write_mp4, write_pictures, write_zip

# The same inputs on every run, and no time limit, since the machine may be busy.
settings.register_profile("training", derandomize=True, deadline=None, database=None)
settings.load_profile("training")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tensors here are tiny; and to the bit, results are the same for the same threads only."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four clips of 10 to 13 frames: two folders of frames, a zip and a video."""
    folder = tmp_path_factory.mktemp("clips")
    write_pictures(folder / "a", 10, seed=1)
    write_pictures(folder / "b", 11, seed=2)
    write_zip(folder / "c.zip", 12, seed=3)
    write_mp4(folder / "d.mp4", 13, seed=4)
    return folder


@pytest.fixture(scope="session")
def data(folder: Path) -> TrainingData:
    """These clips, read with the builtin backbone on a 6×8 grid."""
    return load_clips(folder, TINY)
