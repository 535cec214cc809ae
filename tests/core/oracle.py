"""The paper's clustering, written with loops for clarity alone, in float64."""

import functools

import numpy as np

from bavos_core.clustering import assign, find_clusters
from bavos_core.distances import Windows

from .helpers import float64_rows, plain_kl, random_case

TOO_CLOSE = 1e-4  # float32 and float64 may disagree on which side of τ such a distance lies


class Oracle:
    """Steps of the paper, in float64, row by row. Remembers how close any decision was."""

    def __init__(self, tau: float):
        self.tau = tau
        self.margin = np.inf

    def near(self, row: np.ndarray, others: np.ndarray) -> np.ndarray:
        distances = plain_kl(row, others)
        self.margin = min(self.margin, np.abs(distances - self.tau).min())
        return distances <= self.tau

    def smooth(self, rows: np.ndarray) -> np.ndarray:
        sums = np.stack([rows[self.near(row, rows)].sum(0) for row in rows])
        return sums / sums.sum(1, keepdims=True)

    def merge(self, rows: np.ndarray) -> list[list[int]]:
        """The rows of each cluster."""
        free, clusters = list(range(len(rows))), []
        while free:
            near = self.near(rows[free[0]], rows[free])
            near[0] = True
            clusters.append([i for i, n in zip(free, near, strict=True) if n])
            free = [i for i, n in zip(free, near, strict=True) if not n]
        return clusters

    def cluster(self, rows: np.ndarray, window: int) -> tuple[np.ndarray, list[list[set[int]]]]:
        """Centroids, and of every level the set of rows that lie in each cluster."""
        found, centroids = [], []
        for start in range(0, len(rows), window):
            smoothed = self.smooth(rows[start : start + window])
            for members in self.merge(smoothed):
                found.append({start + i for i in members})
                centroids.append(smoothed[members].mean(0))
        levels = [found]
        while len(merged := self.merge(np.stack(centroids))) < len(centroids):
            centroids = [np.mean([centroids[i] for i in members], axis=0) for members in merged]
            levels.append([set().union(*(levels[-1][i] for i in members)) for members in merged])
        return np.stack(centroids), levels

    def assign(self, rows: np.ndarray, centroids: np.ndarray) -> np.ndarray:
        distances = np.stack([plain_kl(row, centroids) for row in rows])
        if len(centroids) > 1:
            two = np.sort(distances, axis=1)[:, :2]
            self.margin = min(self.margin, (two[:, 1] - two[:, 0]).min())
        return distances.argmin(1)


@functools.cache
def decided(seed: int) -> tuple[np.ndarray, list[list[set[int]]], np.ndarray] | None:
    """The oracle's centroids, levels and labels of a case; None where rounding could decide."""
    attention, tau = random_case(seed)
    oracle, rows = Oracle(tau), float64_rows(attention)
    centroids, levels = oracle.cluster(rows, window=3 * attention.patches)
    labels = oracle.assign(rows, centroids)
    return (centroids, levels, labels) if oracle.margin > TOO_CLOSE else None


def members(labels: np.ndarray) -> list[set[int]]:
    """The rows of each cluster, from the cluster of each row."""
    return [set(np.flatnonzero(labels == c).tolist()) for c in range(labels.max() + 1)]


def check_against_the_oracle(seed: int) -> None:
    attention, tau = random_case(seed)
    centroids, levels, labels = decided(seed)
    found = find_clusters(Windows(attention), tau)
    assert found.centroids.shape == centroids.shape
    np.testing.assert_allclose(found.centroids.numpy(), centroids, atol=1e-5)
    assert [members(level) for level in found.levels()] == levels
    assert (assign(Windows(attention), found.centroids).labels.flatten().numpy() == labels).all()
