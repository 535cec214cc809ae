"""Figures of docs/results.md and docs/benchmarks.md: best-cluster J, features, seconds per stage.

    python experiments/measure.py quality --davis DAVIS_ROOT --out j.csv [--weights vit_tiny]
    python experiments/measure.py features --clip CLIP --out features.csv
    python experiments/measure.py stages --clip CLIP --out stages.csv

quality: six DAVIS-2016 sequences; every 5th frame is analysed, from frame 0, 1, 2, 3 and 4, since
one choice of frames alone moves the mean by 0.03. J is that of the one cluster of a video with the
highest mean intersection over union with the ground truth, patch labels blown up by nearest
neighbour: not an official protocol.
features: our features stage and timm's plain float32 forward pass in turn, on the same frames.
stages: seconds from a clip to its overlay, and milliseconds of what the page asks afterwards.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import torch
from PIL import Image

from bavos_core import Settings, analyse, backbones, open_clip, render
from bavos_core.backbones.timm_vit import create
from bavos_core.export import write_overlay
from bavos_core.settings import Compute
from bavos_lab.benchmark.machine import machine
from bavos_lab.evaluation.metrics import best_cluster_j

SEQUENCES = ("camel", "car-shadow", "dance-twirl", "drift-straight", "horsejump-high", "libby")
STEP = 5
TAUS = (0.5, 0.7, 1.0, 1.5, 2.0, 3.0)
EMBEDDED = ("bundled-vits14", "descriptors")
UNQUANTISED = "bundled-vits14 before int8 (saliency labels)"
HAS_SEEN = {  # what a backbone learned from
    "bundled-vits14": "saliency labels",
    "vit_tiny_patch16_224": "ImageNet labels",
    "descriptors": "nothing",
    UNQUANTISED: "saliency labels",
}
GRID = (24, 48)  # patches, where all backbones are to have the same
ROUNDS = 5  # pairs of our features stage and timm's forward pass

Row = dict[str, Any]


def sequence(root: Path, name: str, start: int) -> tuple[np.ndarray, np.ndarray]:
    """Return every 5th frame (T, H, W, 3) uint8 of a sequence and its truth (T, H, W) bool."""
    clip = open_clip(root / "JPEGImages" / "480p" / name)
    chosen = list(range(start, len(clip.times), STEP))
    folder = root / "Annotations" / "480p" / name
    truth = [np.asarray(Image.open(folder / f"{clip.frame_names[i]}.png")) > 0 for i in chosen]
    return np.stack(list(clip.read(chosen))), np.stack(truth)


def measure_quality(options: argparse.Namespace) -> Iterator[Row]:
    """Yield one row for every backbone, set of frames, sequence and τ."""
    given: list[tuple[str, dict[str, Any]]] = [(name, {"backbone": name}) for name in EMBEDDED]
    if options.weights:
        name = "vit_tiny_patch16_224"
        given.append((name, {"backbone": name, "weights": options.weights}))
    if options.unquantised:  # the bundled network before its weights became int8
        same = {"backbone": "dinov2-vits14", "layer": 10, "correlator": "cross-frame"}
        given.append((UNQUANTISED, {**same, "weights": options.unquantised}))
    for name, chosen in given:
        if options.backbones and name not in options.backbones:
            continue
        settings = Settings(**chosen)
        backbone = backbones.load(settings.backbone, weights=settings.weights, layer=settings.layer)
        if options.grid:
            size = (GRID[0] * backbone.patch, GRID[1] * backbone.patch)
            settings = replace(settings, size=size)
        for start in options.starts:
            for title in SEQUENCES:
                frames, truth = sequence(options.davis, title, start)
                analysis = analyse(frames, settings, backbone=backbone)
                for tau in TAUS:
                    cut = analysis.segment(tau)
                    yield {
                        "backbone": name,
                        "has_seen": HAS_SEEN[name],
                        "source": analysis.source,
                        "grid": "24x48" if options.grid else "default",
                        "precision": Compute.choose(settings).precision,
                        "first_frame": start,
                        "sequence": title,
                        "tau": tau,
                        "clusters": cut.clusters,
                        "best_cluster_j": round(best_cluster_j(cut.labels, truth), 4),
                    }


def as_table(rows: list[Row]) -> str:
    """Return means over sequences and sets of frames, in Markdown."""
    heads = ["backbone", "has seen", *(f"τ {tau:g}" for tau in TAUS), "τ 1, each set of frames",
             "clusters at τ 1"]  # fmt: skip
    lines = ["| " + " | ".join(heads) + " |", "|---|---|" + "--:|" * (len(heads) - 2)]
    for name in dict.fromkeys(row["backbone"] for row in rows):
        own = [row for row in rows if row["backbone"] == name]
        at_one = [row for row in own if row["tau"] == 1]
        sets = [
            statistics.mean(row["best_cluster_j"] for row in at_one if row["first_frame"] == start)
            for start in dict.fromkeys(row["first_frame"] for row in own)
        ]
        means = [
            statistics.mean(row["best_cluster_j"] for row in own if row["tau"] == tau)
            for tau in TAUS
        ]
        cells = [f"`{name}`", own[0]["has_seen"], *(f"{j:.3f}" for j in means)]
        cells += [" ".join(f"{j:.3f}" for j in sets)]
        cells += [f"{statistics.mean(row['clusters'] for row in at_one):.0f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def measure_features(options: argparse.Namespace) -> Iterator[Row]:
    """Yield seconds of both, 24 frames of 24×48 patches, in turn."""
    backbone = backbones.load("bundled-vits14")
    plain = create("vit_small_patch14_dinov2", dynamic_img_size=True)
    plain.eval().requires_grad_(False)
    clip = open_clip(options.clip[0])
    chosen = np.linspace(0, len(clip.times) - 1, 24).round().astype(int)
    frames = np.stack(list(clip.read(chosen.tolist())))
    compute = Compute.choose(Settings())
    height, width = GRID[0] * 14, GRID[1] * 14

    def ours() -> None:
        images = backbones.to_images(frames, GRID, 14)
        for part in images.split(backbones.FRAMES_AT_ONCE_ON_CPU):
            backbone.encode(part, compute)

    def timms() -> None:
        images = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
        images = torch.nn.functional.interpolate(images, (height, width), mode="bilinear")
        with torch.inference_mode():
            for part in images.split(backbones.FRAMES_AT_ONCE_ON_CPU):
                plain.forward_features(part)

    for i in range(ROUNDS):
        seconds = [timed(work) for work in ((ours, timms) if i % 2 else (timms, ours))]
        mine, theirs = seconds if i % 2 else seconds[::-1]
        yield {
            "round": i,
            "precision": compute.precision,
            "features_seconds": round(mine, 3),
            "timm_fp32_seconds": round(theirs, 3),
            "ratio": round(mine / theirs, 3),
        }


def measure_stages(options: argparse.Namespace) -> Iterator[Row]:
    """Yield seconds from each clip to its overlay on the page, and of answers afterwards."""
    for path in options.clip:
        for name in EMBEDDED:
            backbone = backbones.load(name)
            analysis = analyse(path, Settings(backbone=name), backbone=backbone)
            start = time.perf_counter()
            with tempfile.TemporaryDirectory() as folder:
                small = open_clip(path, max_side=480)
                write_overlay(Path(folder) / "overlay.mp4", analysis, analysis.segment(), small)
            seconds = {**analysis.timings, "masks and encode": time.perf_counter() - start}
            seconds["total"] = sum(seconds.values())
            answers = {what: median_ms(answer) for what, answer in questions(analysis).items()}
            yield {
                "clip": path.name,
                "backbone": name,
                **{f"{stage}, s": round(value, 2) for stage, value in seconds.items()},
                "leaves": analysis.tree.leaves,
                **{f"{what}, ms": round(value, 2) for what, value in answers.items()},
            }


def questions(analysis: Any) -> dict[str, Callable[[int], object]]:
    """Return what the page asks of a finished analysis, each for the i-th time."""
    height, width = analysis.size

    def attend(i: int) -> np.ndarray:
        return analysis.attend(i % len(analysis.frames), height / 2, width * i / 21)

    def click(i: int) -> None:
        row, shown = attend(i), i % len(analysis.frames)
        render.heat_overlay(analysis.frames[shown], row[shown] / render.heat_scale(row))

    return {
        "attend": attend,
        "click to heatmap of the shown frame": click,
        "cut of the tree": lambda i: analysis.tree.cut(0.05 * (i + 1)),
        "cut, labels and membership": lambda i: analysis.segment(0.05 * (i + 1)),
    }


def median_ms(answer: Callable[[int], object]) -> float:
    """Return the median over 21 different calls, in milliseconds."""
    return 1000 * statistics.median(timed(lambda i=i: answer(i)) for i in range(21))


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Measure, write every figure as CSV, print a summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("quality", "features", "stages"))
    parser.add_argument("--davis", type=Path, help="folder with JPEGImages/480p and Annotations")
    parser.add_argument("--weights", type=Path, help="vit_tiny_patch16_224, as a stand-in for DINO")
    parser.add_argument("--unquantised", type=Path, help="the bundled ViT's weights as floats")
    parser.add_argument("--backbones", nargs="+", help="only these")
    parser.add_argument("--starts", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--grid", action="store_true", help="24×48 patches for every backbone")
    parser.add_argument("--clip", type=Path, action="append", default=[], help="clip to time")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.csv")
    options = parser.parse_args()
    measure = {
        "quality": measure_quality, "features": measure_features, "stages": measure_stages,
    }[options.what]  # fmt: skip
    where = machine("cpu")
    made = {"date": datetime.date.today().isoformat(), "processor": where["device"],
            "units": " ".join(where["bfloat16 units"]), "threads": where["threads"]}  # fmt: skip
    rows = []
    with options.out.open("w", newline="", encoding="utf-8") as file:
        for row in measure(options):
            rows.append({**made, **row})
            if len(rows) == 1:
                writer = csv.DictWriter(file, rows[0])
                writer.writeheader()
            writer.writerow(rows[-1])
            file.flush()
    if options.what == "quality":
        print(as_table(rows))
    else:
        for row in rows:
            print(row)


if __name__ == "__main__":
    main()
