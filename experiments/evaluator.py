"""Our evaluator beside published figures, and its speed.

    python -m experiments.evaluator --out evaluator.csv [--davis DIR --masks MATNET_DIR]

MATNET_DIR holds camel and car-shadow of MATNet's published masks for DAVIS-2016. Their official J
and F of every frame, rounded to three digits, are in tests/golden/matnet_2016.json. The speed is
that of a made-up sequence on one core, masks in memory: 90 frames of 480×854, one object, ten
proposals.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np

from bavos_lab.evaluation import DATASETS, Selection
from bavos_lab.evaluation.predictions import read_predictions
from bavos_lab.evaluation.protocols import best_cluster, measure
from bavos_lab.evaluation.sequences import Annotation, Truth

from .common import ROOT, Row, markdown, parser_of, write_rows

GOLDEN = ROOT / "tests" / "golden" / "matnet_2016.json"


def differences(davis: Path, masks: Path) -> Iterator[Row]:
    """Yield the largest difference of any frame to the official J and F of every sequence."""
    official = json.loads(GOLDEN.read_text())
    for sequence in DATASETS["davis-2016"].sequences(davis, Selection(sequences=tuple(official))):
        truth = sequence.truth()
        score = best_cluster(
            measure(truth, read_predictions(masks / sequence.name, sequence, truth))
        )
        for name, values in (("J", score.jaccard[0]), ("F", score.boundary[0])):
            largest = abs(values - official[sequence.name][name]).max()
            yield {
                "what": f"{sequence.name}, largest difference of {name}", "value": f"{largest:.6f}",
            }  # fmt: skip


def seconds(frames: int = 90, proposals: int = 10) -> float:
    """Return the processor time of `measure` on a made-up sequence, in seconds."""
    rows, columns = np.mgrid[:480, :854]
    annotations, labels = [], []
    for t in range(frames):
        inside = np.hypot(rows - 240, (columns - 200 - 5 * t) / 1.5) < 90
        annotations.append(Annotation(inside.shape, {1: inside}))
        # Wavy stripes, so that boundaries are long and in every part of the picture.
        place = (columns + 40 * np.sin((rows + 3 * t) / 25)) / 854 * proposals
        labels.append(place.clip(0, proposals - 1).astype(np.uint8) + 1)
    truth = Truth(tuple(range(frames)), (1,), tuple(annotations))
    start = time.process_time()  # of the processor, so that a busy machine does not count
    measure(truth, labels)
    return time.process_time() - start


def main() -> None:
    """Measure, write every figure, print them."""
    parser = parser_of(__doc__)
    parser.add_argument("--davis", type=Path, help="JPEGImages/480p and Annotations/480p")
    parser.add_argument("--masks", type=Path, help="MATNet's masks, a folder per sequence")
    options = parser.parse_args()
    speed: Row = {"what": "seconds, 90 frames, 10 proposals", "value": round(seconds(), 2)}
    both = options.davis and options.masks
    rows = chain([speed], differences(options.davis, options.masks) if both else ())
    found = write_rows(options.out, rows)
    print(markdown(["what", "value"], ([row["what"], row["value"]] for row in found)))


if __name__ == "__main__":
    main()
