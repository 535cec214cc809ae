"""Scores on the development split under the protocols of `bavos evaluate`.

    python -m experiments.protocols --davis DIR --weights FILE --out protocols.csv \\
        [--tables masks procedure tau key-ratio resolution] [--work FOLDER]

Eight DAVIS sequences with all frames scored. What was measured stays in the folder --work, so the
same command resumes where it was stopped, and several of them share the work.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from bavos_core import Analysis, Settings
from bavos_io.clip import Clip
from bavos_lab.evaluation import DATASETS, PROTOCOLS, Pipeline, Run, Selection, evaluate
from bavos_lab.evaluation.command import write_report
from bavos_lab.evaluation.report import sequence_rows, total_rows

from .common import (
    HAS_SEEN,
    SEVERAL,
    SINGLE,
    STAND_IN,
    Row,
    groups,
    markdown,
    parser_of,
    write_rows,
)

COLUMNS = {  # heading → protocol and figure
    "official J": ("official", "j_mean"),
    "official F": ("official", "f_mean"),
    "official J&F": ("official", "j_and_f"),
    "per-frame J&F": ("per-frame", "j_and_f"),
    "best cluster J": ("single-object, best cluster", "j_mean"),
    "best cluster F": ("single-object, best cluster", "f_mean"),
    "oracle union J": ("single-object, oracle union", "j_mean"),
    "FG-ARI, video (official)": ("official", "fg_ari_video"),
}


@dataclass(frozen=True)
class KeptAnalyses(Pipeline):
    """The pipeline, with analyses kept: another τ or other masks cost no new analysis."""

    analyses: Path

    def analysis(self, clip: Clip) -> Analysis:
        """Return the kept analysis, or make and keep it."""
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


def tables_of(options: argparse.Namespace) -> dict[str, dict[str, Settings]]:
    """Return the settings of every line of every table; most vary those of the stand-in."""
    base = Settings(
        backbone=STAND_IN, weights=options.weights, size=(384, 768), correlator="key-similarity"
    )
    models = {
        "`bundled-vits14` (saliency labels)": Settings(backbone="bundled-vits14", size=(336, 672)),
        "ViT-Ti/16": base,
        "`descriptors`": Settings(backbone="descriptors", size=(192, 384)),
    }
    nearest = replace(base, refine=False)
    return {
        "masks": {
            f"{label}, {kind} masks": replace(settings, refine=kind == "refined")
            for label, settings in models.items()
            for kind in ("refined", "nearest")
        },
        "procedure": {
            "exact, the paper's clusters, nearest masks": replace(base, exact=True),
            "tree, nearest masks": nearest,
            "tree in float32, nearest masks": replace(nearest, precision="fp32"),
        },
        "tau": {f"τ = {tau:g}": replace(base, tau=tau) for tau in (0.5, 0.75, 1, 1.5, 2, 3)},
        "key-ratio": {f"r = {r}": replace(base, key_ratio=r) for r in (1, 2, 5, 10)},
        "resolution": {
            f"{h}×{2 * h}": replace(base, size=(h, 2 * h)) for h in (192, 256, 320, 384)
        },
    }


def measure(options: argparse.Namespace) -> Iterator[Row]:
    """Yield one row for every table and line; lines of the stand-in only with its weights."""
    for table, lines in tables_of(options).items():
        for line, settings in lines.items() if table in options.tables else ():
            if settings.backbone == STAND_IN and options.weights is None:
                continue
            totals = {row["protocol"]: row for row in scored(line, settings, options)}
            yield {
                "table": table,
                "line": line,
                "has_seen": HAS_SEEN[settings.backbone],
                **{head: round(totals[p][name], 4) for head, (p, name) in COLUMNS.items()},
                "s/frame": round(totals["official"]["seconds_per_frame"], 2),
            }


def scored(line: str, settings: Settings, options: argparse.Namespace) -> list[Row]:
    """Return the totals of a line, one row for each protocol; equal settings share a folder."""
    dataset = DATASETS["davis-2017-semi"]
    out = options.work / f"run-{hashlib.sha256(str(settings).encode()).hexdigest()[:12]}"
    pipeline = KeptAnalyses(settings, out / "masks", options.work / "analyses")
    sequences = dataset.sequences(options.davis, Selection(sequences=tuple(options.sequences)))
    run = Run(out, "Development split", sequences, pipeline, PROTOCOLS)
    results = evaluate(run, on_sequence=lambda i, n: print(line, i, "of", n, file=sys.stderr))
    write_report(run, results, 3)
    return total_rows(sequence_rows(results))


def tables(rows: list[Row]) -> str:
    """Return the tables, the protocol in every heading."""
    heads = ["line", "has_seen", *COLUMNS, "s/frame"]
    return "\n\n".join(
        f"## {table}\n\n"
        + markdown(
            heads,
            ([f"{row[h]:.3f}" if h in COLUMNS else row[h] for h in heads] for row in own),
            words=2,
        )
        for (table,), own in groups(rows, "table")
    )


def main() -> None:
    """Measure, write every figure, print the tables."""
    parser = parser_of(__doc__, davis=True)
    parser.add_argument("--work", type=Path, default=Path("results"), help="(%(default)s)")
    parser.add_argument("--tables", nargs="+", default=["masks"], help="or procedure tau …")
    parser.add_argument("--sequences", nargs="+", default=SINGLE + SEVERAL)
    options = parser.parse_args()
    print(tables(write_rows(options.out, measure(options))))


if __name__ == "__main__":
    main()
