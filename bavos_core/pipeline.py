"""How a result is made: `analyse(clip)`, the costly call.

F frames in the clip, T of them analysed, h×w patch grid, N = h·w.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import backbones
from .analysis import Analysis
from .backbones import FRAMES_AT_ONCE_ON_CPU, Backbone, Features
from .correlator import TrainedCorrelator
from .errors import InputError
from .hierarchy import build_hierarchy, with_instances
from .instances import Looks, everywhere, instances, patch_looks
from .progress import Progress, Stage
from .roles import background
from .settings import FRAMES_ON_CPU, FRAMES_ON_CUDA, AttentionSource, Compute, Settings, grid_size
from .sources import attention_rows, check_channels, choose_source
from .tree import ClusterTree
from .video import ArrayClip, Clip, open_clip, sample_indices

_SHORT = "The memory of the GPU did not suffice, so the features were computed"
_SHORT_CLUSTERING = "The memory of the GPU did not suffice, so the clustering ran on the CPU."


def analyse(
    clip: str | Path | np.ndarray | Clip,
    settings: Settings | None = None,
    *,
    backbone: Backbone | None = None,
    include_frame: int | None = None,
    progress: Progress | None = None,
) -> Analysis:
    """Find the objects of a clip: the costly call.

    clip: a video file, a folder or zip of frames, (F, H, W, 3) uint8 RGB, or an open clip.
    backbone: one that is loaded already; None to load the one that the settings name.
    include_frame: a frame that must be among the analysed ones.
    progress: called with a stage name and the share done; what it raises stops the work.
    Raises InputError for clips and settings that cannot be used.
    """
    settings = settings or Settings()
    substitute = ""
    if backbone is None:
        name, substitute = backbones.resolve(settings.backbone, weights=settings.weights)
        settings = replace(settings, backbone=name)
    report = progress or _silent
    clock = _Clock(report)
    compute = Compute.choose(settings)
    opened = _opened(clip)
    with clock.stage(Stage.DECODE):
        analysed, frames = read_sample(opened, settings, compute, include_frame)
        missing = min(_frames_wanted(settings, compute), len(opened.times)) - len(frames)
    with clock.stage(Stage.FEATURES):
        backbone = backbone or backbones.load(
            settings.backbone,
            weights=settings.weights,
            layer=settings.layer,
            device=compute.device,
        )
        grid = grid_size(opened.size, backbone.patch, settings)
        images = backbones.to_images(frames, grid, backbone.patch)
        features, compute, memory = _encode(backbone, images, settings, compute, report)
    with clock.stage(Stage.CLUSTERING):
        source, correlator = choose_source(settings, features.channels, backbone.source)
        found, more = _cluster(features, source, correlator, settings, compute, report)
    saliency = _saliency(features)
    with clock.stage(Stage.INSTANCES):
        looks = patch_looks(frames, features.tokens, grid)
        found |= tell_apart(found["tree"], found["nearest"], looks, saliency, settings)
    return Analysis(
        settings=settings,
        clip_name=opened.name,
        times=opened.times,
        frame_names=opened.frame_names,
        analysed=analysed,
        frames=frames,
        grid=grid,
        queries=features.queries.half().cpu(),
        keys=features.keys.half().cpu(),
        framewise_scale=features.scale,
        saliency=saliency,
        notes=(
            *filter(None, (substitute, backbone.note)),
            *_notes(opened, analysed, missing),
            *memory,
            *more,
        ),
        timings=clock.seconds,
        peak_memory_mib=_peak_memory_mib(),
        **found,
    )


def recluster(
    analysis: Analysis, correlator: TrainedCorrelator | None, *, progress: Progress | None = None
) -> Analysis:
    """Find the objects anew by another correlator, from the features that are kept.

    correlator: a trained one, such as `training.adapt` gives; None for training-free keys.
    Frames, features and everything else that does not depend on it are shared with the old
    analysis, which stays as it is. Raises InputError for a correlator of
    another number of channels.
    """
    report = progress or _silent
    clock = _Clock(report)
    compute = Compute.choose(analysis.settings)
    features = analysis.features
    with clock.stage(Stage.CLUSTERING):
        if correlator:
            check_channels(correlator, features.channels, analysis.settings.backbone, "The block")
        source: AttentionSource = "correlator" if correlator else "key-similarity"
        found, memory = _cluster(features, source, correlator, analysis.settings, compute, report)
    with clock.stage(Stage.INSTANCES):
        about = analysis.looks, analysis.saliency, analysis.settings
        found |= tell_apart(found["tree"], found["nearest"], *about)
    return replace(
        analysis,
        **found,
        edits=(),
        notes=tuple(dict.fromkeys((*analysis.notes, *memory))),  # each once
        timings=analysis.timings | clock.seconds,
        peak_memory_mib=_peak_memory_mib(),
    )


def tell_apart(
    tree: ClusterTree,
    nearest: np.ndarray,
    looks: Looks,
    saliency: np.ndarray | None,
    settings: Settings,
) -> dict[str, Any]:
    """Return the tree and the nearest leaves with the instances of every cluster of the usual cut.

    Instances that are background are one: of scenery, nobody wants single pieces. In exact mode
    nothing is told apart, since the paper does not.
    """
    if settings.exact:
        return {}
    leaf_cluster = tree.cut(settings.tau)
    labels = leaf_cluster[nearest[..., 0]]
    count = int(leaf_cluster.max()) + 1
    found = {}
    for cluster in range(count):
        parts = instances(labels == cluster, looks)
        if parts is None:
            continue
        alone = np.where(parts >= 0, count + parts, labels)  # numbers after all clusters
        scenery = background(alone, count + parts.max() + 1, saliency)
        parts = _background_as_one(parts, scenery[count:])
        if parts.max() > 0:
            found[cluster] = everywhere(parts)
    divided, nearest = with_instances(tree, nearest, leaf_cluster, found, tau=settings.tau)
    return {"tree": divided, "nearest": nearest}


def _background_as_one(parts: np.ndarray, scenery: np.ndarray) -> np.ndarray:
    """Return parts (T, h, w) renumbered so that all that are background (K,) bool are one."""
    same = np.where(scenery, scenery.argmax(), np.arange(len(scenery)))
    number = np.unique(same, return_inverse=True)[1]
    return np.where(parts >= 0, number[parts], -1)


def _saliency(features: Features) -> np.ndarray | None:
    """Return what [CLS] attends to over the grid (T, h, w) float32, if there is a [CLS]."""
    if features.saliency is None:
        return None
    return features.saliency.cpu().numpy().reshape(-1, *features.grid)


def _encode(
    backbone: Backbone, images: Tensor, settings: Settings, compute: Compute, report: Progress
) -> tuple[Features, Compute, tuple[str, ...]]:
    """Features, where they were computed, and a note when the memory of the GPU did not suffice.

    Then fewer frames are taken at once, where that changes nothing, and at last the CPU.
    """
    most = at_once = _frames_at_once(backbone, images, compute)
    while True:
        try:
            features = _encode_parts(backbone, images, at_once, compute, report)
            notes = () if at_once == most else (f"{_SHORT} for {at_once} frames at a time.",)
            return features, compute, notes
        except torch.cuda.OutOfMemoryError:
            if at_once == 1 or not backbone.framewise:
                break
        at_once = -(-at_once // 2)
        torch.cuda.empty_cache()
    torch.cuda.empty_cache()
    compute = _on_cpu(settings)
    at_once = _frames_at_once(backbone, images, compute)
    features = _encode_parts(backbone.to(compute.device), images, at_once, compute, report)
    return features, compute, (f"{_SHORT} on the CPU.",)


def _frames_at_once(backbone: Backbone, images: Tensor, compute: Compute) -> int:
    few = backbone.framewise and not compute.on_cuda
    return FRAMES_AT_ONCE_ON_CPU if few else len(images)


def _encode_parts(
    backbone: Backbone, images: Tensor, at_once: int, compute: Compute, report: Progress
) -> Features:
    """Features of so many frames at a time; what is done is told after each part."""
    parts = []
    for part in images.split(at_once):
        parts.append(backbone.encode(part, compute))
        report(Stage.FEATURES, sum(len(done.keys) for done in parts) / len(images))
    return Features.joined(parts)


def _cluster(
    features: Features,
    source: AttentionSource,
    correlator: TrainedCorrelator | None,
    settings: Settings,
    compute: Compute,
    report: Progress,
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What `_cluster_on` gives, and a note when that took the CPU for want of GPU memory."""
    try:
        return _cluster_on(features, source, correlator, settings, compute, report), ()
    except torch.cuda.OutOfMemoryError:
        pass  # only after this are the tensors free that its traceback held
    torch.cuda.empty_cache()
    found = _cluster_on(features, source, correlator, settings, _on_cpu(settings), report)
    return found, (_SHORT_CLUSTERING,)


def _on_cpu(settings: Settings) -> Compute:
    return Compute.choose(replace(settings, device="cpu"))


def _cluster_on(
    features: Features,
    source: AttentionSource,
    correlator: TrainedCorrelator | None,
    settings: Settings,
    compute: Compute,
    report: Progress,
) -> dict[str, Any]:
    """The fields of an Analysis that depend on the correlator."""
    growth = build_hierarchy(
        attention_rows(features.to(compute.device), source, correlator, settings),
        settings,
        dtype=compute.dtype,
        progress=lambda share: report(Stage.CLUSTERING, share),
    )
    assignment, frames = growth.assignment, len(features.keys)
    per_patch = (frames, *features.grid, -1)
    return {
        "source": source,
        "correlator": correlator and correlator.to(torch.device("cpu")),
        "tree": growth.tree,
        "nearest": assignment.index.cpu().numpy().astype(np.int32).reshape(per_patch),
        "distance": assignment.distance.cpu().numpy().astype(np.float16).reshape(per_patch),
        "levels": growth.levels.reshape(-1, frames, *features.grid),
    }


def read_sample(
    clip: Clip, settings: Settings, compute: Compute, include_frame: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Frames to analyse: which they are (T,) int64, and they themselves (T, H, W, 3) uint8."""
    analysed = sample_indices(len(clip.times), _frames_wanted(settings, compute))
    if include_frame is not None and not 0 <= include_frame < len(clip.times):
        raise InputError(
            f"There is no frame {include_frame}; the clip has 0 to {len(clip.times) - 1}."
        )
    if include_frame is not None:  # it takes the place of the nearest one, so the number stays
        analysed[abs(analysed - include_frame).argmin()] = include_frame
    frames = np.stack(list(clip.read(analysed.tolist())))
    return analysed[: len(frames)], frames  # a damaged tail may have cost some


def _frames_wanted(settings: Settings, compute: Compute) -> int:
    return settings.frames or (FRAMES_ON_CUDA if compute.on_cuda else FRAMES_ON_CPU)


def _opened(clip: str | Path | np.ndarray | Clip) -> Clip:
    if isinstance(clip, np.ndarray):
        return ArrayClip.of(clip)
    return open_clip(clip) if isinstance(clip, str | Path) else clip


def _notes(clip: Clip, analysed: np.ndarray, missing: int) -> tuple[str, ...]:
    notes = []
    if missing:
        notes.append(f"The clip is damaged: {missing} of the frames to analyse could not be read.")
    if len(analysed) < len(clip.times):
        notes.append(
            f"{len(analysed)} of {len(clip.times)} frames were analysed, spread evenly; "
            "masks in between follow their neighbours in time."
        )
    return tuple(notes)


class _Clock:
    """Seconds per stage, and the news that a stage begins and ends."""

    def __init__(self, report: Progress):
        self.seconds: dict[str, float] = {}
        self._report = report

    @contextmanager
    def stage(self, name: Stage) -> Iterator[None]:
        """Time what happens inside."""
        self._report(name, 0.0)
        start = time.perf_counter()
        yield
        self.seconds[name.value] = time.perf_counter() - start
        self._report(name, 1.0)


def _silent(stage: Stage, share: float) -> None:
    """Report nothing."""


def _peak_memory_mib() -> float | None:
    if sys.platform == "win32":
        return None
    import resource  # absent on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 if sys.platform == "linux" else peak / 1024**2
