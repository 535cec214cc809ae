"""Objects of the same frames by several backbones, one row each, in one picture.

python experiments/side_by_side.py assets/examples/*.mp4 --out side_by_side.jpg
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))
from bavos_core import Settings, analyse
from demo.images import ObjectsLook, objects_frame

FRAMES = (0.2, 0.5, 0.8)  # shown, as shares of a clip
WIDTH = 300  # pixels of a picture


def shown(clip: Path, backbone: str) -> list[np.ndarray]:
    """Frames of a clip with the objects that a backbone finds, each (height, WIDTH, 3) uint8."""
    analysis = analyse(clip, Settings(backbone=backbone))
    cut = analysis.segment()
    found = []
    for share in FRAMES:
        t = round(share * (len(analysis.frames) - 1))
        picture = Image.fromarray(objects_frame(analysis, cut, t, ObjectsLook()))
        found.append(np.asarray(picture.resize((WIDTH, WIDTH * picture.height // picture.width))))
    return found


def main() -> None:
    """Write the picture: a pair of rows for each clip."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--backbones", nargs="+", default=["descriptors", "bundled-vits14"])
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    rows = [
        np.concatenate(shown(clip, backbone), axis=1)
        for clip in options.clips
        for backbone in options.backbones
    ]
    Image.fromarray(np.concatenate(rows)).save(options.out, quality=85)


if __name__ == "__main__":
    main()
