"""GIFs that the viewer writes, as Pillow reads them."""

import base64
import io

import numpy as np
import pytest
from PIL import Image, ImageSequence

from .node import node

SCRIPT = """
const gif = createGif(data.width, data.height);
for (const frame of data.frames) {
  gif.add({ data: Uint8ClampedArray.from(Buffer.from(frame, 'base64')) }, data.time);
}
print(Buffer.from(gif.finish()).toString('base64'));
"""


def written(frames: np.ndarray, time: int = 7) -> Image.Image:
    """Return the GIF of frames (F, H, W, 3)."""
    alpha = np.full((*frames.shape[:3], 1), 255, np.uint8)
    coded = [
        base64.b64encode(frame.tobytes()).decode() for frame in np.concatenate([frames, alpha], 3)
    ]
    data = {"width": frames.shape[2], "height": frames.shape[1], "frames": coded, "time": time}
    found = node(SCRIPT, {"gif.js": "createGif"}, data)
    return Image.open(io.BytesIO(base64.b64decode(found)))


def pictures(kind: str) -> np.ndarray:
    random = np.random.default_rng(3)
    y, x = np.mgrid[:60, :96]
    if kind == "noise":  # the codes of LZW run full many times
        return random.integers(0, 256, (2, 200, 300, 3)).astype(np.uint8)
    if kind == "one colour":
        return np.full((2, 60, 96, 3), (250, 3, 128), np.uint8)
    if kind == "one pixel":
        return np.array([[[[1, 2, 3]]]], np.uint8)
    shades = [np.stack([x * 2.6, y * 4.2, 0 * x + 40 * i], 2) for i in range(4)]
    return np.stack(shades).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("kind", "error"), [("shades", 6), ("noise", 22), ("one colour", 5), ("one pixel", 5)]
)
def test_frames_come_back_with_size_time_and_near_colours(kind: str, error: float) -> None:
    frames = pictures(kind)
    image = written(frames)
    assert (image.n_frames if len(frames) > 1 else 1) == len(frames)
    assert image.size == (frames.shape[2], frames.shape[1]) and image.info["loop"] == 0
    for frame, read in zip(frames, ImageSequence.Iterator(image), strict=True):
        assert read.info["duration"] == 70
        difference = np.asarray(read.convert("RGB")).astype(float) - frame
        assert abs(difference).mean() <= error
        assert abs(difference.mean()) <= 4
