"""Tables of docs/results.md under the protocols of `python -m bavos_core evaluate`.

    python experiments/results.py --davis DAVIS_ROOT --weights vit_tiny_patch16_224.safetensors \\
        --out results [--correlator learned.safetensors] [--tables backbones masks …]

Development split: eight DAVIS sequences, all frames scored. What was measured stays in the folder,
so the same command goes on where it was stopped, and several of them share the work.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch
from sklearn.cluster import KMeans
from torch.nn import functional as F

from bavos_core import Analysis, Settings
from bavos_core.roles import background, seams
from bavos_core.segmentation import Segmentation
from bavos_core.video import Clip
from bavos_lab.evaluation import DATASETS, PROTOCOLS, Pipeline, Run, Selection, evaluate
from bavos_lab.evaluation.command import write_report
from bavos_lab.evaluation.report import Row, sequence_rows, total_rows

SEQUENCES = (
    "camel", "car-shadow", "dance-twirl", "drift-straight", "horsejump-high", "libby",
    "bmx-trees", "dogs-jump",
)  # fmt: skip
COLUMNS = (
    ("official", "j_mean", "official J"),
    ("official", "f_mean", "official F"),
    ("official", "j_and_f", "official J&F"),
    ("per-frame", "j_and_f", "per-frame J&F"),
    ("single-object, best cluster", "j_mean", "best cluster J"),
    ("single-object, best cluster", "f_mean", "best cluster F"),
    ("single-object, oracle union", "j_mean", "oracle union J"),
    ("official", "fg_ari_video", "FG-ARI, video (official)"),
)


@dataclass(frozen=True)
class Cut(Pipeline):
    """The pipeline, with analyses kept: another τ or other masks cost no new analysis."""

    analyses: Path

    def analysis(self, clip: Clip) -> Analysis:
        """From the file if there is one."""
        path = self.analyses / self._key() / f"{clip.name}.npz"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            super().analysis(clip).save(path)
        return replace(Analysis.load(path), settings=self.settings)

    def _key(self) -> str:
        values = self.settings.to_dict()
        if not self.settings.exact:  # an exact analysis is of one τ
            del values["tau"]
        del values["refine"]
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


class FeatureClusters(Cut):
    """k-means of the features, into as many clusters as attention gives."""

    @property
    def description(self) -> dict[str, Any]:
        """The settings and what differs."""
        return {**super().description, "clusters of": "features, by k-means"}

    def segmentation(self, analysis: Analysis) -> Segmentation:
        """Clusters of the features."""
        cut = analysis.segment()
        count = cut.clusters
        tokens = analysis.tokens.flatten(0, 1).numpy()
        found = KMeans(count, n_init=2, random_state=0).fit_predict(tokens)
        labels = found.reshape(len(analysis.frames), *analysis.grid).astype("int64")
        soft = F.one_hot(torch.from_numpy(labels), count).permute(0, 3, 1, 2).float()
        scenery = background(labels, count, analysis.saliency)
        thin = seams(labels, scenery)
        return replace(cut, labels=labels, soft=soft, background=scenery, thin=thin)


Maker = Callable[[Settings, Path, Path], Pipeline]


@dataclass(frozen=True)
class Line:
    """One line of a table."""

    label: str
    settings: Settings
    maker: Maker = Cut


def tables(options: argparse.Namespace) -> dict[str, list[Line]]:
    """All tables: what is compared, and by which settings."""
    bundled = Settings(backbone="bundled-vits14", size=(336, 672))
    descriptors = Settings(backbone="descriptors", size=(192, 384))
    found = {
        "backbones": [
            Line("`bundled-vits14` (saliency labels), cross-frame", bundled),
            Line("`descriptors`, keys", descriptors),
        ]
    }  # fmt: skip
    if options.weights is None:
        return found
    base = Settings(
        backbone="vit_tiny_patch16_224", weights=options.weights, size=(384, 768),
        correlator="key-similarity",
    )  # fmt: skip
    sources = [
        Line("key-similarity", base),
        Line("untrained", replace(base, correlator="untrained")),
    ]
    if options.correlator:
        sources.append(Line("correlator", replace(base, correlator=str(options.correlator))))
    return {
        "backbones": [*found["backbones"], Line("stand-in ViT-Ti/16, keys", base)],
        "masks": [
            Line("refined", base),
            Line("nearest", replace(base, refine=False)),
            Line("`bundled-vits14` (saliency labels), refined", bundled),
            Line("`bundled-vits14` (saliency labels), nearest", replace(bundled, refine=False)),
            Line("`descriptors`, refined", descriptors),
            Line("`descriptors`, nearest", replace(descriptors, refine=False)),
        ],
        "sources": sources,
        "features": [Line("attention", base), Line("features, k-means", base, FeatureClusters)],
        "procedure": [
            Line("exact, the paper's clusters, nearest masks", replace(base, exact=True)),
            Line("tree, nearest masks", replace(base, refine=False)),
            Line("tree in float32, nearest masks", replace(base, refine=False, precision="fp32")),
        ],
        "tau": [Line(f"τ = {tau:g}", replace(base, tau=tau)) for tau in (0.5, 0.75, 1, 1.5, 2, 3)],
        "key-ratio": [Line(f"r = {r}", replace(base, key_ratio=r)) for r in (1, 2, 5, 10)],
        "resolution": [
            Line(f"{h}×{2 * h}", replace(base, size=(h, 2 * h))) for h in (192, 256, 320, 384)
        ],
    }


def measured(line: Line, name: str, options: argparse.Namespace) -> list[Row]:
    """Totals of one line, by protocol."""
    dataset = DATASETS["davis-2017-semi"]
    selection = Selection(sequences=SEQUENCES)
    out = options.out / name
    pipeline = line.maker(line.settings, out / "masks", options.out / "analyses")
    sequences = dataset.sequences(options.davis, selection)
    run = Run(out, "Development split", sequences, pipeline, PROTOCOLS)
    results = evaluate(run, progress=lambda i, n: print(f"{name}: {i} of {n}", file=sys.stderr))
    write_report(run, results, 3)
    return total_rows(sequence_rows(results))


def as_table(rows: dict[str, list[Row]]) -> str:
    """Markdown, the protocol in every heading."""
    heads = ["", *(head for *_, head in COLUMNS), "s/frame"]
    lines = ["| " + " | ".join(heads) + " |", "|---|" + "--:|" * (len(heads) - 1)]
    for label, totals in rows.items():
        by_protocol = {row["protocol"]: row for row in totals}
        cells = [f"{by_protocol[protocol][name]:.3f}" for protocol, name, _ in COLUMNS]
        seconds = f"{totals[0]['seconds_per_frame']:.2f}"
        lines.append("| " + " | ".join([label, *cells, seconds]) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--davis", type=Path, required=True, help="JPEGImages/480p, Annotations")
    parser.add_argument("--weights", type=Path, help="vit_tiny_patch16_224, a stand-in for DINO")
    parser.add_argument("--correlator", type=Path, help="a trained block for the stand-in")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tables", nargs="+", help="default: all")
    options = parser.parse_args()
    done: dict[str, list[Row]] = {}
    for table, lines in tables(options).items():
        if options.tables and table not in options.tables:
            continue
        rows = {}
        for line in lines:
            kind = f"{line.settings}{line.maker.__name__}"  # equal lines are measured once
            name = f"run-{hashlib.sha256(kind.encode()).hexdigest()[:12]}"
            if name not in done:
                done[name] = measured(line, name, options)
            rows[line.label] = done[name]
        print(f"\n## {table}\n\n{as_table(rows)}", flush=True)


if __name__ == "__main__":
    main()
