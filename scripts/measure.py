"""Figures of RESULTS.md: best-cluster J on the development split, and seconds per stage.

    python scripts/measure.py --davis DAVIS_ROOT [--weights vit_tiny.safetensors] [--clip CLIP]

Best-cluster J: every 5th frame of a sequence is analysed; the one cluster with the highest
intersection over union with the ground truth, averaged over those frames, counts. Masks are patch
labels blown up by nearest neighbour.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
from PIL import Image

from bavos_core import Settings, analyse, drawing, open_clip
from bavos_core.export import write_overlay
from bavos_core.pretraining.quality import best_cluster_j

SEQUENCES = ("camel", "car-shadow", "dance-twirl", "drift-straight", "horsejump-high", "libby")
STEP = 5
EMBEDDED = ("descriptors", "builtin")


def sequence(root: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Every 5th frame (T, H, W, 3) uint8 of a DAVIS-2016 sequence, and its truth (T, H, W) bool."""
    clip = open_clip(root / "JPEGImages" / "480p" / name)
    chosen = range(0, len(clip.times), STEP)
    folder = root / "Annotations" / "480p" / name
    truth = [np.asarray(Image.open(folder / f"{clip.frame_names[i]}.png")) > 0 for i in chosen]
    return np.stack(list(clip.read(list(chosen)))), np.stack(truth)


def measure_quality(root: Path, settings: Settings) -> dict[str, float]:
    """Best-cluster J of every sequence."""
    scores = {}
    for name in SEQUENCES:
        frames, truth = sequence(root, name)
        scores[name] = best_cluster_j(analyse(frames, settings).segment().labels, truth)
    return scores


def measure_speed(path: Path, backbone: str) -> dict[str, float]:
    """Seconds per stage from the clip to its overlay on the page, 24 frames of 192×384."""
    settings = Settings(backbone=backbone, frames=24, size=(192, 384))
    analysis = analyse(path, settings)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        small = open_clip(path, max_side=480)
        write_overlay(Path(folder) / "overlay.mp4", analysis, analysis.segment(), small)
    seconds = {**analysis.timings, "masks and encode": time.perf_counter() - start}
    return {**seconds, "total": sum(seconds.values())}


def measure_answers(path: Path) -> dict[str, float]:
    """Median milliseconds of what the page asks of a finished analysis, 24 frames (builtin)."""
    analysis = analyse(path, Settings(backbone="builtin", frames=24, size=(192, 384)))
    height, width = analysis.size
    leaves = analysis.tree.leaves

    def attend(i: int) -> np.ndarray:
        return analysis.attend(i % len(analysis.frames), height / 2, width * i / 21)

    def click(i: int) -> None:
        row, shown = attend(i), i % len(analysis.frames)
        drawing.heat_overlay(analysis.frames[shown], row[shown] / drawing.heat_scale(row))

    return {
        "leaves": leaves,
        "attend": median_ms(attend),
        "click to heatmap of the shown frame, as an array": median_ms(click),
        "cut of the tree": median_ms(lambda i: analysis.tree.cut(0.05 * (i + 1))),
        "segment: cut, labels, membership": median_ms(lambda i: analysis.segment(0.05 * (i + 1))),
    }


def median_ms(answer: Callable[[int], object]) -> float:
    """Median over 21 different calls, in milliseconds."""
    seconds = []
    for i in range(21):
        start = time.perf_counter()
        answer(i)
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds)


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--davis", type=Path, help="folder with JPEGImages/480p and Annotations")
    parser.add_argument("--weights", type=Path, help="vit_tiny_patch16_224, as a stand-in for DINO")
    parser.add_argument("--clip", type=Path, action="append", default=[], help="clips to time")
    options = parser.parse_args()
    found: dict[str, object] = {}
    if options.davis:
        for name in EMBEDDED:
            settings = Settings(backbone=name, size=(192, 384))
            found[f"J {name}"] = measure_quality(options.davis, settings)
    if options.davis and options.weights:
        stand_in = Settings(
            backbone="vit_tiny_patch16_224", weights=options.weights, size=(384, 768)
        )
        found["J stand-in"] = measure_quality(options.davis, stand_in)
    for clip in options.clip:
        for name in EMBEDDED:
            found[f"seconds {clip.name}, {name}"] = measure_speed(clip, name)
        found[f"answers in ms {clip.name}"] = measure_answers(clip)
    for name, values in found.items():
        if name.startswith("J "):
            assert isinstance(values, dict)
            values["mean"] = statistics.mean(values.values())
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
