"""Best-cluster J on the development split.

    python -m experiments.best_cluster --davis DIR --grid --out best_cluster_j.csv [--weights FILE]

Six DAVIS-2016 sequences. Every 5th frame is analysed, from frame 0, 1, 2, 3 and 4, since one choice
of frames alone moves the mean by 0.03. J is that of the cluster of a video with the highest mean
intersection over union with the ground truth; patch labels are scaled up by nearest neighbour. This
is not an official protocol.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bavos_core import Settings, analyse, backbones
from bavos_core.settings import Compute
from bavos_lab.evaluation.metrics import best_cluster_j

from .common import (
    FLOAT,
    GRID,
    HAS_SEEN,
    SINGLE,
    STAND_IN,
    Row,
    davis_frames,
    groups,
    markdown,
    mean,
    parser_of,
    write_rows,
)  # fmt: skip

TAUS = (0.5, 0.7, 1.0, 1.5, 2.0, 3.0)


def compared(options: argparse.Namespace) -> dict[str, Settings]:
    """Return the settings of every backbone by its name in the table."""
    found = {name: Settings(backbone=name) for name in ("bundled-vits14", "descriptors")}
    if options.weights:
        found[STAND_IN] = Settings(backbone=STAND_IN, weights=options.weights)
    if options.float_weights:
        found[FLOAT] = Settings(backbone="dinov2-vits14", weights=options.float_weights, layer=10,
                                correlator="cross-frame")  # fmt: skip
    return {name: found[name] for name in options.backbones or found}


def measure(options: argparse.Namespace) -> Iterator[Row]:
    """Yield one row for every backbone, set of frames, sequence and τ."""
    for name, settings in compared(options).items():
        backbone = backbones.load(settings.backbone, weights=settings.weights, layer=settings.layer)
        if options.grid:
            size = (GRID[0] * backbone.patch, GRID[1] * backbone.patch)
            settings = replace(settings, size=size)
        for start in options.starts:
            for sequence in options.sequences:
                frames, truth = davis_frames(options.davis, sequence, start)
                analysis = analyse(frames, settings, backbone=backbone)
                about = {
                    "backbone": name,
                    "has_seen": HAS_SEEN[name],
                    "source": analysis.source,
                    "grid": "24x48" if options.grid else "default",
                    "precision": Compute.choose(settings).precision,
                    "first_frame": start,
                    "sequence": sequence,
                }
                cuts = [(tau, analysis.segment(tau)) for tau in TAUS]
                yield from (
                    {**about, "tau": tau, "clusters": cut.clusters,
                     "best_cluster_j": round(best_cluster_j(cut.labels, truth), 4)}
                    for tau, cut in cuts
                )  # fmt: skip


def table(rows: list[Row]) -> str:
    """Return the means over sequences and sets of frames."""
    heads = ["backbone", "trained on", *(f"τ {tau:g}" for tau in TAUS), "τ 1, each set of frames",
             "clusters at τ 1"]  # fmt: skip
    lines = []
    for (name, seen), own in groups(rows, "backbone", "has_seen"):
        at_one = [row for row in own if row["tau"] == 1]
        means = [f"{mean(part, 'best_cluster_j'):.3f}" for _, part in groups(own, "tau")]
        sets = [f"{mean(p, 'best_cluster_j'):.3f}" for _, p in groups(at_one, "first_frame")]
        lines.append([f"`{name}`", seen, *means, " ".join(sets), f"{mean(at_one, 'clusters'):.0f}"])
    return markdown(heads, lines, words=2)


def main() -> None:
    """Measure, write every figure, print the means."""
    parser = parser_of(__doc__, davis=True)
    parser.add_argument("--float-weights", type=Path, help="the bundled ViT's weights as floats")
    parser.add_argument("--backbones", nargs="+", choices=HAS_SEEN, help="default: all")
    parser.add_argument("--starts", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--sequences", nargs="+", choices=SINGLE, default=SINGLE)
    parser.add_argument("--grid", action="store_true", help="24×48 patches for every backbone")
    options = parser.parse_args()
    print(table(write_rows(options.out, measure(options))))


if __name__ == "__main__":
    main()
