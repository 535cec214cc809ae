"""What several tests learn from."""

from pathlib import Path

import pytest

from bavos_core.pretraining import Pictures, load_pictures

from .helpers import TINY, jpeg, write_frames, write_tar


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A tar of six photographs, and a folder of two clips of five and three frames."""
    folder = tmp_path_factory.mktemp("pictures")
    tar = write_tar(folder / "photographs.tar", {f"{i}.jpg": jpeg(i) for i in range(6)})
    write_frames(folder / "clips" / "a", 5, seed=1)
    write_frames(folder / "clips" / "b", 3, seed=2)
    return [tar, folder / "clips"]


@pytest.fixture(scope="session")
def pictures(sources: list[Path]) -> Pictures:
    """All 14 of them in memory."""
    return load_pictures(sources, TINY)
