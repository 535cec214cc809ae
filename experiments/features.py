"""Seconds of the features stage beside timm's plain float32 forward pass of the same network.

    python -m experiments.features --clip CLIP --out features.csv

24 frames of 24×48 patches; the two take turns in one process.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import timm
import torch

from bavos_core import Settings, backbones, open_clip
from bavos_core.settings import Compute

from .common import GRID, Row, markdown, parser_of, seconds_of, write_rows

PATCH = 14  # pixels
AT_ONCE = 4  # frames of a batch in timm's forward pass


def measure(path: Path, frames: int, rounds: int) -> Iterator[Row]:
    """Yield the seconds of both in every round."""
    backbone = backbones.load("bundled-vits14")
    plain = timm.create_model("vit_small_patch14_dinov2", num_classes=0, dynamic_img_size=True)
    plain.eval().requires_grad_(False)  # random weights are as fast as any
    clip = open_clip(path)
    chosen = np.linspace(0, len(clip.times) - 1, frames).round().astype(int)
    pixels = np.stack(list(clip.read(chosen.tolist())))
    compute = Compute.choose(Settings())

    def ours() -> None:
        backbone.encode(backbones.to_images(pixels, GRID, PATCH), compute)

    def timms() -> None:
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
        size = (GRID[0] * PATCH, GRID[1] * PATCH)
        images = torch.nn.functional.interpolate(images, size, mode="bilinear")
        with torch.inference_mode():
            for part in images.split(AT_ONCE):
                plain.forward_features(part)

    for i in range(rounds):
        first, second = (ours, timms) if i % 2 else (timms, ours)
        seconds = {work: seconds_of(work) for work in (first, second)}
        yield {
            "round": i + 1,
            "precision": compute.precision,
            "features_seconds": round(seconds[ours], 3),
            "timm_fp32_seconds": round(seconds[timms], 3),
            "ratio": round(seconds[ours] / seconds[timms], 3),
        }


def main() -> None:
    """Measure, write every figure, print the table."""
    parser = parser_of(__doc__)
    parser.add_argument("--clip", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    rows = write_rows(options.out, measure(options.clip, options.frames, options.rounds))
    names = ("round", "features_seconds", "timm_fp32_seconds", "ratio")
    print(markdown(names, ([row[name] for name in names] for row in rows), words=0))


if __name__ == "__main__":
    main()
