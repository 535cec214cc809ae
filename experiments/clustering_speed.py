"""Seconds for leaves and tree, in this checkout and in others, in turn.

    python -m experiments.clustering_speed --davis DIR --before CHECKOUT … --out speed.csv

24 evenly spaced frames of two DAVIS sequences, 25×46 patches, the bundled ViT, bfloat16. Queries
and keys are computed once, by this checkout. Then each round starts a process in every checkout,
which clusters them once to warm up and twice for the figures.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from bavos_core import Settings, backbones, open_clip
from bavos_core.settings import Compute, grid_size
from bavos_core.sources import attention_rows

from .common import ROOT, Row, groups, markdown, parser_of, write_rows

BACKBONE = "bundled-vits14"
SEQUENCES = ("camel", "horsejump-high")
SOURCES = ("cross-frame", "key-similarity")
FRAMES = 24
ROUNDS = 2
PROGRAM = """
import sys, time
import torch
from bavos_core import Settings, hierarchy
from bavos_core.attention import AttentionRows

torch.set_grad_enabled(False)
build = getattr(hierarchy, "build_hierarchy", None) or hierarchy.grow  # its name until 2026-11-26
tensors = torch.load(sys.argv[1])
for _ in range(3):
    rows = AttentionRows(*tensors)  # anew, since some checkouts remember what they did with it
    start = time.perf_counter()
    build(rows, Settings(), dtype=torch.bfloat16)
    print(time.perf_counter() - start)
"""


def write_attention(davis: Path, folder: Path) -> list[tuple[str, str, int, Path]]:
    """Write queries, keys and scale of every clip and source: (clip, source, heads, file)."""
    backbone, written = backbones.load(BACKBONE), []
    for name in SEQUENCES:
        _, frames = open_clip(davis / "JPEGImages" / "480p" / name).sample(FRAMES)
        settings = Settings(backbone=BACKBONE)
        grid = grid_size(frames.shape[1:3], backbone.patch, settings)
        images = backbones.to_images(frames, grid, backbone.patch)
        features = backbone.encode(images, Compute(torch.device("cpu"), "bf16"))
        for source in SOURCES:
            rows = attention_rows(features, source, None, settings)
            file = folder / f"{name} {source}.pt"
            torch.save((rows.queries, rows.keys, rows.scale), file)
            written.append((name, source, rows.heads, file))
    return written


def measure(options: argparse.Namespace) -> Iterator[Row]:
    """Yield one row for every round, checkout, clip, source and run."""
    checkouts = {commit_of(folder): folder for folder in (*options.before, ROOT)}
    with tempfile.TemporaryDirectory() as folder:
        written = write_attention(options.davis, Path(folder))
        for turn, (commit, checkout), (clip, source, heads, file) in itertools.product(
            range(ROUNDS), checkouts.items(), written
        ):
            about = {"backbone": BACKBONE, "clip": clip, "source": source, "heads": heads,
                     "round": turn, "commit": commit}  # fmt: skip
            yield from ({**about, "seconds": s} for s in seconds_in(checkout, file))


def commit_of(checkout: Path) -> str:
    """Return the short hash of a checkout's commit."""
    asked = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    return subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()


def seconds_in(checkout: Path, file: Path) -> list[float]:
    """Return the seconds of the runs in a checkout after the first."""
    asked = [sys.executable, "-c", PROGRAM, str(file)]
    said = subprocess.run(asked, cwd=checkout, check=True, capture_output=True, text=True).stdout
    return [round(float(line), 3) for line in said.split()][1:]


def table(rows: list[Row]) -> str:
    """Return the median seconds of every source and commit."""
    lines = [
        [*key, f"{statistics.median(row['seconds'] for row in own):.2f}"]
        for key, own in groups(rows, "source", "heads", "commit")
    ]
    return markdown(["attention", "heads", "commit", "seconds"], lines, words=3)


def main() -> None:
    """Measure, write every figure, print the medians."""
    parser = parser_of(__doc__, davis=True)
    parser.add_argument("--before", type=Path, nargs="+", required=True, metavar="CHECKOUT")
    options = parser.parse_args()
    torch.set_grad_enabled(False)
    print(table(write_rows(options.out, measure(options))))


if __name__ == "__main__":
    main()
