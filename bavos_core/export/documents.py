"""Documents about a result: masks as COCO, patch labels, hierarchy, summary.

T analysed frames, h×w patches, C clusters, L leaves, K key frames.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from bavos_io.coco import CocoFile
from bavos_io.files import write_arrays

from .. import __version__, backbones, render
from ..analysis import Analysis
from ..segmentation import Segmentation
from ..tree import row_weights
from .masks import png_values


def masks_file(path: Path, analysis: Analysis, segmentation: Segmentation) -> CocoFile:
    """Return the COCO file of all masks, with one category per cluster, to be opened."""
    values = png_values(segmentation)
    categories = [
        {
            "name": segmentation.name(i),
            "supercategory": segmentation.role(i),
            "png_value": int(values[i]),
            "colour": list(segmentation.colour(i)),
        }
        for i in range(segmentation.clusters)
    ]
    info = {
        "description": f"Objects in {analysis.clip_name}, found by Bavos",
        "version": __version__,
        "backbone": backbones.describe(analysis.settings.backbone),
        "settings": analysis.settings.as_shown(),
        "tau": segmentation.tau,
    }
    return CocoFile(path, categories, info)


def write_labels(path: Path, analysis: Analysis, segmentation: Segmentation) -> None:
    """Write patch labels and what they refer to, as NPZ."""
    write_arrays(
        path,
        labels=segmentation.labels.astype(np.int32),  # (T, h, w)
        analysed=analysis.analysed,  # (T,) frame numbers
        times=analysis.times,  # (F,) seconds
        background=segmentation.background,  # (C,) the roles
        names=np.array([segmentation.name(i) for i in range(segmentation.clusters)]),  # (C,)
        tau=segmentation.tau,
        size=np.array(analysis.size),
        levels=analysis.levels,  # (R, T, h, w) the paper's process: window merge, then rounds
        leaf_labels=analysis.nearest[..., 0],  # (T, h, w) leaf of every patch
        leaf_rows=analysis.tree.rows,  # (L, K·h·w) mean attention, in units of 1/(K·h·w)
    )


def write_attention(
    path: Path, analysis: Analysis, rows: np.ndarray, queries: Sequence[tuple[int, float, float]]
) -> None:
    """Write attention rows (Q, T, h, w) and their queries (sample_index, y, x), as NPZ."""
    query = np.array(queries, np.float64)
    write_arrays(
        path,
        attention=rows,  # (Q, T, h, w) float32, each sums to 1
        query=query,  # (Q, 3)
        query_frame=analysis.analysed[query[:, 0].astype(int)],  # (Q,) index into the clip
        **_samples(analysis),
    )


def write_features(path: Path, analysis: Analysis) -> None:
    """Write the features of the backbone, as NPZ."""
    write_arrays(
        path,
        keys=analysis.keys.unflatten(2, analysis.grid).numpy(),  # (T, H, h, w, d) float16
        queries=analysis.queries.unflatten(2, analysis.grid).numpy(),  # (T, H, h, w, d) float16
        backbone=np.array(backbones.describe(analysis.settings.backbone)),
        **_samples(analysis),
    )


def _samples(analysis: Analysis) -> dict[str, np.ndarray]:
    """Return index into the clip and second of every analysed frame (T,), and the size (H, W)."""
    frames = analysis.analysed
    return {
        "clip_frame": frames, "seconds": analysis.times[frames], "size": np.array(analysis.size)
    }  # fmt: skip


def hierarchy_document(analysis: Analysis, segmentation: Segmentation) -> dict[str, Any]:
    """Return the whole tree, node by node, the present cut, and the paper's levels.

    A node's `attention` is the share of its mean row that each key frame gets; labels.npz has the
    whole rows of the leaves. `instances` tells whether a node's children are instances of one
    cluster. `splits` lists the parts of every divided cluster.
    """
    tree = analysis.tree
    slots, cluster = tree.slots(), tree.node_clusters(segmentation.leaf_cluster)
    counts = tree.node_counts()
    attention = _attention_per_key_frame(analysis)
    nodes: list[dict[str, Any]] = []
    for node in range(2 * tree.leaves - 1):
        inner = tree.merges[node - tree.leaves] if node >= tree.leaves else None
        nodes.append(
            {
                "id": node,
                "children": [] if inner is None else [int(inner[0]), int(inner[1])],
                "distance": 0.0 if inner is None else float(inner[2]),
                "patches": int(counts[node].sum()),
                "frames": analysis.analysed[counts[node] > 0].tolist(),
                "number": int(slots[node]),
                "cluster": int(cluster[node]),
                "instances": inner is not None and bool(tree.instances[node - tree.leaves]),
                "attention": [round(float(share), 4) for share in attention[node]],
            }
        )
    return {
        "clip": analysis.clip_name,
        "tau": segmentation.tau,
        "clusters": segmentation.clusters,
        "background": np.flatnonzero(segmentation.background).tolist(),
        "names": {i: segmentation.name(i) for i in segmentation.present},
        "roles": {i: segmentation.role(i) for i in segmentation.present},
        "splits": {i: list(parts) for i, parts in segmentation.splits.items()},
        "leaves": tree.leaves,
        "key_frames": analysis.key_frames.tolist(),
        "nodes": nodes,
        "levels": [int(level.max()) + 1 for level in analysis.levels],  # clusters of each
    }


def _attention_per_key_frame(analysis: Analysis) -> np.ndarray:
    """Return the share of every node's mean row that each key frame gets: (2L-1, K)."""
    tree = analysis.tree
    per_frame = tree.rows.reshape(tree.leaves, len(analysis.key_frames), -1)
    of_leaves = per_frame.sum(2, dtype=np.float64) * row_weights(tree.sizes)[:, None]
    summed = tree.sum_over_nodes(of_leaves)
    return summed / summed.sum(1, keepdims=True)


def write_hierarchy(folder: Path, analysis: Analysis, segmentation: Segmentation) -> None:
    """Write hierarchy.json and hierarchy.svg."""
    document = json.dumps(hierarchy_document(analysis, segmentation))
    (folder / "hierarchy.json").write_text(document)
    cut = segmentation
    svg = render.hierarchy_svg(
        analysis.tree, cut.tau, cut.leaf_cluster, cut.background, cut.colours
    )
    (folder / "hierarchy.svg").write_text(svg, encoding="utf-8")


def summary(
    analysis: Analysis, segmentation: Segmentation, extra_seconds: dict[str, float]
) -> dict[str, Any]:
    """Return settings, seconds of every stage, and figures of a result."""
    seconds = {**analysis.timings, **extra_seconds}
    warnings = list(analysis.notes)
    if (extra := segmentation.clusters - render.MAX_PARTS) > 0:
        warnings.append(
            f"{extra} clusters do not fit into 8-bit masks; they are in masks.json only."
        )
    return {
        "clip": analysis.clip_name,
        "start": analysis.part[0],  # seconds of the file at which frame 0 is shown
        "size": list(analysis.size),
        "frames": len(analysis.times),
        "frames_analysed": len(analysis.analysed),
        "grid": list(analysis.grid),
        "source": analysis.source,
        "tau": segmentation.tau,
        "clusters": segmentation.clusters,
        "objects": len(segmentation.objects),
        "names": {i: segmentation.name(i) for i in segmentation.present},
        "seconds": {stage: round(value, 3) for stage, value in seconds.items()},
        "frames_per_second": round(len(analysis.analysed) / max(sum(seconds.values()), 1e-9), 2),
        "peak_memory_mib": analysis.peak_memory_mib,
        "settings": analysis.settings.as_shown(),
        "warnings": warnings,
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "timm", "numpy")},
        },
    }
