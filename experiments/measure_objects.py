"""Figures about objects in docs/results.md: painted objects against the truth, default settings.

    python experiments/measure_objects.py --davis DAVIS_ROOT --out objects.csv [--weights vit_tiny]

foreground_j: intersection over union of everything painted with the truth, mean over frames and
sequences: saved masks, in pixels, of the 24 frames that are analysed by default (six sequences of
DAVIS 2016). one_to_one: painted objects matched with true ones over the whole video (Hungarian),
mean IoU over true objects, labels of patches, 16 frames spread evenly: the four examples, dogs-jump
and bmx-trees, and the rendered scenes in assets/scenes. `any` is the same if every cluster counts
as painted. The rules: a cut at a fixed τ, or at the largest gap of the tree's heights between 0.7
and 2. Truth of patches: that of their middle.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import statistics
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
from measure import HAS_SEEN, SEQUENCES
from PIL import Image
from scipy.optimize import linear_sum_assignment

from bavos_core import Analysis, Settings, analyse, backbones
from bavos_core.export import all_masks
from bavos_core.pipeline import Found, tell_apart
from bavos_core.segmentation import Segmentation
from bavos_core.tree import ClusterTree

ASSETS = Path(__file__).parent.parent / "assets"
SEVERAL = ("bmx-trees", "dogs-jump")  # sequences of DAVIS 2017
TAUS = (1.0,)
GAP = (0.7, 2.0)  # heights between which a gap is looked for
FRAMES = 16  # for one_to_one

Row = dict[str, Any]


def clips(davis: Path) -> dict[str, tuple[str, Path, Path]]:
    """Return set, clip and folder of true masks of every clip by its name."""
    found = {}
    for name in (*SEQUENCES, *SEVERAL):
        kind = "several" if name in SEVERAL else "davis-2016"
        places = (davis / side / "480p" / name for side in ("JPEGImages", "Annotations"))
        found[name] = (kind, *places)
    for folder, kind in (("examples", "examples"), ("scenes", "scenes")):
        for clip in sorted((ASSETS / folder).glob("*.mp4")):
            found[clip.stem] = (kind, clip, ASSETS / folder / "masks" / clip.stem)
    return found


def truth(folder: Path, analysis: Analysis) -> list[np.ndarray]:
    """Return the true ids (H, W) of every analysed frame."""
    files = sorted(folder.glob("*.png"))
    return [np.asarray(Image.open(files[i])) for i in analysis.analysed]


def foreground_j(analysis: Analysis, cut: Segmentation, true: list[np.ndarray]) -> float:
    """Return the mean IoU of all painted pixels with all true ones."""
    found = []
    for mask, ids in zip(all_masks(analysis, cut, None), true, strict=True):
        painted, thing = np.isin(mask.labels, cut.objects), ids > 0
        found.append((painted & thing).sum() / max((painted | thing).sum(), 1))
    return statistics.mean(map(float, found))


def one_to_one(cut: Segmentation, clusters: list[int], true: list[np.ndarray]) -> float:
    """Return the mean IoU of true objects and the clusters matched with them, in patches."""
    size = cut.labels.shape[:0:-1]  # PIL's order
    ids = np.stack([np.asarray(Image.fromarray(i).resize(size, Image.Resampling.NEAREST))
                    for i in true])  # fmt: skip
    things = [ids == number for number in np.unique(ids[ids > 0])]
    ious = np.array(
        [[((cut.labels == c) & thing).sum() / ((cut.labels == c) | thing).sum() for c in clusters]
         for thing in things]
    )  # fmt: skip
    return float(ious[linear_sum_assignment(-ious)].sum()) / len(things)


def largest_gap(tree: ClusterTree) -> float:
    """Return τ in the middle of the largest step of the heights, as a ratio, in a range."""
    low, high = tree.heights[:-1], tree.heights[1:]
    middle = np.sqrt(low * high)
    inside = (middle > GAP[0]) & (middle < GAP[1])
    return float(middle[inside][(high / low)[inside].argmax()]) if inside.any() else 1.0


def cut_at(undivided: Analysis, tau: float) -> Analysis:
    """Return an analysis with the instances of the clusters at τ."""
    settings = replace(undivided.settings, tau=tau)
    names = ("source", "correlator", "tree", "nearest", "distance", "levels")
    found = Found(*(getattr(undivided, name) for name in names))
    found = tell_apart(found, undivided.looks, undivided.saliency, settings)
    return replace(undivided, settings=settings, tree=found.tree, nearest=found.nearest)


def measure(options: argparse.Namespace) -> Iterator[Row]:
    """Yield one row for every backbone, clip and rule."""
    for name in options.backbones:
        weights = options.weights if name.startswith("vit_tiny") else None
        backbone = backbones.load(name, weights=weights)
        for title, (kind, clip, masks) in clips(options.davis).items():
            if kind not in options.sets:
                continue
            # At a huge τ everything is one cluster, which holds one instance: nothing is divided.
            settings = Settings(backbone=name, weights=weights, tau=1e6,
                frames=None if kind == "davis-2016" else FRAMES)  # fmt: skip
            undivided = analyse(clip, settings, backbone=backbone)
            true = truth(masks, undivided)
            for rule in (*TAUS, "gap"):
                tau = largest_gap(undivided.tree) if rule == "gap" else float(rule)
                analysis = cut_at(undivided, tau)
                cut = analysis.segment()
                yield {
                    "backbone": name,
                    "has_seen": HAS_SEEN[name],
                    "set": kind,
                    "clip": title,
                    "rule": rule,
                    "tau": round(tau, 3),
                    "clusters": cut.clusters,
                    "objects": len(cut.objects),
                    "foreground_j": round(foreground_j(analysis, cut, true), 4),
                    "one_to_one": round(one_to_one(cut, cut.objects, true), 4),
                    "any": round(one_to_one(cut, cut.present, true), 4),
                    "date": f"{datetime.date.today()}",
                }


def as_table(rows: list[Row]) -> str:
    """Return means over the clips of every set, in Markdown."""
    lines = ["| backbone | set | rule | foreground J | one to one | any | objects |",
             "|---|---|---|--:|--:|--:|--:|"]  # fmt: skip
    for key in dict.fromkeys((row["backbone"], row["set"], row["rule"]) for row in rows):
        own = [row for row in rows if (row["backbone"], row["set"], row["rule"]) == key]
        means = (statistics.mean(r[k] for r in own) for k in ("foreground_j", "one_to_one", "any"))
        cells = [*map(str, key), *(f"{mean:.3f}" for mean in means)]
        cells.append(f"{statistics.mean(row['objects'] for row in own):.1f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print each row, and write all of them as CSV."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--davis", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--weights", type=Path, help="of vit_tiny_patch16_224")
    parser.add_argument("--backbones", nargs="+", default=["bundled-vits14"], choices=HAS_SEEN)
    parser.add_argument(
        "--sets", nargs="+", default=["davis-2016", "several", "examples", "scenes"]
    )
    options = parser.parse_args()
    rows: list[Row] = []
    with options.out.open("w", newline="", encoding="utf-8") as file:
        for row in measure(options):
            if not rows:
                writer = csv.DictWriter(file, row, lineterminator="\n")
                writer.writeheader()
            writer.writerow(row)
            file.flush()
            rows.append(row)
            print(*row.values(), flush=True)
    print(as_table(rows))


if __name__ == "__main__":
    main()
