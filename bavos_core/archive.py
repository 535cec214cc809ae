"""The file of an analysis: one .npz of plain arrays, without code."""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bavos_io.files import write_arrays

from .analysis import Analysis
from .correlator import correlator_from, state_of
from .edits import Edit
from .errors import InputError
from .settings import Settings
from .tree import ClusterTree

FORMAT = 5  # of the file
_ARRAYS = ("times", "analysed", "frames", "nearest", "distance", "levels")
_OF_TREE = ("merges", "counts", "rows", "instances")


def save(analysis: Analysis, path: Path) -> None:
    """Write an analysis to one .npz file: plain arrays; sources as `shown`, not as they load."""
    arrays = {name: getattr(analysis, name) for name in _ARRAYS}
    arrays |= {name: getattr(analysis.tree, name) for name in _OF_TREE}
    arrays |= {"queries": analysis.queries.numpy(), "keys": analysis.keys.numpy()}
    if analysis.saliency is not None:
        arrays["saliency"] = analysis.saliency
    if analysis.correlator is not None:
        arrays |= {f"correlator.{k}": v.numpy() for k, v in state_of(analysis.correlator).items()}
    meta = {
        "format": FORMAT, "settings": analysis.settings.as_shown(), "clip_name": analysis.clip_name,
        "frame_names": analysis.frame_names, "grid": analysis.grid, "source": analysis.source,
        "framewise_scale": analysis.framewise_scale, "notes": analysis.notes,
        "end": analysis.end, "size": analysis.size, "part": analysis.part,
        "edits": [edit.to_dict() for edit in analysis.edits],
        "timings": dict(analysis.timings), "peak_memory_mib": analysis.peak_memory_mib,
        "correlator": analysis.correlator.metadata if analysis.correlator else {},
    }  # fmt: skip
    arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    write_arrays(path, **arrays)


def load(path: Path) -> Analysis:
    """Return the analysis in a file of `save`. Raise InputError for any other file."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays: dict[str, Any] = dict(file)
        meta = json.loads(arrays.pop("meta").tobytes())
        if meta.pop("format") == FORMAT:
            return _from_parts(arrays, meta)
    except (OSError, ValueError, LookupError, TypeError, EOFError, AttributeError) as error:
        raise InputError(f"{path.name!r} is not an analysis file of Bavos.") from error
    except (zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path.name!r} is damaged; analyse the clip again.") from error
    raise InputError(f"{path.name!r} was made by another version; analyse the clip again.")


def _from_parts(arrays: dict[str, Any], meta: dict[str, Any]) -> Analysis:
    weights = {
        name.removeprefix("correlator."): torch.from_numpy(arrays.pop(name))
        for name in list(arrays)
        if name.startswith("correlator.")
    }
    tree = ClusterTree(*(arrays.pop(name) for name in _OF_TREE))
    queries, keys = (torch.from_numpy(arrays.pop(name)) for name in ("queries", "keys"))
    meta |= {
        "settings": Settings.from_dict(meta["settings"]),
        "frame_names": tuple(meta["frame_names"]),
        "notes": tuple(meta["notes"]),
        "edits": tuple(map(Edit.from_dict, meta["edits"])),
        **{name: tuple(meta[name]) for name in ("size", "part", "grid")},
    }
    about = meta.pop("correlator")
    correlator = correlator_from(weights, about, "the analysis file") if weights else None
    arrays.setdefault("saliency", None)
    return Analysis(**meta, **arrays, queries=queries, keys=keys, correlator=correlator, tree=tree)
