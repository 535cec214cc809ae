"""Best-cluster J of several ways to cluster, cut at several τ, on the development split.

    python -m experiments.clusterings linkage --davis DIR --weights FILE --out linkage.csv
    python -m experiments.clusterings sources --davis DIR --weights FILE --out sources.csv
    python -m experiments.clusterings temperature --davis DIR --weights FILE --out temperature.csv

linkage: the paper's procedure, the tree, and other linkages of the same leaves, each in float32
    ("exact") or with bfloat16 ("fast"), on training-free attention; agreement is the adjusted Rand
    index with the same way in float32.
sources: what attention adds to features, and training to attention (paper, Fig. 1 and 2): k-means
    of the features, and the tree on each source; with --correlator FILE … on trained ones too.
temperature: clusters of the tree at τ = 1 with a fixed scale of attention and with the clip's own.
Every 5th frame of six DAVIS-2016 sequences; J as in `best_cluster`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import timm
import torch
from scipy.cluster.hierarchy import cut_tree, linkage
from scipy.spatial.distance import squareform
from sklearn.cluster import KMeans

from bavos_core import Settings, backbones
from bavos_core.attention import AttentionRows, centred_unit, key_frames
from bavos_core.backbones import Backbone, Features
from bavos_core.backbones.vit import ViTBackbone
from bavos_core.clustering import assign, find_clusters
from bavos_core.distances import LogRows, Windows, self_distances
from bavos_core.hierarchy import Hierarchy, build_hierarchy
from bavos_core.settings import Compute, grid_size
from bavos_core.sources import attention_rows, choose_source, project_keys
from bavos_lab.evaluation.metrics import best_cluster_j
from bavos_lab.partitions import adjusted_rand_index

from .common import (
    HAS_SEEN,
    SINGLE,
    STAND_IN,
    Row,
    davis_frames,
    groups,
    markdown,
    mean,
    parser_of,
    write_rows,
)  # fmt: skip

TAUS = {
    "linkage": (0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0),
    "sources": (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0),
}
KMEANS = dict(zip(TAUS["sources"], (4, 6, 8, 12, 16, 24, 32), strict=True))  # clusters by column
LINKAGES = ("average", "complete", "weighted", "single")
FIXED_SCALE = 5.0  # a temperature that fits one backbone
SIZES = {"descriptors": (192, 384), STAND_IN: (384, 768), "bundled-vits14": (336, 672)}  # pixels

Labels = Callable[[float], np.ndarray]  # τ → cluster of every patch (T·N,)


@dataclass(frozen=True)
class Sample:
    """A sequence's frames and truth, encoded by a backbone in float32 when first needed."""

    name: str
    frames: np.ndarray  # (T, H, W, 3) uint8
    truth: np.ndarray  # (T, H, W) bool
    backbone: Backbone
    settings: Settings

    @classmethod
    def read(cls, root: Path, name: str, backbone: Backbone, settings: Settings) -> Sample:
        """Read every 5th frame of a sequence."""
        return cls(name, *davis_frames(root, name), backbone, settings)

    @cached_property
    def grid(self) -> tuple[int, int]:
        """The (h, w) patches of a frame."""
        return grid_size(self.frames.shape[1:3], self.backbone.patch, self.settings)

    @cached_property
    def features(self) -> Features:
        """The queries and keys of all frames."""
        images = backbones.to_images(self.frames, self.grid, self.backbone.patch)
        return self.backbone.encode(images, Compute(torch.device("cpu"), "fp32"))

    def attention(self, correlator: str = "key-similarity", key_ratio: int = 5) -> AttentionRows:
        """Return the attention that an option `--correlator` stands for."""
        settings = Settings(correlator=correlator, key_ratio=key_ratio)
        source, trained = choose_source(settings, self.features.channels, "key-similarity")
        return attention_rows(self.features, source, trained, settings)

    def attention_of_scale(self, scale: float) -> AttentionRows:
        """Return training-free attention at a given temperature."""
        unit = centred_unit(self.features.tokens)
        return AttentionRows(unit, unit[key_frames(len(unit), self.settings.key_every)], scale)

    def score(self, labels: np.ndarray) -> float:
        """Return the best-cluster J of labels (T·N,)."""
        return best_cluster_j(labels.reshape(-1, *self.grid), self.truth)


# ---- ways to cluster ----------------------------------------------------------------------------


def by_paper(rows: AttentionRows, dtype: torch.dtype) -> Labels:
    """Label by the paper's procedure, run anew at every τ."""

    def labels(tau: float) -> np.ndarray:
        windows = Windows(rows, dtype)
        return assign(windows, find_clusters(windows, tau).centroids).labels.flatten().numpy()

    return labels


def by_tree(hierarchy: Hierarchy) -> Labels:
    """Label by cutting one tree."""
    leaf = hierarchy.assignment.labels.flatten().numpy()
    return lambda tau: hierarchy.tree.cut(tau)[leaf]


def by_linkage(hierarchy: Hierarchy, method: str) -> Labels:
    """Label by another linkage of the same leaves, in which each leaf counts once."""
    leaf = hierarchy.assignment.labels.flatten().numpy()
    distances = self_distances(LogRows.of(hierarchy.assignment.mean_rows)).double().numpy()
    distances = np.maximum((distances + distances.T) / 2, 0)
    np.fill_diagonal(distances, 0)
    merges = linkage(squareform(distances, checks=False), method)
    return lambda tau: cut_tree(merges, height=tau).ravel()[leaf]


def by_features(sample: Sample) -> Labels:
    """Label by k-means of the features, with a number of clusters in place of each τ."""
    tokens = sample.features.tokens.flatten(0, 1).numpy()
    return lambda tau: KMeans(KMEANS[tau], n_init=2, random_state=0).fit_predict(tokens)


def linkage_ways(sample: Sample) -> Iterator[tuple[str, Labels]]:
    """Yield the ways of the table `linkage`; every exact one comes before its fast one."""
    rows = sample.attention()
    exact = build_hierarchy(rows, Settings(), dtype=torch.float32)
    fast = build_hierarchy(rows, Settings(), dtype=torch.bfloat16)
    yield "paper, exact", by_paper(rows, torch.float32)
    yield "tree, exact", by_tree(exact)
    yield "paper, fast", by_paper(rows, torch.bfloat16)
    yield "tree, fast", by_tree(fast)
    for method in LINKAGES:
        yield f"unweighted {method}, exact", by_linkage(exact, method)


def source_ways(sample: Sample, correlators: Sequence[str]) -> Iterator[tuple[str, Labels]]:
    """Yield the ways of the table `sources`: k-means of the features, the tree on each source."""
    yield "features, k-means", by_features(sample)
    for correlator in ("key-similarity", "untrained", *correlators):
        rows = sample.attention(correlator)
        yield (
            Path(correlator).stem,
            by_tree(build_hierarchy(rows, Settings(), dtype=torch.bfloat16)),
        )


# ---- tables -------------------------------------------------------------------------------------


def encoders(options: argparse.Namespace, names: Sequence[str]) -> dict[str, Encoder]:
    """Return the backbones that can be loaded, with their settings, by name."""
    found = {}
    for name in names:
        weights = options.weights if name == STAND_IN else None
        if name != STAND_IN or weights:
            found[name] = Encoder(
                backbones.load(name, weights=weights), Settings(backbone=name, size=SIZES[name])
            )
    return found


@dataclass(frozen=True)
class Encoder:
    """A backbone and the settings to use it with."""

    backbone: Backbone
    settings: Settings

    def read(self, root: Path, name: str) -> Sample:
        """Read a sequence."""
        return Sample.read(root, name, self.backbone, self.settings)


def compare(options: argparse.Namespace) -> Iterator[Row]:
    """Yield J, and for `linkage` agreement, of every backbone, sequence, way and τ."""
    for backbone, encoder in encoders(options, options.backbones).items():
        for sequence in options.sequences:
            sample = encoder.read(options.davis, sequence)
            if options.table == "linkage":
                ways = linkage_ways(sample)
            else:
                ways = source_ways(sample, options.correlator)
            about = {"backbone": backbone, "has_seen": HAS_SEEN[backbone], "sequence": sequence}
            found = {}
            for way, labels in ways:
                found[way] = [labels(tau) for tau in TAUS[options.table]]
                yield from ({**about, **row} for row in rows_of(sample, way, found, options.table))


def rows_of(
    sample: Sample, way: str, found: dict[str, list[np.ndarray]], table: str
) -> Iterator[Row]:
    """Yield one row for every τ of a way, compared with the same way in float32 if there is one."""
    reference = found.get(f"{way.split(',')[0]}, exact")
    for i, (tau, labels) in enumerate(zip(TAUS[table], found[way], strict=True)):
        alike = "" if reference is None else round(adjusted_rand_index(labels, reference[i]), 4)
        j = round(sample.score(labels), 4)
        yield {"way": way, "tau": tau, "best_cluster_j": j, "adjusted_rand_index": alike}


def temperature(options: argparse.Namespace) -> Iterator[Row]:
    """Yield the clusters of the tree at τ = 1 with a fixed scale and with the clip's own."""
    chosen = encoders(options, ("descriptors", STAND_IN))
    for name, size in (("vit_small_patch16_224", SIZES[STAND_IN]),
                       ("vit_base_patch16_224", SIZES[STAND_IN]),
                       ("vit_small_patch8_224", SIZES["descriptors"])):  # fmt: skip
        chosen[f"random {name}"] = Encoder(random_vit(name), Settings(size=size))
    for backbone, encoder in chosen.items():
        for sequence in options.sequences[:3]:
            sample = encoder.read(options.davis, sequence)
            own = project_keys(sample.features.tokens, encoder.settings).scale
            trees = {
                kind: build_hierarchy(
                    sample.attention_of_scale(scale), Settings(), dtype=torch.float32
                ).tree
                for kind, scale in (("fixed", FIXED_SCALE), ("own", own))
            }
            yield {
                "backbone": backbone,
                "has_seen": HAS_SEEN.get(backbone, "nothing"),
                "sequence": sequence,
                "scale": round(own, 1),
                **{f"clusters_{kind}_scale": tree.clusters_at(1.0) for kind, tree in trees.items()},
            }


def random_vit(name: str) -> ViTBackbone:
    """Return a ViT of timm with random weights; the keys are its last block's."""
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False, num_classes=0, dynamic_img_size=True).eval()
    return ViTBackbone(model.requires_grad_(False), len(model.blocks) - 1, (0.5,) * 3, (0.25,) * 3)


def comparison_table(rows: list[Row]) -> str:
    """Return J, with agreement in brackets for ways that are not exact: means over sequences."""
    lines = []
    for (backbone, way), own in groups(rows, "backbone", "way"):
        cells = []
        for _, at_tau in groups(own, "tau"):
            j = f"{mean(at_tau, 'best_cluster_j'):.3f}"
            alike = way.endswith("fast") and f" ({mean(at_tau, 'adjusted_rand_index'):.3f})"
            cells.append(j + (alike or ""))
        lines.append([f"`{backbone}`", way, *cells])
    taus = [f"τ {tau:g}" for (tau,), _ in groups(rows, "tau")]
    return markdown(["backbone", "way", *taus], lines, words=2)


def temperature_table(rows: list[Row]) -> str:
    """Return the clusters with the fixed scale → with the clip's own, and the scales."""
    lines = [
        [
            f"`{backbone}`",
            *(f"{row['clusters_fixed_scale']} → {row['clusters_own_scale']}" for row in own),
            ", ".join(str(row["scale"]) for row in own),
        ]
        for (backbone,), own in groups(rows, "backbone")
    ]
    names = [sequence for (sequence,), _ in groups(rows, "sequence")]
    return markdown(["backbone", *names, "scales chosen"], lines)


def main() -> None:
    """Measure, write every figure, print the table."""
    parser = parser_of(__doc__, davis=True)
    parser.add_argument("table", choices=("linkage", "sources", "temperature"))
    parser.add_argument("--backbones", nargs="+", choices=SIZES, default=[STAND_IN, "descriptors"])
    parser.add_argument("--sequences", nargs="+", choices=SINGLE, default=SINGLE)
    parser.add_argument("--correlator", nargs="+", default=[], metavar="FILE", help="trained ones")
    options = parser.parse_args()
    torch.set_grad_enabled(False)
    if options.table == "temperature":
        print(temperature_table(write_rows(options.out, temperature(options))))
    else:
        print(comparison_table(write_rows(options.out, compare(options))))


if __name__ == "__main__":
    main()
