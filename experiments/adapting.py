"""Does training on a single clip help on that clip?

    python -m experiments.adapting --davis DIR --out adapting.csv

Fourteen clips: eight DAVIS sequences, the four examples, two scenes. Each is analysed once and
clustered by the attention of every source, the last two of which were trained on the clip alone:
by the paper's losses (`bavos_lab.training.adapt`), and by consensus (experiments.learning). best
and matched: as in experiments.groupings.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from typing import cast

import torch

from bavos_core import Analysis, Settings, analyse, backbones, recluster
from bavos_core.correlator import TrainedCorrelator
from bavos_lab.training import adapt
from bavos_lab.training.blocks import frozen_copy
from bavos_lab.training.data import CachedClip

from .cached import Data
from .common import HAS_SEEN, STAND_IN, Row, groups, markdown, mean, parser_of, write_rows
from .groupings import scores
from .learning import RECIPES, OnKeys, train
from .objects import samples, truth

SCENES = ("crossing", "marbles")  # of the rendered ones
TAUS = (0.7, 1.0, 1.5, 2.0)
FRAMES = 16
STEPS = 50  # of consensus


def measure(options: argparse.Namespace) -> Iterator[Row]:
    """Yield one row for every clip, source and τ."""
    name, weights = options.backbone, options.weights
    backbone = backbones.load(name, weights=weights)
    settings = Settings(backbone=name, weights=weights, frames=FRAMES, correlator="cross-frame")
    for title, sample in samples(options.davis).items():
        if sample.kind == "scenes" and title not in SCENES:
            continue
        own = analyse(sample.clip, settings, backbone=backbone)
        trained = adapt(own.tokens, own.grid)
        found = {
            "cross-frame": own,
            "key similarity": recluster(own, None),
            "adapted": recluster(own, trained.correlator),
            "adapted by consensus": recluster(own, by_consensus(own)),
        }
        true = truth(sample.masks, own)
        for source, analysis in found.items():
            for tau in TAUS:
                yield {
                    "backbone": name,
                    "has_seen": HAS_SEEN[name],
                    "clip": title,
                    "source": source,
                    "tau": tau,
                    **scores(analysis, true, tau),
                }


def by_consensus(analysis: Analysis) -> TrainedCorrelator:
    """Return a correlator that was trained on the keys of one clip by consensus."""
    keys = analysis.tokens.half()
    clip = CachedClip("clip", analysis.grid, torch.cat((keys, keys), -1))  # queries are not used
    recipe = RECIPES["keys, consensus"]
    recipe = replace(recipe, settings=replace(recipe.settings, gap=1, steps=STEPS))
    (trained,) = train(recipe, Data(1, [clip], [], {}, {}), 0, ())
    return frozen_copy(cast(OnKeys, trained.source).correlator)


def table(rows: list[Row]) -> str:
    """Return the means over the clips."""
    lines = [
        [*key, *(f"{mean(own, name):.3f}" for name in ("best", "matched")),
         f"{mean(own, 'groups'):.0f}"]
        for key, own in groups(rows, "backbone", "has_seen", "source", "tau")
    ]  # fmt: skip
    heads = ["backbone", "trained on", "source", "τ", "best", "matched", "groups"]
    return markdown(heads, lines, words=3)


def main() -> None:
    """Measure, write every figure, print the table."""
    parser = parser_of(str(__doc__), davis=True)
    parser.add_argument("--backbone", default="bundled-vits14", help=f"or {STAND_IN}")
    options = parser.parse_args()
    print(table(write_rows(options.out, measure(options))))


if __name__ == "__main__":
    main()
