"""Pictures after the paper's Fig. 1 and 2: attention and clusters of every source.

    python -m experiments.paper_figures --davis DIR --weights FILE --out FOLDER [--correlator …]

Two pictures a sequence: the attention of one patch of the object through time, and the clusters of
every way at the τ of its best J (`clusterings`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure

from bavos_core import render
from bavos_core.backbones import Features
from bavos_core.refinement import nearest_pixels

from .clusterings import SIZES, TAUS, Labels, Sample, encoders, source_ways
from .common import SINGLE, STAND_IN, parser_of


def attention_figure(sample: Sample, correlators: Sequence[str]) -> Figure:
    """Draw the attention of the patch in the middle of the object: one row for each source."""
    frame = len(sample.frames) // 2
    place = middle_of_object(sample, frame)
    rows = {"frame-wise": framewise_row(sample.features, place)}
    for correlator in ("key-similarity", "untrained", *correlators):
        attention = sample.attention(correlator, key_ratio=1).rows(frame, frame + 1)[place]
        rows[Path(correlator).stem] = np.asarray(attention.unflatten(0, (len(sample.frames), -1)))
    figure, axes = grid_of_pictures(sample, list(rows))
    for row, line in zip(rows.values(), axes, strict=True):
        for t, axis in zip(shown_frames(sample), line, strict=True):
            heat = row[t].reshape(sample.grid) / render.heat_scale(row)
            axis.imshow(render.heat_overlay(sample.frames[t], heat))
    y, x = divmod(place, sample.grid[1])
    height, width = sample.frames.shape[1:3]
    for line in axes:
        line[1].plot((x + 0.5) * width / sample.grid[1], (y + 0.5) * height / sample.grid[0], "w+")
    return figure


def middle_of_object(sample: Sample, frame: int) -> int:
    """Return the patch of the object's pixel that is nearest to the mean of all its pixels."""
    pixels = np.argwhere(sample.truth[frame])
    y, x = pixels[((pixels - pixels.mean(0)) ** 2).sum(1).argmin()]
    height, width = sample.truth.shape[1:]
    return int(y * sample.grid[0] // height * sample.grid[1] + x * sample.grid[1] // width)


def framewise_row(features: Features, place: int) -> np.ndarray:
    """Return the backbone's own attention from one place in every frame (T, N), mean of heads."""
    logits = torch.einsum("thd,thnd->thn", features.queries[:, :, place], features.keys)
    return np.asarray((features.scale * logits).softmax(-1).mean(1))


def clusters_figure(sample: Sample, found: dict[str, Labels]) -> Figure:
    """Draw the clusters of every way at its best τ: one row for each."""
    best = {
        way: max(TAUS["sources"], key=lambda tau, labels=labels: sample.score(labels(tau)))
        for way, labels in found.items()
    }
    figure, axes = grid_of_pictures(sample, [f"{way}\n{best[way]:g}" for way in found])
    for (way, labels), line in zip(found.items(), axes, strict=True):
        grids = labels(best[way]).reshape(-1, *sample.grid)
        colours = np.array([render.object_colour(i) for i in range(grids.max() + 1)], np.uint8)
        for t, axis in zip(shown_frames(sample), line, strict=True):
            painted = colours[nearest_pixels(grids[t], sample.frames.shape[1:3])]
            axis.imshow((0.4 * sample.frames[t] + 0.6 * painted).astype(np.uint8))
    return figure


def shown_frames(sample: Sample) -> tuple[int, int, int]:
    """Return the first, the middle and the last frame."""
    return 0, len(sample.frames) // 2, len(sample.frames) - 1


def grid_of_pictures(sample: Sample, names: Sequence[str]) -> tuple[Figure, np.ndarray]:
    """Return an empty figure with a named row for each name and a column for each shown frame."""
    height, width = sample.frames.shape[1:3]
    size = (9, 3 * height / width * len(names))
    figure, axes = plt.subplots(len(names), 3, figsize=size, squeeze=False, layout="constrained")
    for name, line in zip(names, axes, strict=True):
        line[0].set_ylabel(name)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    return figure, axes


def main() -> None:
    """Write the pictures."""
    parser = parser_of(__doc__, davis=True, out=False)
    parser.add_argument("--backbone", choices=SIZES, default=STAND_IN)
    parser.add_argument("--correlator", nargs="+", default=[], metavar="FILE", help="trained ones")
    parser.add_argument("--sequences", nargs="+", choices=SINGLE, default=SINGLE)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    options = parser.parse_args()
    torch.set_grad_enabled(False)
    options.out.mkdir(parents=True, exist_ok=True)
    (encoder,) = encoders(options, [options.backbone]).values()
    for name in options.sequences:
        sample = encoder.read(options.davis, name)
        found = dict(source_ways(sample, options.correlator))
        for kind, figure in (("attention", attention_figure(sample, options.correlator)),
                             ("clusters", clusters_figure(sample, found))):  # fmt: skip
            figure.savefig(options.out / f"{name}-{kind}.jpg", dpi=80)
            plt.close(figure)


if __name__ == "__main__":
    main()
