"""The scores as CSV, Markdown and images; every row names its protocol.

J and F are means over objects, as DAVIS reports them; FG-ARI, mIoU and mBO are means over
sequences. A sequence without foreground has no FG-ARI and counts in no mean of it.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bavos_core import render
from bavos_core.backbones import describe
from bavos_io.files import atomic_write

from .predictions import read_predictions
from .protocols import MAX_PROPOSALS, object_masks
from .runner import Run
from .sequences import Truth, VideoSequence

COLUMNS = (
    "j_mean", "j_recall", "j_decay", "f_mean", "f_recall", "f_decay", "j_and_f",
    "fg_ari_frame", "fg_ari_video", "miou", "mbo",
)  # fmt: skip
_HEADS = (
    "J", "J recall", "J decay", "F", "F recall", "F decay", "J&F",
    "FG-ARI, frame", "FG-ARI, video", "mIoU", "mBO",
)  # fmt: skip
_OPACITY = 0.6
_WIDTH = 320  # pixels of one picture in the gallery

Row = dict[str, Any]


def sequence_rows(results: Sequence[dict[str, Any]]) -> list[Row]:
    """Return one row for each sequence and protocol."""
    return [_row(result, score) for result in results for score in result["scores"]]


def _row(result: dict[str, Any], score: dict[str, Any]) -> Row:
    pipeline = result["pipeline_seconds"]
    capped = score["protocol"] == "official"
    return {
        "dataset": result["dataset"],
        "protocol": score["protocol"],
        "sequence": result["sequence"],
        "objects": len(score["j_per_frame"]),
        "frames": result["frames"],
        "frames_scored": len(result["scored"]),
        "proposals": result["proposals"],
        "proposals_dropped": max(0, result["proposals"] - MAX_PROPOSALS) if capped else 0,
        **dict(zip(COLUMNS[:3], score["j"], strict=True)),
        **dict(zip(COLUMNS[3:6], score["f"], strict=True)),
        "j_and_f": (score["j"][0] + score["f"][0]) / 2,
        **{name: score[name] for name in COLUMNS[7:]},
        "seconds_per_frame": None if pipeline is None else pipeline / result["frames"],
        "scoring_seconds_per_frame": result["scoring_seconds"] / len(result["scored"]),
    }


def total_rows(rows: Sequence[Row]) -> list[Row]:
    """Return one row for each protocol, from those of its sequences."""
    protocols = dict.fromkeys(row["protocol"] for row in rows)
    return [_total([row for row in rows if row["protocol"] == name]) for name in protocols]


def _total(rows: list[Row]) -> Row:
    sums = ("objects", "frames", "frames_scored", "proposals", "proposals_dropped")
    objects = [row["objects"] for row in rows]
    frames, scored = ([row[name] for row in rows] for name in ("frames", "frames_scored"))
    return {
        "dataset": rows[0]["dataset"],
        "protocol": rows[0]["protocol"],
        "sequences": len(rows),
        **{name: sum(row[name] for row in rows) for name in sums},
        **{name: _average(rows, name, objects) for name in COLUMNS[:7]},
        **{name: _average(rows, name, [1] * len(rows)) for name in COLUMNS[7:]},
        "seconds_per_frame": _average(rows, "seconds_per_frame", frames),
        "scoring_seconds_per_frame": _average(rows, "scoring_seconds_per_frame", scored),
    }


def _average(rows: list[Row], name: str, weights: list[int]) -> float | None:
    known = [(r[name], w) for r, w in zip(rows, weights, strict=True) if r[name] is not None]
    total = sum(weight for _, weight in known)
    return sum(value * weight for value, weight in known) / total if known else None


# ---- tables -------------------------------------------------------------------------------------


def as_csv(rows: Sequence[Row]) -> str:
    """Return rows with a heading; leave undefined values empty."""
    text = StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {k: f"{v:.6f}" if isinstance(v, float) else v for k, v in row.items()} for row in rows
    )
    return text.getvalue()


def as_table(totals: Sequence[Row]) -> str:
    """Return the totals as a Markdown table."""
    heads = ["protocol", *_HEADS, "sequences", "objects", "s/frame"]
    lines = ["| " + " | ".join(heads) + " |", "|---|" + "--:|" * (len(heads) - 1)]
    for row in totals:
        cells = [_cell(row[name]) for name in COLUMNS]
        counts = [str(row["sequences"]), str(row["objects"]), _cell(row["seconds_per_frame"])]
        lines.append("| " + " | ".join([row["protocol"], *cells, *counts]) + " |")
    return "\n".join(lines)


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{round(value, 3) + 0.0:.3f}"  # no -0.000


def as_markdown(run: Run, rows: Sequence[Row], gallery: Sequence[str]) -> str:
    """Return the report: totals, J&F by sequence and protocol, the worst sequences."""
    protocols = list(dict.fromkeys(row["protocol"] for row in rows))
    by_sequence: dict[str, dict[str, Row]] = {}
    for row in rows:
        by_sequence.setdefault(row["sequence"], {})[row["protocol"]] = row
    lines = [
        f"# {run.title}",
        "",
        _made_by(run),
        "",
        *([run.note, ""] if run.note else []),
        as_table(total_rows(rows)),
        "",
        "J and F are means over objects; FG-ARI, mIoU and mBO are means over sequences.",
        "",
        "## J&F of each sequence, by protocol",
        "",
        "| sequence | " + " | ".join(protocols) + " |",
        "|---|" + "--:|" * len(protocols),
        *(
            f"| {name} | " + " | ".join(_cell(found[p]["j_and_f"]) for p in protocols) + " |"
            for name, found in by_sequence.items()
        ),
    ]
    if gallery:
        lines += ["", f"## Worst sequences ({protocols[0]})", ""]
        lines += ["Rows: ground truth, what was matched to it, all proposals.", ""]
        lines += [
            f"![{name}](gallery/{name}) {_caption(by_sequence, name, protocols[0])}\n"
            for name in gallery
        ]
    return "\n".join(lines) + "\n"


def _caption(by_sequence: dict[str, dict[str, Row]], name: str, protocol: str) -> str:
    sequence = Path(name).stem.split("-", 1)[1]
    return f"{sequence}: J&F {by_sequence[sequence][protocol]['j_and_f']:.3f}"


def _made_by(run: Run) -> str:
    values = run.predictions.description
    if "predictions" in values:
        return f"Masks: `{values['predictions']}`."
    settings = {k: v for k, v in values["settings"].items() if v is not None}
    settings["backbone"] = describe(settings["backbone"])
    return "Pipeline: " + ", ".join(f"{k} {v}" for k, v in settings.items()) + "."


# ---- gallery ------------------------------------------------------------------------------------


def write_gallery(run: Run, results: Sequence[dict[str, Any]], count: int) -> list[str]:
    """Write images of the `count` sequences with the lowest J&F under the first protocol.

    Three frames each: the first, the one with the lowest J, the last. Return the file names.
    """
    order = sorted(results, key=lambda result: sum(_means(result)))[:count]
    folder = run.out / "gallery"
    folder.mkdir(exist_ok=True)
    by_name = {sequence.name: sequence for sequence in run.sequences}
    names = []
    for place, result in enumerate(order, 1):
        names.append(f"{place:02d}-{result['sequence']}.jpg")
        sheet = failure_sheet(run, by_name[result["sequence"]], result)
        with atomic_write(folder / names[-1]) as part:
            sheet.save(part, "JPEG", quality=88)
    return names


def _means(result: dict[str, Any]) -> tuple[float, float]:
    first = result["scores"][0]
    return first["j"][0], first["f"][0]


def failure_sheet(run: Run, sequence: VideoSequence, result: dict[str, Any]) -> Image.Image:
    """Draw ground truth, matched proposals and all proposals as rows, three frames as columns."""
    score = result["scores"][0]
    worst = int(np.mean(score["j_per_frame"], axis=0).argmin())
    shown = sorted({0, worst, len(result["scored"]) - 1})
    truth = sequence.truth()
    labels = read_predictions(run.predictions.folder(sequence), sequence, truth)
    numbers = np.unique(np.concatenate([np.unique(frame) for frame in labels]))
    frames = sequence.clip().read([truth.frames[t] for t in shown])
    columns = []
    for t, frame in zip(shown, frames, strict=True):
        maps = [_truth_map(truth, t), _matched(labels[t], score["matches"])]
        maps.append(np.searchsorted(numbers[numbers > 0], labels[t]) + (labels[t] > 0))
        columns.append(np.concatenate([_painted(frame, found) for found in maps]))
    return Image.fromarray(np.concatenate(columns, axis=1))


def _truth_map(truth: Truth, t: int) -> np.ndarray:
    """Return the objects as labels 1 … O (H, W)."""
    masks = object_masks(truth.annotations[t], truth.objects)
    return np.where(masks.any(0), masks.argmax(0) + 1, 0)


def _matched(labels: np.ndarray, matches: list[list[int]]) -> np.ndarray:
    """Label proposals by their matched objects, 1 … O, the rest 0."""
    found = np.zeros(labels.shape, np.int64)
    for number, chosen in enumerate(matches, 1):
        found[np.isin(labels, chosen)] = number
    return found


def _painted(frame: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return a small frame with labels from 1 in colours; leave 0 as it is."""
    size = (_WIDTH, max(1, round(_WIDTH * frame.shape[0] / frame.shape[1])))
    small = np.array(Image.fromarray(frame).resize(size))
    found = np.array(
        Image.fromarray(labels.astype(np.int32)).resize(size, Image.Resampling.NEAREST)
    )
    present, places = np.unique(np.append(found, 0), return_inverse=True)  # 0 comes first
    colours = np.array([render.object_colour(int(n) - 1) for n in present], np.float32)
    alpha = np.where(present > 0, _OPACITY, 0.0).astype(np.float32)
    return render.paint(small, places[:-1].reshape(found.shape), colours, alpha)
