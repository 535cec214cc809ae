"""From a clip to its analysis: `analyse`, the costly call, and `recluster`.

F frames in the clip, T of them analysed, h×w patch grid, N = h·w.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bavos_io.clip import ArrayClip, Clip
from bavos_io.opening import open_clip
from bavos_io.sampling import stacked

from . import backbones
from .analysis import Analysis
from .backbones import FRAMES_AT_ONCE_ON_CPU, Backbone, Features
from .correlator import TrainedCorrelator
from .errors import InputError
from .hierarchy import build_hierarchy, with_instances
from .instances import Looks, everywhere, instances, patch_looks
from .progress import Progress, Stage, checkpoint, reporting, silent
from .roles import background
from .settings import FRAMES_ON_CPU, FRAMES_ON_CUDA, AttentionSource, Compute, Settings, grid_size
from .sources import attention_rows, check_channels, choose_source
from .tree import ClusterTree

READ_SIDE = 1920  # pixels of the longer side of the frames that the backbone's input is made from
PREVIEW_SIDE = 1024  # and of those that are kept
_SHORT = "The GPU did not have enough memory, so"


@reporting
def analyse(
    clip: str | Path | np.ndarray | Clip,
    settings: Settings | None = None,
    *,
    backbone: Backbone | None = None,
    include_frame: int | None = None,
    progress: Progress = silent,
) -> Analysis:
    """Find the objects of a clip: the costly call.

    clip: a video file, a folder or zip of frames, (F, H, W, 3) uint8 RGB, or an open clip.
    backbone: one that is loaded already; None to load the one that the settings name.
    include_frame: index into the clip of a frame that must be among the analysed ones.
    progress: called with a stage and the share done; an exception that it raises stops the work.
    Raise InputError for clips and settings that cannot be used.
    """
    settings, substitute = settings or Settings(), ""
    if backbone is None:
        name, substitute = backbones.resolve(settings.backbone, weights=settings.weights)
        settings = replace(settings, backbone=name)
    run, opened = _Run(settings, Compute.choose(settings), progress), _opened(clip)
    with run.timed(Stage.FEATURES):
        backbone = backbone or _backbone(run)
    grid = grid_size(opened.size, backbone.patch, settings)
    kept = max(PREVIEW_SIDE, max(grid) * backbone.patch)
    with run.stage(Stage.DECODE):
        read = opened.resized(max(READ_SIDE, kept))
        analysed, frames = read_sample(read, settings, run.compute, include_frame, run.progress)
        notes = _notes(opened, analysed)
    with run.stage(Stage.FEATURES):
        images = backbones.to_images(frames, grid, backbone.patch)  # before they are shrunk
        frames = stacked(ArrayClip.of(frames).resized(kept).read(), len(frames))
        features, run, short = _encode(run, backbone, images)
        del images  # as large as everything else together
    with run.stage(Stage.CLUSTERING):
        source, correlator = choose_source(settings, features.channels, backbone.source)
        found = _cluster(run, features, source, correlator)
    with run.stage(Stage.INSTANCES):
        looks = patch_looks(frames, features.tokens, grid)
        found = tell_apart(found, looks, _saliency(features), settings)
    notes = [substitute, backbone.note, *notes, *short, *found.notes]
    return _result(run, opened, analysed, frames, features, found, notes)


def _backbone(run: _Run) -> Backbone:
    named, device = run.settings, run.compute.device
    return backbones.load(named.backbone, weights=named.weights, layer=named.layer, device=device)


def _result(
    run: _Run, clip: Clip, analysed: np.ndarray, frames: np.ndarray, features: Features,
    found: Found, notes: list[str],
) -> Analysis:  # fmt: skip
    return Analysis(
        settings=run.settings,
        clip_name=clip.name,
        size=clip.size,
        part=clip.part,
        times=clip.times,
        end=clip.end,
        frame_names=clip.frame_names,
        analysed=analysed,
        frames=frames,
        grid=features.grid,
        queries=features.queries.half().cpu(),
        keys=features.keys.half().cpu(),
        framewise_scale=features.scale,
        saliency=_saliency(features),
        **{**vars(found), "notes": tuple(filter(None, notes))},
        timings={s.value: run.seconds[s.value] for s in Stage if s.value in run.seconds},
        peak_memory_mib=_peak_memory_mib(),
    )


@reporting
def recluster(
    analysis: Analysis, correlator: TrainedCorrelator | None, *, progress: Progress = silent
) -> Analysis:
    """Find the objects again with another correlator, from the features that are kept.

    correlator: a trained one, such as `bavos_lab.training.adapt` returns; None for training-free
    keys. Everything that does not depend on it is shared with the old analysis, which stays as it
    is. Raise InputError for a correlator of another number of channels.
    """
    settings, features = analysis.settings, analysis.features
    run = _Run(settings, Compute.choose(settings), progress)
    source: AttentionSource = "correlator" if correlator else "key-similarity"
    with run.stage(Stage.CLUSTERING):
        if correlator:
            check_channels(correlator, features.channels, settings.backbone, "The correlator")
        found = _cluster(run, features, source, correlator)
    with run.stage(Stage.INSTANCES):
        found = tell_apart(found, analysis.looks, analysis.saliency, settings)
    return replace(
        analysis,
        **{**vars(found), "notes": tuple(dict.fromkeys((*analysis.notes, *found.notes)))},
        edits=(),
        timings={**analysis.timings, **run.seconds},
        peak_memory_mib=_peak_memory_mib(),
    )


@dataclass(frozen=True)
class Found:
    """The fields of an Analysis that depend on the source of attention."""

    source: AttentionSource
    correlator: TrainedCorrelator | None
    tree: ClusterTree
    nearest: np.ndarray  # (T, h, w, k) int32
    distance: np.ndarray  # (T, h, w, k) float16
    levels: np.ndarray  # (R, T, h, w) int32
    notes: tuple[str, ...] = ()


def tell_apart(
    found: Found, looks: Looks, saliency: np.ndarray | None, settings: Settings
) -> Found:
    """Return the same with the clusters at the settings' τ divided into instances.

    Instances that are background stay together. In exact mode nothing is divided, as in the paper.
    """
    if settings.exact:
        return found
    tree, nearest = found.tree, found.nearest
    leaf_cluster = tree.cut(settings.tau)
    labels = leaf_cluster[nearest[..., 0]]
    count = int(leaf_cluster.max()) + 1
    divided = {}
    for cluster in range(count):
        checkpoint()
        parts = instances(labels == cluster, looks)
        if parts is None:
            continue
        alone = np.where(parts >= 0, count + parts, labels)  # numbers after all clusters
        scenery = background(alone, count + parts.max() + 1, saliency)
        parts = _background_as_one(parts, scenery[count:])
        if parts.max() > 0:
            divided[cluster] = everywhere(parts)
    tree, nearest = with_instances(tree, nearest, leaf_cluster, divided, tau=settings.tau)
    return replace(found, tree=tree, nearest=nearest)


def _background_as_one(parts: np.ndarray, scenery: np.ndarray) -> np.ndarray:
    """Return parts (T, h, w) renumbered so that all that are background (K,) bool are one."""
    same = np.where(scenery, scenery.argmax(), np.arange(len(scenery)))
    number = np.unique(same, return_inverse=True)[1]
    return np.where(parts >= 0, number[parts], -1)


def _saliency(features: Features) -> np.ndarray | None:
    """Return the attention of [CLS] over the grid (T, h, w) float32, if there is a [CLS]."""
    if features.saliency is None:
        return None
    return features.saliency.cpu().numpy().reshape(-1, *features.grid)


def _encode(
    run: _Run, backbone: Backbone, images: Tensor
) -> tuple[Features, _Run, tuple[str, ...]]:
    """Return features, the run that goes on, and a note if the GPU's memory did not suffice.

    In that case fewer frames are taken at once, if the backbone takes each by itself; if even one
    is too many, the run goes on with the CPU.
    """
    most = at_once = _frames_at_once(run, backbone, images)
    while True:
        try:
            features = _encode_parts(run, backbone, images, at_once)
            few = f"{_SHORT} the features were computed for {at_once} frames at a time."
            return features, run, () if at_once == most else (few,)
        except torch.cuda.OutOfMemoryError:
            if at_once == 1 or not backbone.framewise:
                break
        at_once = -(-at_once // 2)
        torch.cuda.empty_cache()
    torch.cuda.empty_cache()
    run = run.on_cpu()
    backbone = backbone.to(run.compute.device)
    features = _encode_parts(run, backbone, images, _frames_at_once(run, backbone, images))
    return features, run, (f"{_SHORT} the features were computed on the CPU.",)


def _frames_at_once(run: _Run, backbone: Backbone, images: Tensor) -> int:
    few = backbone.framewise and not run.compute.on_cuda
    return FRAMES_AT_ONCE_ON_CPU if few else len(images)


def _encode_parts(run: _Run, backbone: Backbone, images: Tensor, at_once: int) -> Features:
    parts = []
    for part in images.split(at_once):
        parts.append(backbone.encode(part, run.compute))
        run.progress(Stage.FEATURES, sum(len(done.keys) for done in parts) / len(images))
    return Features.joined(parts)


def _cluster(
    run: _Run, features: Features, source: AttentionSource, correlator: TrainedCorrelator | None
) -> Found:
    """Cluster the attention of a source, on the CPU if the GPU's memory does not suffice."""
    try:
        return _cluster_on(run, features, source, correlator)
    except torch.cuda.OutOfMemoryError:
        pass  # only after this are the tensors free that its traceback held
    torch.cuda.empty_cache()
    found = _cluster_on(run.on_cpu(), features, source, correlator)
    return replace(found, notes=(f"{_SHORT} the clustering ran on the CPU.",))


def _cluster_on(
    run: _Run, features: Features, source: AttentionSource, correlator: TrainedCorrelator | None
) -> Found:
    rows = attention_rows(features.to(run.compute.device), source, correlator, run.settings)
    growth = build_hierarchy(rows, run.settings, dtype=run.compute.dtype, progress=run.progress)
    frames = len(features.keys)
    per_patch = (frames, *features.grid, -1)
    return Found(
        source=source,
        correlator=correlator and correlator.to(torch.device("cpu")),
        tree=growth.tree,
        nearest=growth.assignment.index.cpu().numpy().astype(np.int32).reshape(per_patch),
        distance=growth.assignment.distance.cpu().numpy().astype(np.float16).reshape(per_patch),
        levels=growth.levels.reshape(-1, frames, *features.grid),
    )


def read_sample(
    clip: Clip,
    settings: Settings,
    compute: Compute,
    include_frame: int | None = None,
    progress: Progress = silent,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the frames to analyse: indices into the clip (T,) int64, (T, H, W, 3) uint8."""
    wanted = settings.frames or (FRAMES_ON_CUDA if compute.on_cuda else FRAMES_ON_CPU)
    found = clip.sample(wanted, include_frame, lambda share: progress(Stage.DECODE, share))
    if include_frame is not None and not 0 <= include_frame < len(clip.times):
        raise InputError(
            f"There is no frame {include_frame}; the clip has 0 to {len(clip.times) - 1}."
        )
    return found


def _opened(clip: str | Path | np.ndarray | Clip) -> Clip:
    if isinstance(clip, np.ndarray):
        return ArrayClip.of(clip)
    return open_clip(clip) if isinstance(clip, str | Path) else clip


def _notes(clip: Clip, analysed: np.ndarray) -> list[str]:
    notes = []
    if clip.damaged:
        notes.append("The clip is damaged; frames that could not be decoded are missing.")
    if len(analysed) < len(clip.times):
        notes.append(
            f"{len(analysed)} of {len(clip.times)} frames were analysed, spread evenly; "
            "masks in between follow their neighbours in time."
        )
    return notes


@dataclass(frozen=True)
class _Run:
    """One run of the pipeline: what it shall do, where, and how long each stage took."""

    settings: Settings
    compute: Compute
    progress: Progress
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        """Time a block of code as a stage; report its begin and end."""
        self.progress(stage, 0.0)
        with self.timed(stage):
            yield
        self.progress(stage, 1.0)

    @contextmanager
    def timed(self, stage: Stage) -> Iterator[None]:
        """Add the time of a block of code to that of a stage."""
        start = time.perf_counter()
        yield
        self.seconds[stage.value] = self.seconds.get(stage.value, 0) + time.perf_counter() - start

    def on_cpu(self) -> _Run:
        """Return the same run, going on with the CPU."""
        return replace(self, compute=Compute.choose(replace(self.settings, device="cpu")))


def _peak_memory_mib() -> float | None:
    if sys.platform == "win32":
        return None
    import resource  # absent on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 if sys.platform == "linux" else peak / 1024**2
