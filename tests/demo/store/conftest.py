"""Stores of results, and what is put into them."""

from pathlib import Path

import pytest

from bavos_core import Analysis
from demo.store import Store

from .helpers import Clock, Kept


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Ten bytes that say they are a clip: the store does not look into them."""
    path = tmp_path / "holiday.mp4"
    path.write_bytes(b"0123456789")
    return path


@pytest.fixture
def size(tiny_analysis: Analysis) -> int:
    """Bytes that one result takes."""
    a = tiny_analysis
    arrays = (a.frames, a.nearest, a.distance, a.levels, a.queries.numpy(), a.keys.numpy())
    return sum(array.size * array.itemsize for array in arrays) + 10


@pytest.fixture
def put(tiny_analysis: Analysis, clip: Path):
    """Keeps a result that has one file, in a given store."""

    def kept(store: Store) -> Kept:
        with (
            store.put(tiny_analysis, clip, ("A notice.",)) as result,
            store.room(result) as folder,
        ):
            (folder / "overlay.mp4").write_bytes(b"video")
        return Kept(result, folder)

    return kept


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(size: int):
    """A store for two results."""
    opened = Store(most_bytes=2 * size)
    yield opened
    opened.close()
