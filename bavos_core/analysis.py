"""What a result is: `segment` and `attend` in milliseconds.

F frames in the clip, T of them analysed, h×w patch grid, N = h·w, H heads of d channels, C = H·d,
L leaves of the hierarchy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .attention import key_frames
from .backbones import Features
from .compat import current_source, renamed
from .correlator import TrainedCorrelator, untrained
from .edits import Edit
from .errors import InputError
from .instances import Looks, everywhere, instances, patch_looks
from .roles import BALLOT, background, seams
from .segmentation import Segmentation, soft_membership
from .settings import SOURCES, AttentionSource, Settings
from .sources import Projection, project, project_keys
from .tree import ClusterTree


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
    source: AttentionSource  # of the attention that was clustered
    correlator: TrainedCorrelator | None  # the trained one, if there is one
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

    @renamed(clusters="n_clusters")
    def segment(self, tau: float | None = None, *, n_clusters: int | None = None) -> Segmentation:
        """Return a cut of the hierarchy with the edits applied.

        It is made at symmetric KL `tau`, or into a number of clusters; without either, at the
        settings' τ. Takes milliseconds; a tenth of a second for
        every split among the edits. Raise InputError for τ ≤ 0.
        """
        if n_clusters is None:
            height = self.settings.tau if tau is None else tau
            if not height > 0:
                raise InputError(f"Tau is {height}; it must be above 0.")
            leaf_cluster = self.tree.cut(height)
        else:
            leaf_cluster = self.tree.cut_into(n_clusters)
            usual = self.tree.clusters_at(self.settings.tau) == n_clusters
            height = self.settings.tau if usual else self.tree.height_of(n_clusters)
        count = int(leaf_cluster.max()) + 1
        labels = leaf_cluster[self.nearest[..., 0]]
        soft = soft_membership(self.nearest, self.distance, leaf_cluster, count)
        scenery = background(labels, count, self.saliency, self._ballot(height))
        thin = seams(labels, scenery)
        cut = Segmentation(height, leaf_cluster, labels, soft, scenery, thin, cut=count)
        for edit in self.edits:
            cut = self._apply(edit, cut)
        return cut

    def _ballot(self, height: float) -> list[np.ndarray]:
        """Return the labels (T, h, w) of the cuts that vote on the roles of a cut at a height."""
        tops = (self.tree.tops(times * height) for times in BALLOT)
        return [np.unique(top, return_inverse=True)[1][self.nearest[..., 0]] for top in tops]

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

    def sources(self) -> tuple[AttentionSource, ...]:
        """Return the sources that `attend` can show: `correlator` only with a trained one."""
        return tuple(s for s in SOURCES if s != "correlator" or self.correlator is not None)

    def heads(self, source: AttentionSource | None = None) -> int:
        """Number of heads of a source."""
        return self._projection(source).queries.shape[1]

    @renamed(frame="sample_index")
    def attend(
        self,
        sample_index: int,
        y: float,
        x: float,
        *,
        head: int | None = None,
        source: AttentionSource | None = None,
    ) -> np.ndarray:
        """Where the patch at pixel (y, x) of an analysed frame attends: (T, h, w) float32, sum 1.

        sample_index: position among the analysed frames, 0 … T-1. y, x: pixels of the clip,
        fractions allowed: queries between patch centres are interpolated. head: one head, or None
        for the mean of all. source: None for the one that was clustered.
        `framewise` compares, in every frame, that frame's own query at (y, x) with its own patches
        (paper, Fig. 1b); the others compare the query with all patches of all frames, `cross-frame`
        by the backbone's own queries, keys and scale.
        Raises InputError for a frame, point, head or source that does not exist.
        """
        return self.attend_all([(sample_index, y, x)], head=head, source=source)[0]

    def attend_all(
        self,
        queries: Sequence[tuple[int, float, float]],
        *,
        head: int | None = None,
        source: AttentionSource | None = None,
    ) -> np.ndarray:
        """`attend` for several (sample_index, y, x): (Q, T, h, w) float32, each sums to 1."""
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

    def _projection(self, source: AttentionSource | None) -> Projection:
        match current_source(source) if source else self.source:
            case "framewise" | "cross-frame":
                return self._by_backbone
            case "key-similarity":
                return self._by_keys
            case "untrained":
                return self._by_untrained
            case "correlator" if self.correlator is not None:
                return self._by_learned
            case "correlator":
                raise InputError(
                    "This backbone has no trained correlator; give one with --correlator FILE."
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
        assert self.correlator is not None
        return project(self.correlator, self.tokens)

    def save(self, path: Path) -> None:
        """Write everything to one .npz file, which holds plain arrays and no code."""
        from .archive import save  # which knows what an Analysis is

        save(self, path)

    @classmethod
    def load(cls, path: Path) -> Analysis:
        """Return what `save` wrote. Raise InputError for any other file."""
        from .archive import load

        return load(path)


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
