"""Two phases: `analyse(clip)` once, at a cost; then `segment` and `attend` in milliseconds.

F frames in the clip, T of them analysed, h×w patch grid, N = h·w, H heads of d channels, C = H·d,
L leaves of the hierarchy.
"""

from __future__ import annotations

import io
import json
import sys
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import backbones
from .attention import AttentionRows, centred_unit, key_frames, perplexity_scale
from .backbones import FRAMES_AT_ONCE_ON_CPU, Backbone, Features
from .correlator import TemporalCorrelator, untrained
from .download import local_file
from .edits import Edit
from .errors import InputError
from .files import replacing
from .hierarchy import ClusterTree, grow, with_instances
from .instances import Looks, everywhere, instances, patch_looks
from .masks import Segmentation, soft_membership
from .roles import background, seams
from .settings import (
    FRAMES_ON_CPU,
    FRAMES_ON_CUDA,
    SOURCES,
    Compute,
    Settings,
    Sources,
    grid_size,
)
from .trained import TrainedBlock, block_from, block_tensors, read_trained
from .video import ArrayClip, Clip, open_clip, sample_indices

Progress = Callable[[str, float], None]  # stage name, share of the stage done 0 … 1
FORMAT = 3  # of the analysis file
_CLUSTERING = "attention and clustering"  # the stage
_INSTANCES = "instances"  # the stage
_SHORT = "The memory of the GPU did not suffice, so the features were computed"
_SHORT_CLUSTERING = "The memory of the GPU did not suffice, so the clustering ran on the CPU."


@dataclass(frozen=True)
class Projection:
    """Queries and keys of one source of attention for all analysed frames."""

    queries: Tensor  # (T, H, N, d) float32
    keys: Tensor  # (T, H, N, d) float32
    scale: float

    def only(self, head: int) -> Projection:
        """One head of it."""
        one = slice(head, head + 1)
        return Projection(self.queries[:, one], self.keys[:, one], self.scale)


@dataclass(frozen=True, eq=False)
class Analysis:
    """What `analyse` found in one clip. Immutable, so threads may share it."""

    settings: Settings
    clip_name: str
    times: np.ndarray  # (F,) float64 seconds of all frames of the clip
    frame_names: tuple[str, ...]  # (F,)
    analysed: np.ndarray  # (T,) int64: which frames were analysed
    frames: np.ndarray  # (T, H, W, 3) uint8: those frames
    grid: tuple[int, int]  # (h, w)
    queries: Tensor  # (T, H, N, d) float16 on the CPU: the backbone's own
    keys: Tensor  # (T, H, N, d) float16
    framewise_scale: float
    source: Sources  # of the attention that was clustered
    block: TrainedBlock | None  # the trained block, if there is one
    tree: ClusterTree
    nearest: np.ndarray  # (T, h, w, k) int32: nearest leaves of every patch
    distance: np.ndarray  # (T, h, w, k) float16: their symmetric KL
    levels: np.ndarray  # (R, T, h, w) int32: clusters after the window merge and each global round
    saliency: np.ndarray | None  # (T, h, w) float32: what the backbone's [CLS] token attends to
    edits: tuple[Edit, ...] = ()  # what a person changed, in order
    notes: tuple[str, ...] = ()  # sentences that a user should see beside the result
    timings: dict[str, float] = field(default_factory=dict)  # seconds a stage
    peak_memory_mib: float | None = None  # of the process, where the system tells

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) pixels of the clip."""
        return self.frames.shape[1], self.frames.shape[2]

    @property
    def key_frames(self) -> np.ndarray:
        """Which frames of the clip served as key frames (K,) int64."""
        return self.analysed[key_frames(len(self.analysed), self.settings.key_every)]

    @property
    def nbytes(self) -> int:
        """Memory of its arrays, bytes."""
        arrays = (self.frames, self.nearest, self.distance, self.levels)
        return sum(array.nbytes for array in (*arrays, self.queries, self.keys))

    # ---- objects -------------------------------------------------------------------------------

    def segment(self, tau: float | None = None, *, clusters: int | None = None) -> Segmentation:
        """Return a cut of the hierarchy with the edits applied.

        It is made at symmetric KL `tau`, or into a number of clusters; without either, at the
        settings' τ. Takes milliseconds; a tenth of a second for
        every split among the edits. Raise InputError for τ ≤ 0.
        """
        if clusters is None:
            height = self.settings.tau if tau is None else tau
            if not height > 0:
                raise InputError(f"Tau is {height}; it must be above 0.")
            leaf_cluster = self.tree.cut(height)
        else:
            leaf_cluster = self.tree.cut_into(clusters)
            usual = self.tree.clusters_at(self.settings.tau) == clusters
            height = self.settings.tau if usual else self.tree.height_of(clusters)
        count = int(leaf_cluster.max()) + 1
        labels = leaf_cluster[self.nearest[..., 0]]
        soft = soft_membership(self.nearest, self.distance, leaf_cluster, count)
        scenery = background(labels, count, self.saliency)
        thin = seams(labels, scenery)
        cut = Segmentation(height, leaf_cluster, labels, soft, scenery, thin, cut=count)
        for edit in self.edits:
            cut = self._apply(edit, cut)
        return cut

    def edited(self, *edits: Edit) -> Analysis:
        """Return the same analysis with more edits; `segment` applies all of them in order."""
        return replace(self, edits=(*self.edits, *edits))

    def undone(self) -> Analysis:
        """Return the same analysis without the last edit."""
        return replace(self, edits=self.edits[:-1])

    def _apply(self, edit: Edit, cut: Segmentation) -> Segmentation:
        """Return an edited cut; one that the edit does not concern stays as it is."""
        if not edit.holds_at(cut.cut) or max(edit.clusters) >= cut.clusters:
            return cut
        match edit.action, edit.value:
            case "name", str(name):
                return cut.named({edit.cluster: name})
            case "role", ("object" | "background") as role:
                return cut.with_role(edit.cluster, role)
            case "merge", int(into):
                return cut.merged(edit.cluster, into)
        parts = self._parts(cut, edit.cluster)
        return cut if parts is None else cut.split(edit.cluster, parts)

    def _parts(self, cut: Segmentation, cluster: int) -> np.ndarray | None:
        """Return the parts of a cluster (T, h, w), or None where there is only one.

        They are its instances; if it holds one only, what the hierarchy divides it into first.
        """
        inside = cut.labels == cluster
        found = instances(inside, self.looks)
        if found is None:
            part_of_leaf = self.tree.first_parts(np.flatnonzero(cut.leaf_cluster == cluster))
            found = np.where(inside, part_of_leaf[self.nearest[..., 0]], -1)
            if len(np.unique(found[inside])) < 2:
                return None
        return everywhere(found)

    # ---- attention -----------------------------------------------------------------------------

    def sources(self) -> tuple[Sources, ...]:
        """Sources that `attend` can show: `learned` only with a trained block."""
        return tuple(s for s in SOURCES if s != "learned" or self.block is not None)

    def heads(self, source: Sources | None = None) -> int:
        """Number of heads of a source."""
        return self._projection(source).queries.shape[1]

    def attend(
        self,
        frame: int,
        y: float,
        x: float,
        *,
        head: int | None = None,
        source: Sources | None = None,
    ) -> np.ndarray:
        """Where the patch at pixel (y, x) of an analysed frame attends: (T, h, w) float32, sum 1.

        frame: position among the analysed frames, 0 … T-1. y, x: pixels of the clip, fractions
        allowed: queries between patch centres are interpolated. head: one head, or None for the
        mean of all. source: None for the one that was clustered.
        `framewise` compares, in every frame, that frame's own query at (y, x) with its own patches
        (paper, Fig. 1b); the others compare the query with all patches of all frames, `cross-frame`
        by the backbone's own queries, keys and scale.
        Raises InputError for a frame, point, head or source that does not exist.
        """
        return self.attend_all([(frame, y, x)], head=head, source=source)[0]

    def attend_all(
        self,
        queries: Sequence[tuple[int, float, float]],
        *,
        head: int | None = None,
        source: Sources | None = None,
    ) -> np.ndarray:
        """`attend` for several (frame, y, x) at once: (Q, T, h, w) float32, each sums to 1."""
        projection = self._projection(source)
        for query in queries:
            self._check_query(*query, head, projection.queries.shape[1])
        if head is not None:
            projection = projection.only(head)
        rows = projection.keys.new_empty(len(queries), len(self.frames), *self.grid)
        for row, query in zip(rows, queries, strict=True):
            row.copy_(self._row(projection, query, source == "framewise").unflatten(1, self.grid))
        return np.asarray(rows)

    def _row(
        self, projection: Projection, query: tuple[int, float, float], framewise: bool
    ) -> Tensor:
        """Mean over heads of one query's attention: (T, N) float32, sums to 1."""
        frame, y, x = query
        at = (y / self.size[0], x / self.size[1])
        keys = projection.keys
        if framewise:
            own = _interpolate(projection.queries, at, self.grid)  # (T, H, d): one a frame
            logits = torch.einsum("thd,thnd->htn", own, keys) * projection.scale
            return (logits.softmax(-1) / len(keys)).mean(0)
        one = _interpolate(projection.queries[frame : frame + 1], at, self.grid)[0]  # (H, d)
        logits = torch.einsum("hd,thnd->htn", one, keys) * projection.scale
        return logits.flatten(1).softmax(-1).view_as(logits).mean(0)

    def _check_query(self, frame: int, y: float, x: float, head: int | None, heads: int) -> None:
        height, width = self.size
        if not 0 <= frame < len(self.frames):
            raise InputError(
                f"There is no analysed frame {frame}; give 0 to {len(self.frames) - 1}."
            )
        if not (0 <= y <= height and 0 <= x <= width):
            raise InputError(
                f"The point x={x:g}, y={y:g} lies outside the {width}×{height} picture."
            )
        if head is not None and not 0 <= head < heads:
            raise InputError(f"There is no head {head}; this source has heads 0 to {heads - 1}.")

    def _projection(self, source: Sources | None) -> Projection:
        match source or self.source:
            case "framewise" | "cross-frame":
                return self._by_backbone
            case "keys":
                return self._by_keys
            case "untrained":
                return self._by_untrained
            case "learned" if self.block is not None:
                return self._by_learned
            case "learned":
                raise InputError(
                    "There is no trained block for this backbone; give one with --correlator FILE."
                )
            case unknown:
                raise InputError(f"Unknown source {unknown!r}; choose {', '.join(SOURCES)}.")

    @property
    def features(self) -> Features:
        """What the backbone gave, float32."""
        return Features(self.queries.float(), self.keys.float(), self.grid, self.framewise_scale)

    @property
    def tokens(self) -> Tensor:
        """Frame features (T, N, C) float32: keys with heads concatenated."""
        return self.features.tokens

    @cached_property
    def looks(self) -> Looks:
        """What instances are told apart by, besides place: see `instances.patch_looks`."""
        return patch_looks(self.frames, self.tokens, self.grid)

    @cached_property
    def _by_backbone(self) -> Projection:
        features = self.features
        return Projection(features.queries, features.keys, features.scale)

    @cached_property
    def _by_keys(self) -> Projection:
        return project_keys(self.tokens, self.settings)

    @cached_property
    def _by_untrained(self) -> Projection:
        return project(untrained(self.keys.shape[1] * self.keys.shape[3], seed=self.settings.seed),
                       self.tokens)  # fmt: skip

    @cached_property
    def _by_learned(self) -> Projection:
        assert self.block is not None
        return project(self.block, self.tokens)

    # ---- file ----------------------------------------------------------------------------------

    def save(self, path: Path) -> None:
        """Write everything to one .npz file, which holds plain arrays and no code."""
        arrays = {
            "times": self.times, "analysed": self.analysed, "frames": self.frames,
            "queries": self.queries.numpy(), "keys": self.keys.numpy(),
            "merges": self.tree.merges, "counts": self.tree.counts, "rows": self.tree.rows,
            "instances": self.tree.instances,
            "nearest": self.nearest, "distance": self.distance, "levels": self.levels,
        }  # fmt: skip
        if self.saliency is not None:
            arrays["saliency"] = self.saliency
        if self.block is not None:
            arrays |= {f"block.{k}": v.numpy() for k, v in block_tensors(self.block).items()}
        meta = {
            "format": FORMAT, "settings": self.settings.to_dict(), "clip_name": self.clip_name,
            "frame_names": self.frame_names, "grid": self.grid, "source": self.source,
            "framewise_scale": self.framewise_scale, "notes": self.notes,
            "edits": [edit.to_dict() for edit in self.edits],
            "timings": self.timings, "peak_memory_mib": self.peak_memory_mib,
            "block": self.block.metadata if self.block else {},
        }  # fmt: skip
        arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        with replacing(path) as part:
            part.write_bytes(buffer.getvalue())

    @classmethod
    def load(cls, path: Path) -> Analysis:
        """Read a file made by `save`. Raises InputError for anything else."""
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays: dict[str, Any] = dict(file)
            meta = json.loads(arrays.pop("meta").tobytes())
            if meta.pop("format") == FORMAT:
                return cls._from_parts(arrays, meta)
        except (OSError, ValueError, LookupError, TypeError, EOFError, AttributeError) as error:
            raise InputError(f"{path.name!r} is no sound analysis file of Bavos.") from error
        except (zipfile.BadZipFile, zlib.error) as error:
            raise InputError(f"{path.name!r} is damaged; analyse the clip again.") from error
        raise InputError(f"{path.name!r} was made by another version; analyse the clip again.")

    @classmethod
    def _from_parts(cls, arrays: dict[str, Any], meta: dict[str, Any]) -> Analysis:
        weights = {
            name.removeprefix("block."): torch.from_numpy(arrays.pop(name))
            for name in list(arrays)
            if name.startswith("block.")
        }
        parts = ("merges", "counts", "rows", "instances")
        tree = ClusterTree(*(arrays.pop(name) for name in parts))
        queries, keys = (torch.from_numpy(arrays.pop(name)) for name in ("queries", "keys"))
        meta |= {
            "settings": Settings.from_dict(meta["settings"]),
            "frame_names": tuple(meta["frame_names"]),
            "notes": tuple(meta["notes"]),
            "edits": tuple(map(Edit.from_dict, meta["edits"])),
            "grid": tuple(meta["grid"]),
        }
        about = meta.pop("block")
        block = block_from(weights, about, "the analysis file") if weights else None
        arrays.setdefault("saliency", None)
        return cls(**meta, **arrays, queries=queries, keys=keys, block=block, tree=tree)


def analyse(
    clip: str | Path | np.ndarray | Clip,
    settings: Settings | None = None,
    *,
    backbone: Backbone | None = None,
    also: int | None = None,
    progress: Progress | None = None,
) -> Analysis:
    """Find the objects of a clip: the costly call.

    clip: a video file, a folder or zip of frames, (F, H, W, 3) uint8 RGB, or an open clip.
    backbone: one that is loaded already; None to load the one that the settings name.
    also: a frame that must be among the analysed ones.
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
    with clock.stage("decode"):
        analysed, frames = read_sample(opened, settings, compute, also)
        missing = min(_frames_wanted(settings, compute), len(opened.times)) - len(frames)
    with clock.stage("features"):
        backbone = backbone or backbones.load(
            settings.backbone,
            weights=settings.weights,
            layer=settings.layer,
            device=compute.device,
        )
        grid = grid_size(opened.size, backbone.patch, settings)
        images = backbones.to_images(frames, grid, backbone.patch)
        features, compute, memory = _encode(backbone, images, settings, compute, report)
    with clock.stage(_CLUSTERING):
        source, block = choose_source(settings, features.channels, backbone.source)
        found, more = _cluster(features, source, block, settings, compute, report)
    saliency = _saliency(features)
    with clock.stage(_INSTANCES):
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
    analysis: Analysis, block: TrainedBlock | None, *, progress: Progress | None = None
) -> Analysis:
    """Find the objects anew by another correlator, from the features that are kept.

    block: a trained one, such as `training.adapt` gives; None for training-free keys.
    Frames, features and everything else that does not depend on it are shared with the old
    analysis, which stays as it is. Raises InputError for a block of another number of channels.
    """
    report = progress or _silent
    clock = _Clock(report)
    compute = Compute.choose(analysis.settings)
    features = analysis.features
    with clock.stage(_CLUSTERING):
        if block:
            _check_channels(block, features.channels, analysis.settings.backbone, "The block")
        source: Sources = "learned" if block else "keys"
        found, memory = _cluster(features, source, block, analysis.settings, compute, report)
    with clock.stage(_INSTANCES):
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
    features = _encode_parts(backbone.on_cpu(), images, at_once, compute, report)
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
        report("features", sum(len(done.keys) for done in parts) / len(images))
    return Features.joined(parts)


def _cluster(
    features: Features,
    source: Sources,
    block: TrainedBlock | None,
    settings: Settings,
    compute: Compute,
    report: Progress,
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What `_cluster_on` gives, and a note when that took the CPU for want of GPU memory."""
    try:
        return _cluster_on(features, source, block, settings, compute, report), ()
    except torch.cuda.OutOfMemoryError:
        pass  # only after this are the tensors free that its traceback held
    torch.cuda.empty_cache()
    found = _cluster_on(features, source, block, settings, _on_cpu(settings), report)
    return found, (_SHORT_CLUSTERING,)


def _on_cpu(settings: Settings) -> Compute:
    return Compute.choose(replace(settings, device="cpu"))


def _cluster_on(
    features: Features,
    source: Sources,
    block: TrainedBlock | None,
    settings: Settings,
    compute: Compute,
    report: Progress,
) -> dict[str, Any]:
    """The fields of an Analysis that depend on the correlator."""
    growth = grow(
        attention_rows(features.to(compute.device), source, block, settings),
        settings,
        dtype=compute.dtype,
        progress=lambda share: report(_CLUSTERING, share),
    )
    assignment, frames = growth.assignment, len(features.keys)
    per_patch = (frames, *features.grid, -1)
    return {
        "source": source,
        "block": block and block.to(torch.device("cpu")),
        "tree": growth.tree,
        "nearest": assignment.index.cpu().numpy().astype(np.int32).reshape(per_patch),
        "distance": assignment.distance.cpu().numpy().astype(np.float16).reshape(per_patch),
        "levels": growth.levels.reshape(-1, frames, *features.grid),
    }


def read_sample(
    clip: Clip, settings: Settings, compute: Compute, also: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Frames to analyse: which they are (T,) int64, and they themselves (T, H, W, 3) uint8."""
    analysed = sample_indices(len(clip.times), _frames_wanted(settings, compute))
    if also is not None and not 0 <= also < len(clip.times):
        raise InputError(f"There is no frame {also}; the clip has 0 to {len(clip.times) - 1}.")
    if also is not None:  # it takes the place of the nearest one, so the number stays
        analysed[abs(analysed - also).argmin()] = also
    frames = np.stack(list(clip.read(analysed.tolist())))
    return analysed[: len(frames)], frames  # a damaged tail may have cost some


def _frames_wanted(settings: Settings, compute: Compute) -> int:
    return settings.frames or (FRAMES_ON_CUDA if compute.on_cuda else FRAMES_ON_CPU)


def choose_source(
    settings: Settings, channels: int, preferred: Sources
) -> tuple[Sources, TrainedBlock | None]:
    """Return the attention to cluster, and the trained block if that is its source.

    preferred: the backbone's own choice, where the settings make none.
    Raise InputError for a correlator file that does not arrive or fit the backbone.
    """
    match settings.correlator:
        case "auto":
            return preferred, None
        case "cross-frame" | "keys" | "untrained" as chosen:
            return chosen, None
        case file:
            path = local_file(file)
    block = read_trained(path)
    _check_channels(block, channels, settings.backbone, path.name)
    return "learned", block


def _check_channels(block: TrainedBlock, channels: int, backbone: str, name: str) -> None:
    if block.channels != channels:
        raise InputError(
            f"{name} was trained on features of {block.channels} channels, and "
            f"{backbone} gives {channels}; choose the backbone that it was made for."
        )


def attention_rows(
    features: Features, source: Sources, block: TrainedBlock | None, settings: Settings
) -> AttentionRows:
    """The rows to cluster: every patch against the patches of the key frames."""
    tokens = features.tokens
    if source == "keys":
        found = project_keys(tokens, settings)
    elif source == "cross-frame":
        found = Projection(features.queries, features.keys, features.scale)
    else:
        used = block or untrained(features.channels, seed=settings.seed)
        found = project(used.to(tokens.device), tokens)
    chosen = key_frames(len(tokens), settings.key_every)
    return AttentionRows(found.queries, found.keys[chosen], found.scale)


def project(block: TemporalCorrelator | TrainedBlock, tokens: Tensor) -> Projection:
    """Queries and keys of a correlator for tokens (T, N, C)."""
    queries, keys = block.queries_keys(tokens)
    return Projection(queries, keys, block.scale)


def project_keys(tokens: Tensor, settings: Settings) -> Projection:
    """Training-free attention: mean-free, unit-length keys at the clip's own temperature."""
    unit = centred_unit(tokens)
    chosen = key_frames(len(tokens), settings.key_every)
    return Projection(unit, unit, perplexity_scale(unit, unit[chosen]))


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


def _interpolate(values: Tensor, at: tuple[float, float], grid: tuple[int, int]) -> Tensor:
    """Values (T, H, N, d) at a relative place (y, x) in 0 … 1, bilinear: (T, H, d)."""
    found: Tensor = values.new_zeros(*values.shape[:2], values.shape[3])
    spots = [_neighbours(part * side - 0.5, side) for part, side in zip(at, grid, strict=True)]
    for row, row_weight in spots[0]:
        for column, column_weight in spots[1]:
            found = found + row_weight * column_weight * values[:, :, row * grid[1] + column]
    return found


def _neighbours(position: float, side: int) -> tuple[tuple[int, float], tuple[int, float]]:
    """The two whole positions around one, and their weights."""
    position = min(max(position, 0.0), side - 1.0)
    low = int(position)
    return (low, 1 - (position - low)), (min(low + 1, side - 1), position - low)


class _Clock:
    """Seconds per stage, and the news that a stage begins and ends."""

    def __init__(self, report: Progress):
        self.seconds: dict[str, float] = {}
        self._report = report

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what happens inside."""
        self._report(name, 0.0)
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start
        self._report(name, 1.0)


def _silent(stage: str, share: float) -> None:
    """Report nothing."""


def _peak_memory_mib() -> float | None:
    if sys.platform == "win32":
        return None
    import resource  # absent on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 if sys.platform == "linux" else peak / 1024**2
