"""Figures about the clustering in docs/benchmarks.md: agreement, linkage, temperature; speed.

    python experiments/measure_clustering.py tables --davis DAVIS_ROOT --weights vit_tiny.st
    python experiments/measure_clustering.py speed --before CHECKOUT --out speed.csv ANALYSIS.npz …

Development split, every 5th frame, training-free keys, key ratio 5, masks of patches by nearest
neighbour; the best cluster of a video counts (`experiments/measure.py`). Speed is that of
leaves and tree of saved analyses, this checkout against another one, round by round in turn.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import timm
import torch
from measure import SEQUENCES, best_cluster_j, sequence
from scipy.cluster.hierarchy import cut_tree, linkage
from scipy.spatial.distance import squareform

from bavos_core import Settings, backbones
from bavos_core.attention import AttentionRows, centred_unit, key_frames
from bavos_core.backbones.vit import ViTBackbone
from bavos_core.clustering import assign, find_clusters
from bavos_core.distances import LogRows, Windows, self_distances
from bavos_core.hierarchy import Hierarchy, build_hierarchy
from bavos_core.settings import Compute, grid_size
from bavos_core.sources import attention_rows, project_keys
from bavos_lab.benchmark.machine import machine
from bavos_lab.partitions import adjusted_rand_index

TAUS = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0)
LINKAGES = ("average", "complete", "weighted", "single")
FIXED_SCALE = 5.0  # a temperature that fits one backbone, for comparison
HERE = Path(__file__).resolve().parent.parent


class Clip:
    """Features of a sequence and its truth."""

    def __init__(self, backbone: backbones.Backbone, settings: Settings, root: Path, name: str):
        self.frames, self.truth = sequence(root, name)
        self.settings = settings
        self.grid = grid_size(self.frames.shape[1:3], backbone.patch, settings)
        images = backbones.to_images(self.frames, self.grid, backbone.patch)
        self.features = backbone.encode(images, Compute(torch.device("cpu"), "fp32"))

    def attention(self, scale: float | None = None) -> AttentionRows:
        """Training-free attention, at the clip's own temperature or a fixed one."""
        if scale is None:
            return attention_rows(self.features, "key-similarity", None, self.settings)
        unit = centred_unit(self.features.tokens)
        keys = unit[key_frames(len(unit), self.settings.key_every)]
        return AttentionRows(unit, keys, scale)

    def score(self, labels: np.ndarray) -> float:
        """Best-cluster J of labels (T·N,)."""
        return best_cluster_j(labels.reshape(-1, *self.grid), self.truth)


def by_paper(clip: Clip, dtype: torch.dtype) -> Callable[[float], np.ndarray]:
    """Labels by the paper's process, run anew at every τ."""

    def labels(tau: float) -> np.ndarray:
        windows = Windows(clip.attention(), dtype)
        return assign(windows, find_clusters(windows, tau).centroids).labels.flatten().numpy()

    return labels


def by_tree(growth: Hierarchy) -> Callable[[float], np.ndarray]:
    """Labels by cutting one tree."""
    leaf = growth.assignment.labels.flatten().numpy()
    return lambda tau: growth.tree.cut(tau)[leaf]


def by_linkage(growth: Hierarchy, method: str) -> Callable[[float], np.ndarray]:
    """Labels by another linkage of the same leaves, each leaf counting once."""
    leaf = growth.assignment.labels.flatten().numpy()
    distances = self_distances(LogRows.of(growth.assignment.mean_rows)).double().numpy()
    distances = np.maximum((distances + distances.T) / 2, 0)
    np.fill_diagonal(distances, 0)
    merges = linkage(squareform(distances, checks=False), method)
    return lambda tau: cut_tree(merges, height=tau).ravel()[leaf]


def ways(clip: Clip) -> Iterator[tuple[str, Callable[[float], np.ndarray]]]:
    """Every way to labels that is compared; the first two are exact."""
    exact = build_hierarchy(clip.attention(), Settings(), dtype=torch.float32)
    yield "paper, exact", by_paper(clip, torch.float32)
    yield "tree, exact", by_tree(exact)
    yield "paper, fast", by_paper(clip, torch.bfloat16)
    yield "tree, fast", by_tree(build_hierarchy(clip.attention(), Settings(), dtype=torch.bfloat16))
    for method in LINKAGES:
        yield f"unweighted {method}, exact", by_linkage(exact, method)


def compare(name: str, clips: list[Clip]) -> None:
    """Print J and agreement of every way at every τ, means over clips."""
    scores: dict[str, list[list[float]]] = {}
    alike: dict[str, list[list[float]]] = {}
    for clip in clips:
        found = {way: [label(tau) for tau in TAUS] for way, label in ways(clip)}
        for way, labels in found.items():
            scores.setdefault(way, []).append([clip.score(at_tau) for at_tau in labels])
            reference = found[f"{way.split(',')[0]}, exact"]
            pairs = zip(labels, reference, strict=True)
            alike.setdefault(way, []).append([adjusted_rand_index(*pair) for pair in pairs])
    print(f"\n{name}: mean best-cluster J (ARI with the same way in float32)\n")
    print("| way | " + " | ".join(f"τ {tau}" for tau in TAUS) + " |")
    print("|---|" + "--:|" * len(TAUS))
    for way, rows in scores.items():
        means, agreement = np.mean(rows, axis=0), np.mean(alike[way], axis=0)
        cells = [
            f"{j:.3f}" + ("" if way.endswith("exact") else f" ({a:.3f})")
            for j, a in zip(means, agreement, strict=True)
        ]
        print(f"| {way} | " + " | ".join(cells) + " |", flush=True)


def temperature(models: dict[str, tuple[backbones.Backbone, Settings]], root: Path) -> None:
    """Print cluster counts at τ = 1 with a fixed and with the clip's own temperature."""
    print(f"\nclusters of the tree at τ = 1: fixed scale {FIXED_SCALE:g} → fixed perplexity\n")
    print("| backbone | " + " | ".join(SEQUENCES[:3]) + " | scales chosen |")
    print("|---|" + "--:|" * 3 + "---|")
    spread: dict[str, list[int]] = {"fixed": [], "own": []}
    for name, (backbone, settings) in models.items():
        cells, scales = [], []
        for sequence_name in SEQUENCES[:3]:
            clip = Clip(backbone, settings, root, sequence_name)
            counts = []
            for kind, scale in (("fixed", FIXED_SCALE), ("own", None)):
                tree = build_hierarchy(clip.attention(scale), Settings(), dtype=torch.float32).tree
                counts.append(tree.clusters_at(1.0))
                spread[kind].append(counts[-1])
            cells.append(f"{counts[0]} → {counts[1]}")
            scales.append(f"{project_keys(clip.features.tokens, settings).scale:.1f}")
        print(f"| {name} | " + " | ".join(cells) + f" | {', '.join(scales)} |", flush=True)
    for kind, counts in spread.items():
        middle = statistics.median(counts)
        print(f"{kind}: from {min(counts)} to {max(counts)}, median {middle:g}")


def random_vit(name: str) -> ViTBackbone:
    """A ViT of timm with random weights; its last block's keys."""
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False, num_classes=0, dynamic_img_size=True).eval()
    return ViTBackbone(model.requires_grad_(False), len(model.blocks) - 1, (0.5,) * 3, (0.25,) * 3)


WORKER = """
import json, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import numpy as np
import torch
from bavos_core.sources import attention_rows
from bavos_core.backbones import Features
from bavos_core.hierarchy import build_hierarchy
from bavos_core.settings import Settings
torch.set_grad_enabled(False)
for line in sys.stdin:
    path, source, dtype = json.loads(line)
    with np.load(path) as file:  # of whatever version of the format
        about = json.loads(file["meta"].tobytes())
        queries, keys = (torch.from_numpy(file[side]).float() for side in ("queries", "keys"))
    features = Features(queries, keys, tuple(about["grid"]), about["framewise_scale"])
    rows = attention_rows(features, source, None, Settings())
    start = time.perf_counter()
    build_hierarchy(rows, Settings(), dtype=getattr(torch, dtype))
    print(json.dumps([time.perf_counter() - start, rows.heads]), flush=True)
"""


class Worker:
    """A process that times one round at a time in some checkout of the project."""

    def __init__(self, checkout: Path):
        command = [sys.executable, "-c", WORKER, str(checkout.resolve())]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen(command, text=True, cwd=checkout, **pipes)

    def time(self, *what: str) -> tuple[float, int]:
        """Seconds of leaves and tree for (clip, source, dtype), and the number of heads."""
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()
        seconds, heads = json.loads(self.process.stdout.readline())
        return seconds, heads


def speed(options: argparse.Namespace) -> None:
    """Write the seconds of every round; print medians. The first round of all is not counted."""
    workers = {"before": Worker(options.before), "after": Worker(HERE)}
    about, date = machine("cpu")["device"], datetime.date.today().isoformat()
    found: dict[tuple[str, str, str], list[float]] = {}
    with options.out.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        columns = "clip,source,heads,dtype,round,commit,seconds,machine,date"
        writer.writerow(columns.split(","))
        for clip in options.clips:
            for turn in range(options.rounds + 1):
                for dtype in options.dtypes:
                    for source in ("cross-frame", "keys"):
                        for commit, worker in workers.items():
                            seconds, heads = worker.time(str(clip.resolve()), source, dtype)
                            if not turn:
                                continue
                            row = (clip.stem, source, heads, dtype, turn, commit)
                            writer.writerow((*row, f"{seconds:.3f}", about, date))
                            file.flush()
                            found.setdefault((dtype, source, commit), []).append(seconds)
    for worker in workers.values():
        worker.process.stdin.close()
        worker.process.wait()
    for (dtype, source, commit), seconds in found.items():
        print(f"{dtype:8} {source:11} {commit:6} {statistics.median(seconds):6.2f} s")


def main() -> None:
    """Print all tables, or measure speed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    tables = commands.add_parser("tables")
    tables.add_argument("--davis", type=Path, required=True)
    tables.add_argument("--weights", type=Path, required=True, help="vit_tiny_patch16_224")
    timed = commands.add_parser("speed")
    timed.add_argument("clips", type=Path, nargs="+", help="saved analyses (.npz)")
    timed.add_argument("--before", type=Path, required=True, help="another checkout")
    timed.add_argument("--out", type=Path, required=True, help="CSV")
    timed.add_argument("--rounds", type=int, default=3)
    timed.add_argument("--dtypes", nargs="+", default=["bfloat16", "float32"])
    options = parser.parse_args()
    if options.command == "speed":
        speed(options)
    else:
        print_tables(options)


def print_tables(options: argparse.Namespace) -> None:
    """Agreement, linkage and temperature."""
    small, large = Settings(size=(192, 384)), Settings(size=(384, 768))
    cpu = torch.device("cpu")
    descriptors = backbones.load("descriptors", weights=None, layer=None, device=cpu)
    stand_in = backbones.load(
        "vit_tiny_patch16_224", weights=options.weights, layer=None, device=cpu
    )
    for name, backbone, settings in (
        ("stand-in ViT-Ti/16, 384×768", stand_in, large),
        ("descriptors, 192×384", descriptors, small),
    ):
        compare(name, [Clip(backbone, settings, options.davis, s) for s in SEQUENCES])
    models: dict[str, tuple[backbones.Backbone, Settings]] = {
        "descriptors": (descriptors, small),
        "stand-in ViT-Ti/16": (stand_in, large),
        "random ViT-S/16": (random_vit("vit_small_patch16_224"), large),
        "random ViT-B/16": (random_vit("vit_base_patch16_224"), large),
        "random ViT-S/8": (random_vit("vit_small_patch8_224"), small),
    }
    temperature(models, options.davis)


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
