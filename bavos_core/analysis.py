"""The result of `analyse`: cut it with `segment`, look into it with `attend`, in milliseconds.

F frames in the clip, T of them analysed, h×w patch grid, N = h·w, H heads of d channels, C = H·d,
L leaves of the hierarchy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .attention import key_frames
from .backbones import Features
from .compat import current_source, renamed
from .correlator import TrainedCorrelator
from .edits import Edit
from .errors import InputError, echo
from .frozen import Frozen
from .instances import Looks, patch_colours, patch_looks
from .progress import checkpoint
from .render.palette import contrasting_colours
from .roles import BALLOT, background, seams
from .segmentation import Segmentation
from .settings import SOURCES, AttentionSource, Settings
from .sources import Projection, projection
from .tree import ClusterTree


@dataclass(frozen=True, eq=False)
class Analysis:
    """The result of `analyse` for one clip. Immutable, so threads may share it."""

    settings: Settings
    clip_name: str
    size: tuple[int, int]  # (H, W) pixels of the clip
    times: np.ndarray  # (F,) float64 seconds at which the frames of the clip are shown
    end: float  # seconds at which the last one ends
    frame_names: tuple[str, ...]  # (F,)
    analysed: np.ndarray  # (T,) int64: indices into the clip of the analysed frames
    frames: np.ndarray  # (T, H', W', 3) uint8: the analysed frames, shrunk if they are large
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
    saliency: np.ndarray | None  # (T, h, w) float32: attention of the backbone's [CLS] token
    part: tuple[float, float | None] = (0.0, None)  # of the file, as `Clip.part` says
    edits: tuple[Edit, ...] = ()  # a person's changes, in order
    notes: tuple[str, ...] = ()  # sentences that a user should see beside the result
    timings: Mapping[str, float] = field(default_factory=dict)  # seconds a stage; read-only
    peak_memory_mib: float | None = None  # of the process, where the system tells

    def __post_init__(self) -> None:
        object.__setattr__(self, "timings", Frozen(self.timings))

    @property
    def key_frames(self) -> np.ndarray:
        """Indices into the clip of the key frames (K,) int64."""
        return self.analysed[key_frames(len(self.analysed), self.settings.key_every)]

    @property
    def nbytes(self) -> int:
        """Memory of the arrays in bytes."""
        arrays = (self.frames, self.nearest, self.distance, self.levels)
        return sum(array.nbytes for array in (*arrays, self.queries, self.keys))

    @renamed(clusters="n_clusters")
    def segment(self, tau: float | None = None, *, n_clusters: int | None = None) -> Segmentation:
        """Return a cut of the hierarchy with the edits applied.

        The cut is at symmetric KL `tau`, or into `n_clusters`; without either, at the settings' τ.
        It takes milliseconds. Raise InputError for τ ≤ 0.
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
        cut = replace(self._unedited(height, leaf_cluster), colours=self.colours)
        for edit in self.edits:
            checkpoint()
            cut = self._apply(edit, cut)
        return cut

    def _unedited(self, height: float, leaf_cluster: np.ndarray) -> Segmentation:
        leaves, count = self.nearest[..., 0], int(leaf_cluster.max()) + 1
        tops = (self.tree.tops(times * height) for times in BALLOT)
        ballot = [np.unique(top, return_inverse=True)[1][leaves] for top in tops]
        scenery = background(leaf_cluster[leaves], count, self.saliency, ballot)
        return Segmentation(height, leaf_cluster, leaves, scenery, cut=count)

    @cached_property
    def seams(self) -> np.ndarray:
        """Leaves of seams at the settings' τ, (L,) bool: no pixels unless an object has them."""
        cut = self._unedited(self.settings.tau, self.tree.cut(self.settings.tau))
        return seams(cut.labels, cut.background)[cut.leaf_cluster]

    @cached_property
    def colours(self) -> np.ndarray:
        """Colours of the clusters by number, (255, 3) uint8, read-only: see render/palette.py."""
        cut = self._unedited(self.settings.tau, self.tree.cut(self.settings.tau))
        patches = patch_colours(self.frames, self.grid)
        colours = contrasting_colours(cut.labels, cut.background, patches)
        colours.flags.writeable = False
        return colours

    def edited(self, *edits: Edit) -> Analysis:
        """Return the same analysis with more edits; `segment` applies all of them in order."""
        return self._with(edits=(*self.edits, *edits))

    def undone(self) -> Analysis:
        """Return the same analysis without the last edit."""
        return self._with(edits=self.edits[:-1])

    def _with(self, edits: tuple[Edit, ...]) -> Analysis:
        """Return the same analysis with other edits, and with all that does not depend on them."""
        found = replace(self, edits=edits)
        vars(found).update({k: getattr(self, k) for k in ("colours", "seams", "_projections")})
        return found

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
        parts = self.tree.first_parts(np.flatnonzero(cut.leaf_cluster == edit.cluster))
        return cut.split(edit.cluster, parts) if parts.max() > 0 else cut

    def sources(self) -> tuple[AttentionSource, ...]:
        """Return the sources that `attend` can show; `correlator` needs a trained one."""
        return tuple(s for s in SOURCES if s != "correlator" or self.correlator is not None)

    def heads(self, source: AttentionSource | None = None) -> int:
        """Return the number of heads of a source."""
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
        """Return the attention of the patch at pixel (y, x): (T, h, w) float32, sum 1.

        sample_index: index into the analysed frames, 0 … T-1. y, x: pixels of the clip, fractions
        allowed; queries between patch centres are interpolated. head: None for the mean of all
        heads. source: None for the source that was clustered.
        `framewise` compares each frame's own query at (y, x) with that frame's patches (paper,
        Fig. 1b); the other sources compare one query with the patches of all frames.
        Raise InputError for a frame, point, head or source that does not exist.
        """
        return self.attend_all([(sample_index, y, x)], head=head, source=source)[0]

    def attend_all(
        self,
        queries: Sequence[tuple[int, float, float]],
        *,
        head: int | None = None,
        source: AttentionSource | None = None,
    ) -> np.ndarray:
        """Return the attention of several (sample_index, y, x): (Q, T, h, w) float32, sums 1."""
        projection = self._projection(source)
        for query in queries:
            self._check(query, head, projection.queries.shape[1])
        if head is not None:
            projection = projection.only(head)
        rows = projection.keys.new_empty(len(queries), len(self.frames), *self.grid)
        for row, query in zip(rows, queries, strict=True):
            row.copy_(self._row(projection, query, source == "framewise").unflatten(1, self.grid))
        return np.asarray(rows)

    def _row(
        self, projection: Projection, query: tuple[int, float, float], framewise: bool
    ) -> Tensor:
        """Return the mean over heads of one query's attention: (T, N) float32, sum 1."""
        sample_index, y, x = query
        at = (y / self.size[0], x / self.size[1])
        keys = projection.keys
        if framewise:
            own = _interpolate(projection.queries, at, self.grid)  # (T, H, d): one a frame
            logits = torch.einsum("thd,thnd->htn", own, keys) * projection.scale
            return (logits.softmax(-1) / len(keys)).mean(0)
        one = _interpolate(projection.queries[sample_index, None], at, self.grid)[0]  # (H, d)
        logits = torch.einsum("hd,thnd->htn", one, keys) * projection.scale
        return logits.flatten(1).softmax(-1).view_as(logits).mean(0)

    def _check(self, query: tuple[int, float, float], head: int | None, heads: int) -> None:
        sample_index, y, x = query
        (height, width), last = self.size, len(self.frames) - 1
        if not 0 <= sample_index <= last:
            raise InputError(f"There is no analysed frame {sample_index}; give 0 to {last}.")
        if not (0 <= y <= height and 0 <= x <= width):
            raise InputError(
                f"The point x={x:g}, y={y:g} lies outside the {width}×{height} picture."
            )
        if head is not None and not 0 <= head < heads:
            raise InputError(f"There is no head {head}; this source has heads 0 to {heads - 1}.")

    def _projection(self, source: AttentionSource | None) -> Projection:
        name = current_source(source) if source else self.source
        if name not in SOURCES:
            raise InputError(f"Unknown source {echo(name)}; choose {', '.join(SOURCES)}.")
        if name == "correlator" and self.correlator is None:
            raise InputError(
                "There is no trained correlator for this backbone; give one with --correlator FILE."
            )
        name = "cross-frame" if name == "framewise" else name  # the same queries and keys
        if name not in self._projections:
            block = self.correlator if name == "correlator" else None
            self._projections[name] = projection(self.features, name, block, self.settings)
        return self._projections[name]

    @cached_property
    def _projections(self) -> dict[str, Projection]:
        """Queries and keys of the sources that were asked for."""
        return {}

    @property
    def features(self) -> Features:
        """Features of the backbone, float32."""
        return Features(self.queries.float(), self.keys.float(), self.grid, self.framewise_scale)

    @property
    def tokens(self) -> Tensor:
        """Frame features (T, N, C) float32: keys with heads concatenated."""
        return self.features.tokens

    @cached_property
    def looks(self) -> Looks:
        """Colour and features of every patch, to tell instances apart: see `patch_looks`."""
        return patch_looks(self.frames, self.tokens, self.grid)

    def save(self, path: Path) -> None:
        """Write the analysis to one .npz file of plain arrays, without code."""
        from .archive import save  # here, since it imports this module

        save(self, path)

    @classmethod
    def load(cls, path: Path) -> Analysis:
        """Return the analysis in a file of `save`. Raise InputError for any other file."""
        from .archive import load

        return load(path)


def _interpolate(values: Tensor, at: tuple[float, float], grid: tuple[int, int]) -> Tensor:
    """Return values (T, H, N, d) at a relative place (y, x) in 0 … 1, bilinear: (T, H, d)."""
    found: Tensor = values.new_zeros(*values.shape[:2], values.shape[3])
    spots = [_neighbours(part * side - 0.5, side) for part, side in zip(at, grid, strict=True)]
    for row, row_weight in spots[0]:
        for column, column_weight in spots[1]:
            found = found + row_weight * column_weight * values[:, :, row * grid[1] + column]
    return found


def _neighbours(position: float, side: int) -> tuple[tuple[int, float], tuple[int, float]]:
    """Return the two whole positions around one, and their weights."""
    position = min(max(position, 0.0), side - 1.0)
    low = int(position)
    return (low, 1 - (position - low)), (min(low + 1, side - 1), position - low)
