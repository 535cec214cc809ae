"""Small clips for the command line."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def pictures(tmp_path: Path) -> dict[str, bytes]:
    """Three small frames as JPEG and PNG files, whose names need natural order."""
    found = {}
    for number, suffix in ((2, "png"), (10, "jpg"), (1, "png")):
        pixels = np.full((48, 64, 3), 40, np.uint8)
        pixels[10:30, 3 * number : 3 * number + 20] = (200, 60, 50)
        path = tmp_path / f"picture.{suffix}"
        Image.fromarray(pixels).save(path)
        found[f"frame{number}.{suffix}"] = path.read_bytes()
        path.unlink()
    return found


@pytest.fixture
def folder_of_frames(pictures: dict[str, bytes], tmp_path: Path) -> Path:
    folder = tmp_path / "my clip"
    folder.mkdir()
    for name, data in pictures.items():
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture
def bad_clip(tmp_path: Path) -> Path:
    """Text that says it is a video."""
    path = tmp_path / "notes.mp4"
    path.write_text("Shopping list: bread, milk, a tripod.\n" * 50)
    return path
