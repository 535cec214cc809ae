"""The figures as a table and as a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bavos_io.files import atomic_write

from .runs import METHODS, Case


def as_table(document: dict[str, Any]) -> str:
    """Return the runs as a Markdown table.

    ÷ naive: how many times faster than the naive method. Per 10¹²: seconds for that many
    multiplications of one full product of each window's rows (n²·M), so equal figures mean that
    cost grows as T·N³·K. ARI: adjusted Rand index with the labels of exact mode.
    """
    lines = [
        "| case | method | seconds | ÷ naive | by stage | per 10¹² | peak MiB | clusters | ARI |",
        "|---|---|--:|--:|---|--:|--:|--:|--:|",
    ]
    runs = sorted(document["runs"], key=lambda run: (_size(run), METHODS.index(run["method"])))
    naive = {_size(run): run["seconds"] for run in runs if run["method"] == "naive"}
    for run in runs:
        case = Case(**{**run["case"], "grid": tuple(run["case"]["grid"])})
        lines.append(
            f"| {case.name} | {run['method']} | " + " | ".join(_cells(run, case, naive)) + " |"
        )
    return "\n".join(lines)


def _cells(run: dict[str, Any], case: Case, naive: dict[Any, dict[str, float]]) -> list[str]:
    if run["why"]:
        return [run["why"], "", "", "", "", "", ""]
    seconds = dict(run["seconds"])
    total, yardstick = seconds.pop("total"), naive.get(_size(run))
    agreement = run["agreement"].get("exact")
    return [
        f"{total:.2f}",
        f"{yardstick['total'] / total:.1f}×" if yardstick else "",
        ", ".join(f"{stage} {value:.2f}" for stage, value in seconds.items()),
        f"{total / case.products * 1e12:.1f}",
        "" if run["peak_mib"] is None else f"{run['peak_mib']:,.0f}",
        str(run["clusters"]),
        "" if agreement is None else f"{agreement:.3f}",
    ]


def _size(run: dict[str, Any]) -> tuple[Any, ...]:
    case = run["case"]
    return -case["heads"], tuple(case["grid"]), case["frames"]


def write_document(path: Path, document: dict[str, Any]) -> None:
    """Write the document as JSON, atomically."""
    with atomic_write(path) as part:
        part.write_text(json.dumps(document, indent=1))
