"""A folder of tiny clips that several tests read."""

from pathlib import Path

import pytest

from bavos_lab.training.data import TrainingData, load_clips

from .helpers import TINY, write_mp4, write_pictures, write_zip


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
    """These clips, read with the descriptors on a 6×8 grid."""
    return load_clips(folder, TINY)
