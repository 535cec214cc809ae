"""Render the moving picture of the README: a clip, its objects, where one patch attends.

    python assets/make_readme_picture.py

The backbone is `bundled-vits14` (tuned on saliency labels), so that anyone can repeat it offline.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from bavos_core import Settings, analyse, open_clip
from bavos_core.export import write_heatmap, write_overlay

ASSETS = Path(__file__).parent
GAP = 6  # white pixels between the panels


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--clip", type=Path, default=ASSETS / "examples" / "rolling-balls.mp4")
    parser.add_argument("--point", type=float, nargs=2, default=(150, 150), metavar=("Y", "X"))
    parser.add_argument("--frame", type=int, default=12, help="of the analysed ones")
    parser.add_argument("--width", type=int, default=288, help="of a panel, in pixels")
    parser.add_argument("--out", type=Path, default=ASSETS / "bavos.webp")
    options = parser.parse_args()
    clip = open_clip(options.clip)
    analysis = analyse(clip, Settings(backbone="bundled-vits14"))
    with tempfile.TemporaryDirectory() as room:
        objects, heat = Path(room, "objects.mp4"), Path(room, "heat.mp4")
        write_overlay(objects, analysis, analysis.segment(), clip)
        query = (options.frame, *options.point)
        write_heatmap(heat, analysis, analysis.attend(*query), clip, query=query)
        panels = [panel(each, options.width) for each in (options.clip, objects, heat)]
    pictures = [Image.fromarray(side_by_side(frames)) for frames in zip(*panels)]
    step = round(1000 * float(np.diff(clip.times).mean()))  # milliseconds
    pictures[0].save(
        options.out, save_all=True, append_images=pictures[1:], duration=step, loop=0, quality=72,
        method=6,
    )  # fmt: skip


def panel(video: Path, width: int) -> list[np.ndarray]:
    """Return all frames of a video, `width` pixels wide."""
    frames = map(Image.fromarray, open_clip(video).read())
    return [np.asarray(f.resize((width, f.height * width // f.width))) for f in frames]


def side_by_side(frames: tuple[np.ndarray, ...]) -> np.ndarray:
    """Return frames of one size beside one another, with a white gap."""
    gap = np.full((len(frames[0]), GAP, 3), 255, np.uint8)
    return np.concatenate([part for frame in frames for part in (gap, frame)][1:], axis=1)


if __name__ == "__main__":
    main()
