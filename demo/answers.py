"""Answers of the HTTP API and of MCP as JSON values."""

from __future__ import annotations

from typing import Any

import numpy as np

from bavos_core import ClusterTree, Segmentation

from .store import Result

_MOST_PLACES = 12  # of which the attention is told one by one


def as_json(result: Result) -> dict[str, Any]:
    """Return the summary of a result as JSON values."""
    analysis = result.analysis
    cut = analysis.segment()
    return {
        "result": result.id,
        "backbone": analysis.settings.backbone,
        "start": analysis.part[0],
        "frames": len(analysis.times),
        "analysed": analysis.analysed.tolist(),
        "size": list(analysis.size),
        "grid": list(analysis.grid),
        "tau": cut.tau,
        "clusters": cut.clusters,
        "background": cut.background.tolist(),
        "leaves": analysis.tree.leaves,
        "sources": list(analysis.sources()),
        "seconds": {stage: round(value, 3) for stage, value in result.analysis.timings.items()},
        "notices": list(result.notices),
    }


def cut_as_json(result: Result, cut: Segmentation) -> dict[str, Any]:
    """Return a cut as JSON values; an empty cluster has no role."""
    present = set(cut.present)
    return {
        "tau": cut.tau,
        "clusters": cut.clusters,
        "background": cut.background.tolist(),
        "names": [cut.name(i) for i in range(cut.clusters)],
        "roles": [cut.role(i) if i in present else None for i in range(cut.clusters)],
        "instances": _instances(result.analysis.tree, cut),
        "splits": {str(i): list(parts) for i, parts in cut.splits.items()},
        "leaves": result.analysis.tree.leaves,
    }


def _instances(tree: ClusterTree, cut: Segmentation) -> list[list[int]]:
    """Return groups of clusters with similar attention that were separated as instances."""
    joins = np.append(np.zeros(tree.leaves, bool), tree.instances)
    parents = tree.parents()
    above = joins & (tree.node_clusters(cut.leaf_cluster) < 0)  # the cut
    highest = above & ~((parents >= 0) & above[parents])
    return [
        np.unique(cut.leaf_cluster[tree.leaves_of(int(node))]).tolist()
        for node in np.flatnonzero(highest)
    ]


def attention_as_json(result: Result, row: np.ndarray, *, rows: bool) -> dict[str, Any]:
    """Return where a row (T, h, w) attends most, and how much each frame gets.

    Places are the centres of patches, in pixels. rows: add the whole row, which is long.
    """
    analysis = result.analysis
    most = np.argsort(row, axis=None)[::-1][:_MOST_PLACES]
    places = np.transpose(np.unravel_index(most, row.shape))
    size, grid = np.array(analysis.size), np.array(analysis.grid)
    found: dict[str, Any] = {
        "top": [
            {
                "sample_index": int(sample),
                "frame": int(analysis.analysed[sample]),
                "y": round(float((y + 0.5) * size[0] / grid[0]), 1),
                "x": round(float((x + 0.5) * size[1] / grid[1]), 1),
                "weight": round(float(row[sample, y, x]), 6),
            }
            for sample, y, x in places
        ],
        "share": [round(float(share), 6) for share in row.sum((1, 2))],
        "frames": analysis.analysed.tolist(),
        "grid": list(analysis.grid),
    }
    return {**found, "row": row.tolist()} if rows else found
