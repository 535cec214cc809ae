"""Objects that are painted, against the ground truth, with default settings.

    python -m experiments.objects --davis DIR --out objects.csv [--weights FILE --backbones …]

foreground_j: intersection over union of everything painted with the truth, mean over frames and
sequences: saved masks, in pixels, of the 24 frames that are analysed by default (six sequences of
DAVIS 2016). one_to_one: painted objects matched with true ones over the whole video (Hungarian),
mean IoU over true objects, labels of patches, 16 frames spread evenly (--frames): the four
examples, dogs-jump and bmx-trees, and the rendered scenes in assets/scenes. `any` is the same if
every cluster counts as painted. The rules: a cut at τ = 1, or at the largest gap of the tree's
heights between 0.7 and 2. A patch has the truth of its middle.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.optimize import linear_sum_assignment

from bavos_core import Analysis, Settings, analyse, backbones
from bavos_core.backbones import Backbone
from bavos_core.export import all_masks
from bavos_core.pipeline import Found, tell_apart
from bavos_core.segmentation import Segmentation
from bavos_core.tree import ClusterTree

from .common import (
    HAS_SEEN,
    ROOT,
    SEVERAL,
    SINGLE,
    STAND_IN,
    Row,
    groups,
    markdown,
    mean,
    parser_of,
    write_rows,
)  # fmt: skip

SETS = ("davis-2016", "several", "examples", "scenes")
GAP = (0.7, 2.0)  # heights between which a gap is looked for
FRAMES = 16  # for one_to_one


@dataclass(frozen=True)
class Sample:
    """A clip and its true masks."""

    kind: str  # of SETS
    clip: Path
    masks: Path  # folder of PNG files


def samples(davis: Path) -> dict[str, Sample]:
    """Return every clip by its name."""
    found = {}
    for name in (*SINGLE, *SEVERAL):
        kind = "several" if name in SEVERAL else "davis-2016"
        clip, masks = (davis / side / "480p" / name for side in ("JPEGImages", "Annotations"))
        found[name] = Sample(kind, clip, masks)
    for kind in ("examples", "scenes"):
        folder = ROOT / "assets" / kind
        for clip in sorted(folder.glob("*.mp4")):
            found[clip.stem] = Sample(kind, clip, folder / "masks" / clip.stem)
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


def in_patches(cut: Segmentation, true: list[np.ndarray]) -> np.ndarray:
    """Return the true ids at the middles of the patches (T, h, w)."""
    size = cut.labels.shape[:0:-1]  # PIL's order
    return np.stack([np.asarray(Image.fromarray(ids).resize(size, Image.Resampling.NEAREST))
                     for ids in true])  # fmt: skip


def one_to_one(cut: Segmentation, clusters: list[int], true: list[np.ndarray]) -> float:
    """Return the mean IoU of true objects and the clusters matched with them, in patches."""
    ids = in_patches(cut, true)
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
        weights = options.weights if name == STAND_IN else None
        backbone = backbones.load(name, weights=weights)
        for title, sample in samples(options.davis).items():
            if sample.kind in options.sets and title in (options.clips or [title]):
                about = {"backbone": name, "has_seen": HAS_SEEN[name], "set": sample.kind,
                         "clip": title}  # fmt: skip
                for frames in [None] if sample.kind == "davis-2016" else options.frames:
                    # At a huge τ everything is one cluster, which holds one instance.
                    settings = Settings(backbone=name, weights=weights, tau=1e6, frames=frames)
                    yield from ({**about, **row} for row in rows_of(sample, settings, backbone))


def rows_of(sample: Sample, settings: Settings, backbone: Backbone) -> Iterator[Row]:
    """Yield one row for every rule."""
    undivided = analyse(sample.clip, settings, backbone=backbone)
    true = truth(sample.masks, undivided)
    for rule, tau in (("1.0", 1.0), ("gap", largest_gap(undivided.tree))):
        analysis = cut_at(undivided, tau)
        cut = analysis.segment()
        yield {
            "frames": len(true),
            "rule": rule,
            "tau": round(tau, 3),
            "clusters": cut.clusters,
            "objects": len(cut.objects),
            "foreground_j": round(foreground_j(analysis, cut, true), 4),
            "one_to_one": round(one_to_one(cut, cut.objects, true), 4),
            "any": round(one_to_one(cut, cut.present, true), 4),
        }


def table(rows: list[Row]) -> str:
    """Return the means over the clips of every set."""
    scores = ("foreground_j", "one_to_one", "any")
    lines = [
        [*key, *(f"{mean(own, name):.3f}" for name in scores), f"{mean(own, 'objects'):.1f}"]
        for key, own in groups(rows, "backbone", "has_seen", "set", "frames", "rule")
    ]
    heads = [
        "backbone",
        "trained on",
        "set",
        "frames",
        "rule",
        "foreground J",
        "one to one",
        "any",
        "objects",
    ]
    return markdown(heads, lines, words=5)


def main() -> None:
    """Measure, write every figure, print the means."""
    parser = parser_of(__doc__, davis=True)
    parser.add_argument("--backbones", nargs="+", default=["bundled-vits14"], choices=HAS_SEEN)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    parser.add_argument("--frames", nargs="+", type=int, default=[FRAMES], metavar="N")
    parser.add_argument("--clips", nargs="+", metavar="NAME", help="only these")
    options = parser.parse_args()
    print(table(write_rows(options.out, measure(options))))


if __name__ == "__main__":
    main()
