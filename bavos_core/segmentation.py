"""One cut of the hierarchy: labels, membership, roles and names.

T analysed frames, h×w patch grid, L leaves, C clusters.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from .edits import Role
from .errors import InputError
from .frozen import Frozen

_SOFTNESS = 0.3  # symmetric KL over which membership falls by e
UNLIKELY = 1e-4  # membership of a place that colour can still outweigh


@dataclass(frozen=True)
class Segmentation:
    """One cut of the hierarchy."""

    tau: float  # height of the cut
    leaf_cluster: np.ndarray  # (L,) int64: cluster of every leaf
    labels: np.ndarray  # (T, h, w) int64: cluster of every patch
    soft: Tensor  # (T, C, h, w) float32: membership, sums to 1 over C
    background: np.ndarray  # (C,) bool: the role of every cluster, an object or background
    thin: np.ndarray  # (C,) bool: seams (see roles), which get no pixels unless they are objects
    names: Mapping[int, str] = field(default_factory=dict)  # of clusters that a person named
    cut: int = 0  # clusters of the hierarchy's cut, before any edit
    # numbers of the parts of every cluster that was split, its own first
    splits: Mapping[int, tuple[int, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", Frozen(self.names))
        object.__setattr__(self, "splits", Frozen(self.splits))

    @property
    def clusters(self) -> int:
        """Number of clusters C."""
        return len(self.background)

    @property
    def objects(self) -> list[int]:
        """Clusters that hold patches and are not background."""
        return [cluster for cluster in self.present if not self.background[cluster]]

    @functools.cached_property
    def membership(self) -> Tensor:
        """Return `soft` without the seams, from which pixel masks are made (T, C, h, w)."""
        return without_seams(self.soft, self.thin & self.background)

    @property
    def present(self) -> list[int]:
        """Clusters that hold patches, objects and background."""
        return np.unique(self.labels).tolist()

    def name(self, cluster: int) -> str:
        """Return the name of a cluster."""
        usual = f"{self.role(cluster).capitalize()} {cluster + 1}"
        return self.names.get(cluster) or usual

    def role(self, cluster: int) -> Role:
        """Return the role of a cluster."""
        return "background" if self.background[cluster] else "object"

    def named(self, names: Mapping[int, str]) -> Segmentation:
        """Return the same with names for some clusters; "" restores the usual name."""
        return replace(self, names={**self.names, **names})

    def with_role(self, cluster: int, role: Role) -> Segmentation:
        """Return the same with a cluster as an object or as background.

        Raise InputError for a cluster that does not exist.
        """
        self._check(cluster)
        background = self.background.copy()
        background[cluster] = role == "background"
        return replace(self, background=background)

    def merged(self, cluster: int, into: int) -> Segmentation:
        """Return the same with all of one cluster given to another; the first is then empty.

        The others keep their numbers, and so their colours. Raise InputError for clusters that do
        not exist or are the same.
        """
        self._check(cluster)
        self._check(into)
        if cluster == into:
            raise InputError(f"Cluster {cluster} cannot be merged into itself; give another one.")
        soft, background, thin = self.soft.clone(), self.background.copy(), self.thin.copy()
        soft[:, into] += soft[:, cluster]
        soft[:, cluster] = 0
        background[into] &= background[cluster]
        thin[into] &= thin[cluster]
        return replace(
            self,
            leaf_cluster=np.where(self.leaf_cluster == cluster, into, self.leaf_cluster),
            labels=np.where(self.labels == cluster, into, self.labels),
            soft=soft,
            background=background,
            thin=thin,
        )

    def split(self, cluster: int, parts: np.ndarray) -> Segmentation:
        """Return the same with one cluster divided: part 0 keeps its number, others get new ones.

        parts (T, h, w) int 0 … K-1: the part of every patch; outside the cluster, the part that it
        would belong to. The leaves of the hierarchy stay with part 0, and all parts have the
        cluster's role. Raise InputError for a cluster that does not exist.
        """
        self._check(cluster)
        count = int(parts.max()) + 1
        numbers = np.array([cluster, *range(self.clusters, self.clusters + count - 1)])
        where = F.one_hot(torch.from_numpy(parts), count).permute(0, 3, 1, 2)  # (T, K, h, w)
        shares = self.soft[:, cluster, None] * where
        soft = torch.cat([self.soft, shares[:, 1:]], dim=1)
        soft[:, cluster] = shares[:, 0]
        known = self.splits.get(cluster, (cluster,))
        return replace(
            self,
            splits={**self.splits, cluster: (*known, *numbers[1:].tolist())},
            labels=np.where(self.labels == cluster, numbers[parts], self.labels),
            soft=soft,
            background=np.append(self.background, np.repeat(self.background[cluster], count - 1)),
            thin=np.append(self.thin, np.repeat(self.thin[cluster], count - 1)),
        )

    def _check(self, cluster: int) -> None:
        if not 0 <= cluster < self.clusters:
            raise InputError(
                f"There is no cluster {cluster}; give one from 0 to {self.clusters - 1}."
            )


def soft_membership(
    index: np.ndarray, distance: np.ndarray, leaf_cluster: np.ndarray, clusters: int
) -> Tensor:
    """Return how much each patch belongs to each cluster, from its nearest leaves.

    index and distance (T, h, w, k), leaf_cluster (L,) → (T, C, h, w) float32: a softmax of the
    negative distances, summed over the leaves of each cluster.
    """
    weight = (-torch.from_numpy(distance.astype(np.float32)) / _SOFTNESS).softmax(-1)
    cluster = torch.from_numpy(leaf_cluster[index])  # (T, h, w, k)
    soft = weight.new_zeros(*index.shape[:3], clusters).scatter_add_(3, cluster, weight)
    return soft.permute(0, 3, 1, 2).contiguous()


def without_seams(soft: Tensor, seams: np.ndarray) -> Tensor:
    """Return membership (T, C, h, w) with that of the seams (C,) bool given to the other clusters.

    Each patch keeps the proportions that are left. Where nothing is left, it is as the nearest
    patch of its frame; a frame of nothing but seams stays as it is.
    """
    kept = soft.clone()
    kept[:, torch.from_numpy(seams)] = 0
    total = kept.sum(1, keepdim=True)  # (T, 1, h, w)
    for frame, before, left in zip(kept, soft, total[:, 0] > UNLIKELY, strict=True):
        if not left.any():
            frame[:] = before
        elif not left.all():
            rows, columns = nearest_place(left.numpy())
            frame[:] = frame[:, rows, columns]
    return kept / kept.sum(1, keepdim=True)


def nearest_place(where: np.ndarray) -> np.ndarray:
    """Return row and column of the nearest true place of every place: (h, w) bool → (2, h, w)."""
    found: np.ndarray = ndimage.distance_transform_edt(
        ~where, return_distances=False, return_indices=True
    )
    return found
