"""Refined masks against the truth, in pixels, and what they cost.

    python -m experiments.masks --davis DIR --analyses DIR --out masks.csv

Eight DAVIS sequences, bundled-vits14 (tuned on saliency labels), Fast and default settings, three
cuts. foreground: everything painted against everything true. best_cluster: the cluster of a video
with the highest mean J. J is intersection over union, F the measure of borders of DAVIS, both means
over the analysed frames. cpu_ms: processor time of one frame's labels, on one thread. Analyses are
kept in a folder, so that another version of the masks can be measured on the same ones.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from bavos_core import Analysis, Settings, analyse
from bavos_core.export import all_masks
from bavos_lab.evaluation.metrics import boundary_f, count_pixels

from .common import SEVERAL, SINGLE, Row, groups, markdown, mean, parser_of, write_rows

PRESETS = {"fast": (12, 648), "default": (24, 1152)}  # frames and patches
TAUS = (0.7, 1.0, 1.5)
SCORES = ("foreground_j", "foreground_f", "best_cluster_j", "best_cluster_f")


def analysis_of(options: argparse.Namespace, preset: str, sequence: str) -> Analysis:
    """Return the analysis of a sequence, kept or made."""
    path = options.analyses / f"{preset}_{sequence}.npz"
    if not path.exists():
        frames, patches = PRESETS[preset]
        settings = Settings(backbone="bundled-vits14", frames=frames, patches=patches)
        analyse(options.davis / "JPEGImages" / "480p" / sequence, settings).save(path)
    return Analysis.load(path)


def truth(davis: Path, sequence: str, analysis: Analysis) -> list[np.ndarray]:
    """Return the foreground (H, W) bool of every analysed frame, at the size of the frames."""
    size = analysis.frames.shape[2:0:-1]  # PIL's order
    files = sorted((davis / "Annotations" / "480p" / sequence).glob("*.png"))
    pictures = (Image.open(files[i]) for i in analysis.analysed)
    return [np.asarray(p.resize(size, Image.Resampling.NEAREST)) > 0 for p in pictures]


def scores(found: list[np.ndarray], true: list[np.ndarray]) -> tuple[float, float]:
    """Return the mean J and F of masks (H, W) bool."""
    pairs = [(mask.astype(np.int64), thing[None]) for mask, thing in zip(found, true, strict=True)]
    j = [count_pixels(thing, mask, 1).jaccard.item() for mask, thing in pairs]
    f = [boundary_f(thing, mask, 1).item() for mask, thing in pairs]
    return float(np.mean(j)), float(np.mean(f))


def measure(options: argparse.Namespace) -> Iterator[Row]:
    """Yield one row for every preset, sequence and τ."""
    torch.set_num_threads(1)
    for preset in PRESETS:
        for sequence in (*SINGLE, *SEVERAL):
            analysis = analysis_of(options, preset, sequence)
            true = truth(options.davis, sequence, analysis)
            for tau in TAUS:
                about = {"masks": options.name, "preset": preset, "sequence": sequence, "tau": tau}
                yield {**about, **row_of(analysis, tau, true)}


def row_of(analysis: Analysis, tau: float, true: list[np.ndarray]) -> Row:
    """Return the figures of one cut."""
    cut = analysis.segment(tau)
    start = time.process_time()
    labels = [mask.labels for mask in all_masks(analysis, cut, None)]
    seconds = time.process_time() - start
    things = [thing[None] for thing in true]
    j = [count_pixels(t, one + 1, cut.clusters).jaccard[0]
         for t, one in zip(things, labels, strict=True)]  # fmt: skip
    best = int(np.mean(j, axis=0).argmax())
    foreground = scores([np.isin(one, cut.objects) for one in labels], true)
    figures = (*foreground, *scores([one == best for one in labels], true))
    return {
        "clusters": cut.clusters,
        **{name: round(value, 4) for name, value in zip(SCORES, figures, strict=True)},
        "cpu_ms": round(1000 * seconds / len(labels), 1),
    }


def table(rows: list[Row]) -> str:
    """Return the means over the sequences."""
    lines = [
        [*key, *(f"{mean(own, name):.3f}" for name in SCORES), f"{mean(own, 'cpu_ms'):.0f}"]
        for key, own in groups(rows, "masks", "preset", "tau")
    ]
    return markdown(["masks", "preset", "τ", *SCORES, "CPU ms"], lines, words=3)


def main() -> None:
    """Measure, write every figure, print the means."""
    parser = parser_of(__doc__, davis=True)
    parser.add_argument("--analyses", type=Path, required=True, metavar="DIR")
    parser.add_argument("--name", default="leaves", help="of the masks, for the table")
    options = parser.parse_args()
    options.analyses.mkdir(parents=True, exist_ok=True)
    print(table(write_rows(options.out, measure(options))))


if __name__ == "__main__":
    main()
