"""Attention beside other groupings of the same features: the comparison that the paper makes.

    python -m experiments.groupings --davis DIR --out groupings.csv
        [--slots slots.safetensors --groupings undivided attention kmeans ncut slots]

Each clip is analysed once; k-means, normalised cut and slots then group the same features into as
many groups as attention has clusters at τ = 1 (slots: as many as were trained). `undivided` is
attention before its clusters are divided into instances, as in the paper. best: IoU of the
single group that fits the foreground best, over the whole video. matched: true objects matched one
to one with groups (Hungarian), mean IoU over true objects. Both in labels of patches, which have
the truth of their middle. seconds: of the grouping alone, features being there.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np

from bavos_core import Analysis, Settings, analyse, backbones
from bavos_core.progress import Stage
from bavos_core.settings import PAPER_TAU
from bavos_lab.grouping import GROUPINGS, Grouping
from bavos_lab.grouping.regroup import regrouped
from bavos_lab.grouping.slots import Slots

from .common import HAS_SEEN, STAND_IN, Row, groups, markdown, mean, parser_of, write_rows
from .objects import SETS, cut_at, in_patches, one_to_one, samples, truth

FRAMES = (16, 13)  # two sets of frames, spread evenly
UNDIVIDED = "undivided"


def measure(options: argparse.Namespace) -> Iterator[Row]:
    """Yield one row for every clip, set of frames and grouping."""
    name, weights = options.backbone, options.weights
    backbone = backbones.load(name, weights=weights)
    slots = Slots.load(options.slots) if options.slots else None
    for title, sample in samples(options.davis).items():
        for frames in FRAMES if sample.kind in options.sets else ():
            # At a huge τ everything is one cluster, which is not divided.
            settings = Settings(backbone=name, weights=weights, frames=frames, tau=1e6)
            undivided = analyse(sample.clip, settings, backbone=backbone)
            true = truth(sample.masks, undivided)
            about = {"backbone": name, "has_seen": HAS_SEEN[name], "set": sample.kind,
                     "clip": title, "frames": frames}  # fmt: skip
            for grouping in options.groupings:
                found = grouped(undivided, grouping, slots)
                yield {**about, "grouping": grouping, **scores(found, true, PAPER_TAU)}


def grouped(undivided: Analysis, grouping: str, slots: Slots | None) -> Analysis:
    """Return an analysis whose clusters at τ = 1 are the groups of a grouping."""
    if grouping == UNDIVIDED:
        return undivided
    return regrouped(cut_at(undivided, PAPER_TAU), cast(Grouping, grouping), slots)


def scores(analysis: Analysis, true: list[np.ndarray], tau: float) -> Row:
    """Return the scores of the groups of an analysis at τ."""
    cut = analysis.segment(tau)
    thing = in_patches(cut, true) > 0
    ious = [((cut.labels == c) & thing).sum() / ((cut.labels == c) | thing).sum()
            for c in cut.present]  # fmt: skip
    return {
        "groups": cut.clusters,
        "best": round(float(max(ious)), 4),
        "matched": round(one_to_one(cut, cut.present, true), 4),
        "seconds": round(analysis.timings[Stage.CLUSTERING.value], 2),
    }


def table(rows: list[Row]) -> str:
    """Return the means over the clips and frames of every set."""
    lines = [
        [*key, *(f"{mean(own, name):.3f}" for name in ("best", "matched")),
         f"{mean(own, 'groups'):.0f}", f"{mean(own, 'seconds'):.1f}"]
        for key, own in groups(rows, "backbone", "has_seen", "set", "grouping")
    ]  # fmt: skip
    heads = ["backbone", "trained on", "set", "grouping", "best", "matched", "groups", "seconds"]
    return markdown(heads, lines, words=4)


def main() -> None:
    """Measure, write every figure, print the table."""
    parser = parser_of(__doc__, davis=True)
    parser.add_argument("--backbone", default="bundled-vits14", help=f"or {STAND_IN}")
    parser.add_argument("--slots", type=Path, metavar="FILE", help="of experiments.slots")
    parser.add_argument("--sets", nargs="+", default=SETS, choices=SETS)
    named = (UNDIVIDED, *GROUPINGS)
    parser.add_argument("--groupings", nargs="+", choices=named, default=named[:-1],
                        help="slots need --slots")  # fmt: skip
    options = parser.parse_args()
    print(table(write_rows(options.out, measure(options))))


if __name__ == "__main__":
    main()
