"""The evaluator against published figures, and how fast it is.

    python experiments/check_evaluator.py [--davis DAVIS_ROOT --masks MATNET_DIR]

MATNET_DIR holds camel and car-shadow of MATNet's published masks for DAVIS-2016. Their official J
and F of every frame, rounded to three digits, are in tests/golden/matnet_2016.json.
The speed is that of a made-up sequence: 90 frames of 480×854, one object, ten proposals, on one
core, masks in memory.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np

from bavos_lab.evaluation import DATASETS, Selection
from bavos_lab.evaluation.predictions import read_predictions
from bavos_lab.evaluation.protocols import best_cluster, measure
from bavos_lab.evaluation.sequences import Annotation, Truth

GOLDEN = Path(__file__).parent.parent / "tests" / "golden" / "matnet_2016.json"


def differences(davis: Path, masks: Path) -> dict[str, dict[str, float]]:
    """Largest difference of any frame, J and F, by sequence."""
    official = json.loads(GOLDEN.read_text())
    found = {}
    for sequence in DATASETS["davis-2016"].sequences(davis, Selection(sequences=tuple(official))):
        truth = sequence.truth()
        score = best_cluster(
            measure(truth, read_predictions(masks / sequence.name, sequence, truth))
        )
        values = {"J": score.jaccard[0], "F": score.boundary[0]}
        found[sequence.name] = {
            name: float(abs(row - official[sequence.name][name]).max())
            for name, row in values.items()
        }
    return found


def seconds(frames: int = 90, proposals: int = 10) -> float:
    """Time of `measure`: J, F and the foreground's parts of every pair in every frame."""
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
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--davis", type=Path, help="JPEGImages/480p and Annotations/480p")
    parser.add_argument("--masks", type=Path, help="MATNet's masks, a folder per sequence")
    options = parser.parse_args()
    found: dict[str, object] = {"seconds, 90 frames, 10 proposals": seconds()}
    if options.davis and options.masks:
        found["largest difference to the official figures"] = differences(
            options.davis, options.masks
        )
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
