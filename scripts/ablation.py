"""What attention adds to features, and what learning adds to attention (paper, Fig. 1 and 2).

    python scripts/ablation.py --davis DAVIS_ROOT --backbone builtin [--correlator FILE …]

Development split, every 5th frame, best single cluster of a video (`scripts/measure.py`), the tree
cut at several τ. "features" are clustered by k-means, for as many clusters as COUNTS says.
With --pictures, one sheet per sequence: clusters and attention of each source.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import torch
from measure import SEQUENCES
from measure_clustering import Clip
from PIL import Image
from sklearn.cluster import KMeans

from bavos_core import Settings, backbones, drawing
from bavos_core.analysis import attention_rows, choose_source
from bavos_core.hierarchy import grow
from bavos_core.masks import nearest_pixels

TAUS = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
COUNTS = (4, 6, 8, 12, 16, 24, 32)  # clusters of k-means, in the columns of TAUS

Labels = Callable[[float], np.ndarray]  # of a τ or a count: (T·N,)


def by_features(clip: Clip) -> Labels:
    """k-means of the features as they are."""
    tokens = clip.features.tokens.flatten(0, 1).numpy()
    return lambda count: KMeans(int(count), n_init=2, random_state=0).fit_predict(tokens)


def by_attention(clip: Clip, correlator: str) -> Labels:
    """The tree of one source of attention."""
    settings = Settings(size=clip.settings.size, correlator=correlator)
    source, block = choose_source(settings, clip.features.channels)
    growth = grow(
        attention_rows(clip.features, source, block, settings), settings, dtype=torch.bfloat16
    )
    leaf = growth.assignment.labels.flatten().numpy()
    return lambda tau: growth.tree.cut(tau)[leaf]


def sheet(clip: Clip, found: dict[str, Labels], picked: dict[str, float]) -> Image.Image:
    """Clusters of three frames, one row a way: (ways × 3) small pictures."""
    size = (120, 214)
    rows = []
    for way, labels in found.items():
        grids = labels(picked[way]).reshape(-1, *clip.grid)
        shown = [grids[t] for t in (0, len(grids) // 2, len(grids) - 1)]
        colours = np.array([drawing.object_colour(i) for i in range(grids.max() + 1)], np.uint8)
        rows.append(np.hstack([colours[nearest_pixels(g, size)] for g in shown]))
    return Image.fromarray(np.vstack(rows))


def main() -> None:
    """Print the table; write the sheets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--davis", type=Path, required=True)
    parser.add_argument("--backbone", default="builtin")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--size", default="192x384")
    parser.add_argument("--correlator", nargs="*", default=[], help="trained blocks to compare")
    parser.add_argument("--no-features", action="store_true", help="leave k-means out")
    parser.add_argument("--pictures", type=Path, help="folder for sheets of clusters")
    options = parser.parse_args()
    height, width = (int(side) for side in options.size.split("x"))
    settings = Settings(backbone=options.backbone, weights=options.weights, size=(height, width))
    backbone = backbones.load(
        options.backbone, weights=options.weights, layer=None, device=torch.device("cpu")
    )
    scores: dict[str, list[list[float]]] = {}
    sheets = []
    for name in SEQUENCES:
        clip = Clip(backbone, settings, options.davis, name)
        found = {} if options.no_features else {"features": by_features(clip)}
        for correlator in ("keys", "untrained", *options.correlator):
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
            sheet(clip, found, best).save(options.pictures / f"{name}.png")


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
