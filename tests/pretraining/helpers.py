"""A folder of tiny pictures and clips, and networks that learn from them in a moment."""

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from bavos_core.pretraining import CooccurrenceSettings, PretrainSettings

TINY = PretrainSettings(
    side=32,
    view=16,
    small_view=8,
    small_views=2,
    patch=4,
    width=16,
    depth=2,
    heads=2,
    prototypes=8,
    steps=8,
    batch=4,
    device="cpu",
    precision="fp32",
    checkpoint_every=3,
    measure_every=4,
)
PAIRS = CooccurrenceSettings(
    side=32,
    grid=4,
    crop=3,
    pairs=5,
    reach=1,
    apart=2,
    steps=8,
    batch=4,
    device="cpu",
    checkpoint_every=3,
    measure_every=4,
)


def jpeg(seed: int, size: tuple[int, int] = (24, 36)) -> bytes:
    """A picture of (height, width) pixels: a bright square on noise."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 80, (*size, 3), np.uint8)
    pixels[6:18, 6:18] = rng.integers(120, 256, 3)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


def write_frames(folder: Path, count: int, seed: int) -> Path:
    folder.mkdir(parents=True)
    for t in range(count):
        (folder / f"{t:05d}.jpg").write_bytes(jpeg(100 * seed + t))
    return folder
