"""What attention adds to features, and what learning adds to attention (paper, Fig. 1 and 2).

    python experiments/ablation.py --davis DAVIS_ROOT --backbone NAME [--correlator FILE …]

Development split, every 5th frame, best single cluster of a video (`experiments/measure.py`), the
tree cut at several τ. "features" are clustered by k-means, for as many clusters as COUNTS says.
With --pictures, two figures a sequence: one query's attention and the clusters of each source.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from measure import SEQUENCES
from measure_clustering import Clip
from sklearn.cluster import KMeans

from bavos_core import Settings, backbones, render
from bavos_core.backbones import Features
from bavos_core.correlator import TrainedCorrelator
from bavos_core.hierarchy import build_hierarchy
from bavos_core.refinement import nearest_pixels
from bavos_core.settings import AttentionSource
from bavos_core.sources import attention_rows, choose_source

TAUS = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
COUNTS = (4, 6, 8, 12, 16, 24, 32)  # clusters of k-means, in the columns of TAUS

Labels = Callable[[float], np.ndarray]  # of a τ or a count: (T·N,)


def by_features(clip: Clip) -> Labels:
    """k-means of the features as they are."""
    tokens = clip.features.tokens.flatten(0, 1).numpy()
    return lambda count: KMeans(int(count), n_init=2, random_state=0).fit_predict(tokens)


def by_attention(clip: Clip, correlator: str) -> Labels:
    """The tree of one source of attention."""
    settings, source, block = source_of(clip, correlator)
    growth = build_hierarchy(
        attention_rows(clip.features, source, block, settings), settings, dtype=torch.bfloat16
    )
    leaf = growth.assignment.labels.flatten().numpy()
    return lambda tau: growth.tree.cut(tau)[leaf]


def source_of(
    clip: Clip, correlator: str
) -> tuple[Settings, AttentionSource, TrainedCorrelator | None]:
    """What an option of --correlator means for a clip."""
    settings = Settings(size=clip.settings.size, correlator=correlator)
    return settings, *choose_source(settings, clip.features.channels, "key-similarity")


# ---- pictures -----------------------------------------------------------------------------------


def attention_figure(clip: Clip, correlators: Sequence[str]) -> Figure:
    """One query, the middle of the object, through time: a row of pictures a source (Fig. 1)."""
    frame = len(clip.frames) // 2
    place = middle_of_object(clip, frame)
    rows = {"frame-wise": framewise_row(clip.features, place)}
    for correlator in correlators:
        rows[Path(correlator).stem] = attended(clip, correlator, frame, place)
    figure, axes = grid_of_pictures(clip, list(rows))
    for (_, row), line in zip(rows.items(), axes, strict=True):
        for t, axis in zip(shown_frames(clip), line, strict=True):
            heat = row[t].reshape(clip.grid) / render.heat_scale(row)
            axis.imshow(render.heat_overlay(clip.frames[t], heat))
    y, x = divmod(place, clip.grid[1])
    height, width = clip.frames.shape[1:3]
    for line in axes:
        line[1].plot((x + 0.5) * width / clip.grid[1], (y + 0.5) * height / clip.grid[0], "w+")
    return figure


def middle_of_object(clip: Clip, frame: int) -> int:
    """The patch of the object's pixel that is nearest to the middle of all its pixels."""
    pixels = np.argwhere(clip.truth[frame])
    y, x = pixels[((pixels - pixels.mean(0)) ** 2).sum(1).argmin()]
    height, width = clip.truth.shape[1:]
    return int(y * clip.grid[0] // height * clip.grid[1] + x * clip.grid[1] // width)


def framewise_row(features: Features, place: int) -> np.ndarray:
    """The backbone's own attention from one place in every frame, (T, N), mean over heads."""
    logits = torch.einsum("thd,thnd->thn", features.queries[:, :, place], features.keys)
    return np.asarray((features.scale * logits).softmax(-1).mean(1))


def attended(clip: Clip, correlator: str, frame: int, place: int) -> np.ndarray:
    """Attention of one patch to all patches of all frames, (T, N)."""
    settings, source, block = source_of(clip, correlator)
    every = replace(settings, key_ratio=1)
    rows = attention_rows(clip.features, source, block, every).rows(frame, frame + 1)
    return np.asarray(rows[place].unflatten(0, (len(clip.frames), -1)))


def clusters_figure(clip: Clip, found: dict[str, Labels], picked: dict[str, float]) -> Figure:
    """Clusters of every way, at its best granularity, in three frames (Fig. 2)."""
    figure, axes = grid_of_pictures(clip, [f"{way}\n{picked[way]:g}" for way in found])
    for (way, labels), line in zip(found.items(), axes, strict=True):
        grids = labels(picked[way]).reshape(-1, *clip.grid)
        colours = np.array([render.object_colour(i) for i in range(grids.max() + 1)], np.uint8)
        for t, axis in zip(shown_frames(clip), line, strict=True):
            painted = colours[nearest_pixels(grids[t], clip.frames.shape[1:3])]
            axis.imshow((0.4 * clip.frames[t] + 0.6 * painted).astype(np.uint8))
    return figure


def shown_frames(clip: Clip) -> tuple[int, int, int]:
    """First, middle and last."""
    return 0, len(clip.frames) // 2, len(clip.frames) - 1


def grid_of_pictures(clip: Clip, names: Sequence[str]) -> tuple[Figure, np.ndarray]:
    """An empty figure with a named row for each of names and a column for each shown frame."""
    height, width = clip.frames.shape[1:3]
    figure, axes = plt.subplots(
        len(names), 3, figsize=(9, 3 * height / width * len(names)), squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for name, line in zip(names, axes, strict=True):
        line[0].set_ylabel(name)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    return figure, axes


def main() -> None:
    """Print the table; write the sheets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--davis", type=Path, required=True)
    parser.add_argument("--backbone", default="bundled-vits14")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--size", default="192x384")
    parser.add_argument("--correlator", nargs="*", default=[], help="trained blocks to compare")
    parser.add_argument("--no-features", action="store_true", help="leave k-means out")
    parser.add_argument("--pictures", type=Path, help="folder for the figures")
    options = parser.parse_args()
    height, width = (int(side) for side in options.size.split("x"))
    settings = Settings(backbone=options.backbone, weights=options.weights, size=(height, width))
    backbone = backbones.load(
        options.backbone, weights=options.weights, layer=None, device=torch.device("cpu")
    )
    correlators = ("key-similarity", "untrained", *options.correlator)
    scores: dict[str, list[list[float]]] = {}
    sheets = []
    for name in SEQUENCES:
        clip = Clip(backbone, settings, options.davis, name)
        found = {} if options.no_features else {"features": by_features(clip)}
        for correlator in correlators:
            found[Path(correlator).stem] = by_attention(clip, correlator)
        for way, labels in found.items():
            steps = COUNTS if way == "features" else TAUS
            scores.setdefault(way, []).append([clip.score(labels(step)) for step in steps])
        sheets.append((name, clip, found))
    print("| way | " + " | ".join(f"τ {tau:g}" for tau in TAUS) + " |")
    print("|---|" + "--:|" * len(TAUS))
    for way, rows in scores.items():
        print(f"| {way} | " + " | ".join(f"{j:.3f}" for j in np.mean(rows, axis=0)) + " |")
    if options.pictures:
        options.pictures.mkdir(parents=True, exist_ok=True)
        best = {
            way: (COUNTS if way == "features" else TAUS)[int(np.mean(rows, axis=0).argmax())]
            for way, rows in scores.items()
        }
        for name, clip, found in sheets:
            figures = {
                "attention": attention_figure(clip, correlators),
                "clusters": clusters_figure(clip, found, best),
            }
            for kind, figure in figures.items():
                figure.savefig(options.pictures / f"{name}-{kind}.jpg", dpi=80)
                plt.close(figure)


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
