"""One cut of the hierarchy: which leaves make a cluster, roles and names.

T analysed frames, h×w patch grid, L leaves, C clusters.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from .edits import Role
from .errors import InputError
from .frozen import Frozen
from .render.palette import usual_colours


@dataclass(frozen=True)
class Segmentation:
    """One cut of the hierarchy."""

    tau: float  # height of the cut
    leaf_cluster: np.ndarray  # (L,) int64: cluster of every leaf
    leaves: np.ndarray  # (T, h, w) int: leaf of every patch
    background: np.ndarray  # (C,) bool: the role of every cluster, an object or background
    names: Mapping[int, str] = field(default_factory=dict)  # of clusters that a person named
    cut: int = 0  # clusters of the hierarchy's cut, before any edit
    # numbers of the parts of every cluster that was split, its own first
    splits: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    colours: np.ndarray = field(default_factory=usual_colours)  # (255, 3) uint8, by number

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
    def labels(self) -> np.ndarray:
        """Cluster of every patch (T, h, w) int64."""
        return self.leaf_cluster[self.leaves]

    @property
    def present(self) -> list[int]:
        """Clusters that hold patches, objects and background."""
        return np.unique(self.labels).tolist()

    def name(self, cluster: int) -> str:
        """Return the name of a cluster."""
        usual = f"{self.role(cluster).capitalize()} {cluster + 1}"
        return self.names.get(cluster) or usual

    def colour(self, cluster: int) -> tuple[int, int, int]:
        """Return the colour of a cluster on screen, RGB 0 … 255."""
        red, green, blue = self.colours[cluster % len(self.colours)].tolist()
        return red, green, blue

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
        background = self.background.copy()
        background[into] &= background[cluster]
        leaf_cluster = np.where(self.leaf_cluster == cluster, into, self.leaf_cluster)
        return replace(self, leaf_cluster=leaf_cluster, background=background)

    def split(self, cluster: int, parts: np.ndarray) -> Segmentation:
        """Return the same with one cluster divided: part 0 keeps its number, others get new ones.

        parts (L,): the part of every leaf of the cluster, 0 … K-1. All parts have the cluster's
        role. Raise InputError for a cluster that does not exist.
        """
        self._check(cluster)
        inside = self.leaf_cluster == cluster
        new = range(self.clusters, self.clusters + int(parts[inside].max(initial=0)))
        leaf_cluster = self.leaf_cluster.copy()
        leaf_cluster[inside] = np.array([cluster, *new])[parts[inside]]
        known = self.splits.get(cluster, (cluster,))
        return replace(
            self,
            leaf_cluster=leaf_cluster,
            splits={**self.splits, cluster: (*known, *new)},
            background=np.append(self.background, np.repeat(self.background[cluster], len(new))),
        )

    def _check(self, cluster: int) -> None:
        if not 0 <= cluster < self.clusters:
            raise InputError(
                f"There is no cluster {cluster}; give one from 0 to {self.clusters - 1}."
            )
