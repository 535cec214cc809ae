"""Does training on a single clip help on that clip?

    python -m experiments.adapting --davis DIR --out adapting.csv

Fourteen clips: eight DAVIS sequences, the four examples, two scenes. Each is analysed once and
clustered by the attention of every source, the last of which was trained on the clip alone
(`bavos_lab.training.adapt`). best and matched: as in experiments.groupings.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from bavos_core import Settings, analyse, backbones, recluster
from bavos_lab.training import adapt

from .common import HAS_SEEN, STAND_IN, Row, groups, markdown, mean, parser_of, write_rows
from .groupings import scores
from .objects import samples, truth

SCENES = ("crossing", "marbles")  # of the rendered ones
TAUS = (0.7, 1.0, 1.5, 2.0)
FRAMES = 16


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
                    "steps": trained.steps if source == "adapted" else 0,
                    **scores(analysis, true, tau),
                }


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
