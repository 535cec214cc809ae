"""The clustering is the paper's: checked against one written with loops, for clarity alone."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from scipy.special import rel_entr

from bavos_core import attention as attention_module
from bavos_core import clustering
from bavos_core.attention import AttentionRows
from bavos_core.clustering import (
    LogRows,
    assign,
    centroids_of,
    find_clusters,
    greedy_merge,
    self_distances,
    smooth,
    symmetric_kl,
)

from .helpers import plain_attention, plain_kl, random_rows, rows_of

TOO_CLOSE = 1e-4  # float32 and float64 may disagree on which side of τ such a distance lies


# ---- the paper's procedure, written plainly -----------------------------------------------------


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

    def merge(self, rows: np.ndarray) -> np.ndarray:
        free, centroids = list(range(len(rows))), []
        while free:
            near = self.near(rows[free[0]], rows[free])
            near[0] = True
            centroids.append(rows[[i for i, n in zip(free, near, strict=True) if n]].mean(0))
            free = [i for i, n in zip(free, near, strict=True) if not n]
        return np.stack(centroids)

    def clusters(self, rows: np.ndarray, window: int) -> np.ndarray:
        starts = range(0, len(rows), window)
        parts = [self.merge(self.smooth(rows[start : start + window])) for start in starts]
        centroids = np.concatenate(parts)
        while len(merged := self.merge(centroids)) < len(centroids):
            centroids = merged
        return merged

    def assign(self, rows: np.ndarray, centroids: np.ndarray) -> np.ndarray:
        distances = np.stack([plain_kl(row, centroids) for row in rows])
        if len(centroids) > 1:
            two = np.sort(distances, axis=1)[:, :2]
            self.margin = min(self.margin, (two[:, 1] - two[:, 0]).min())
        return distances.argmin(1)


def float64_rows(attention: AttentionRows) -> np.ndarray:
    return plain_attention(attention.queries, attention.keys, attention.scale).mean(0)


def prototype_rows(rng: np.random.Generator, frames: int, patches: int, width: int) -> np.ndarray:
    """Rows near a few prototypes."""
    prototypes = rng.dirichlet(np.full(width, 0.5), 4)
    mixed = prototypes[rng.integers(0, 4, frames * patches)]
    noise = rng.dirichlet(np.ones(width), frames * patches)
    share = rng.choice([0.02, 0.1, 0.3])
    return (1 - share) * mixed + share * noise


def gradient_rows(rng: np.random.Generator, frames: int, patches: int, width: int) -> np.ndarray:
    """A slow walk from one distribution to another: no natural clusters, all depends on order."""
    first, last = rng.dirichlet(np.ones(width), 2)
    share = np.linspace(0, 1, frames * patches)[:, None]
    return (1 - share) * first + share * last


def random_case(seed: int) -> tuple[AttentionRows, float]:
    """A small clip of one kind or another, and a τ."""
    rng = np.random.default_rng(seed)
    frames, keys, patches = (int(rng.integers(1, most + 1)) for most in (7, 3, 8))
    tau = float(rng.choice([0.05, 0.25, 0.5, 1.0, 2.0]))
    if seed % 3 == 0:
        heads, scale = int(rng.integers(1, 5)), float(rng.choice([0.3, 0.7, 1.5]))
        case = random_rows(rng, frames=frames, keys=keys, heads=heads, patches=patches, scale=scale)
    else:
        kind = (gradient_rows, prototype_rows)[seed % 3 - 1]
        case = rows_of(kind(rng, frames, patches, keys * patches), frames=frames, keys=keys)
    return case, tau


def decided_cases(seeds: range) -> Iterator[tuple[AttentionRows, float, np.ndarray, np.ndarray]]:
    """Cases with the oracle's centroids and labels, but for those that rounding could decide."""
    for seed in seeds:
        attention, tau = random_case(seed)
        oracle, rows = Oracle(tau), float64_rows(attention)
        centroids = oracle.clusters(rows, window=3 * attention.patches)
        labels = oracle.assign(rows, centroids)
        if oracle.margin > TOO_CLOSE:
            yield attention, tau, centroids, labels


def test_centroids_and_labels_are_those_of_the_plain_procedure() -> None:
    counts = []
    for attention, tau, centroids, labels in decided_cases(range(220)):
        found = find_clusters(attention, tau)
        assert found.shape == centroids.shape
        np.testing.assert_allclose(found.numpy(), centroids, atol=1e-5)
        assert (assign(attention, found).labels.flatten().numpy() == labels).all()
        counts.append((len(centroids), len(labels)))
    assert len(counts) >= 120  # and among them many with something to decide
    assert sum(1 < clusters < rows for clusters, rows in counts) >= 50


@pytest.mark.parametrize("zeros", [0.2, 0.6, 0.9])
def test_rows_with_exact_zeros_are_clustered_as_by_the_plain_procedure(zeros: float) -> None:
    rng = np.random.default_rng(0)
    prototypes = np.where(rng.random((3, 20)) < zeros, 0, rng.random((3, 20)))
    prototypes[:, 0] = 0.01  # so that none is 0 all over
    rows = prototypes[np.arange(40) % 3] * (1 + 0.2 * rng.random((40, 20)))
    attention = rows_of(rows / rows.sum(1, keepdims=True), frames=4, keys=2)
    assert (attention.rows(0, 4) == 0).any()
    oracle = Oracle(1.0)
    expected = oracle.clusters(float64_rows(attention), window=30)
    found = find_clusters(attention, 1.0)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)
    assigned = assign(attention, found, nearest=3)
    assert assigned.distance.isfinite().all()
    assert (assigned.labels.flatten().numpy() == np.arange(40) % 3).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_one_hot_rows_give_a_cluster_each_and_no_nan(dtype: torch.dtype) -> None:
    attention = rows_of(np.eye(6), frames=1, keys=1)
    centroids = find_clusters(attention, 1.0, dtype=dtype)
    torch.testing.assert_close(centroids, torch.eye(6))
    assigned = assign(attention, centroids, nearest=6, dtype=dtype)
    assert assigned.distance.isfinite().all()
    assert assigned.labels.tolist() == [[0, 1, 2, 3, 4, 5]]


@pytest.mark.parametrize("frames", [1, 3, 4])
def test_identical_rows_are_one_cluster(frames: int) -> None:
    row = np.random.default_rng(0).dirichlet(np.ones(12))
    attention = rows_of(np.tile(row, (frames * 6, 1)), frames=frames, keys=2)
    centroids = find_clusters(attention, 1e-3)
    np.testing.assert_allclose(centroids.numpy(), row[None], atol=1e-6)
    assert (assign(attention, centroids).labels == 0).all()


def test_one_patch_of_one_frame_is_one_cluster() -> None:
    attention = rows_of([[1.0]], frames=1, keys=1)
    centroids = find_clusters(attention, 1.0)
    assert centroids.tolist() == [[1.0]]
    assert assign(attention, centroids).labels.tolist() == [[0]]


def test_an_endless_tau_gives_one_cluster_and_a_tiny_one_a_cluster_per_row() -> None:
    attention = random_rows(np.random.default_rng(0), frames=4, patches=5)
    assert len(find_clusters(attention, 1e6)) == 1
    assert len(find_clusters(attention, 1e-6)) == 20


# ---- distances ----------------------------------------------------------------------------------


def test_the_distance_is_the_sum_of_both_kl_divergences() -> None:
    rng = np.random.default_rng(0)
    p, q = rng.dirichlet(np.ones(15), 9), rng.dirichlet(np.ones(15), 5)
    both = rel_entr(p[:, None], q).sum(-1) + rel_entr(q, p[:, None]).sum(-1)
    found = symmetric_kl(log_rows(p), log_rows(q)).numpy()
    np.testing.assert_allclose(found, both, rtol=1e-5, atol=1e-5)


def test_a_probability_of_zero_counts_as_the_smallest_normal_float() -> None:
    p, q = np.array([[0.5, 0.5, 0.0]]), np.array([[0.2, 0.3, 0.5], [0.0, 0.0, 1.0]])
    found = symmetric_kl(log_rows(p), log_rows(q)).numpy()
    assert plain_kl(p, q).min() > 40  # -log of that number is 87
    np.testing.assert_allclose(found[0], plain_kl(p, q), rtol=1e-5)


def test_distances_within_a_set_are_symmetric_and_those_of_all_pairs() -> None:
    rows = log_rows(np.random.default_rng(1).dirichlet(np.ones(15), 9))
    found = self_distances(rows)
    torch.testing.assert_close(found, found.T)
    torch.testing.assert_close(found, symmetric_kl(rows, rows), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.diagonal(), torch.zeros(9), rtol=0, atol=1e-5)


def test_a_common_shift_of_rows_and_logs_changes_no_distance() -> None:
    rng = np.random.default_rng(2)
    rows = torch.tensor(rng.dirichlet(np.ones(15), 9)).float()
    centre = (torch.tensor(rng.normal(size=15)).float(), torch.tensor(rng.normal(size=15)).float())
    plain, shifted = (LogRows.of(rows, c, torch.float32) for c in (None, centre))
    torch.testing.assert_close(self_distances(plain), self_distances(shifted), rtol=1e-4, atol=1e-4)


def test_bfloat16_distances_are_close_when_rows_are_shifted_by_their_mean() -> None:
    rng = np.random.default_rng(3)
    rows = torch.tensor(prototype_rows(rng, 4, 12, 48)).float()
    centre = (rows.mean(0), rows.log().mean(0))
    exact = self_distances(LogRows.of(rows, None, torch.float32))
    rough = self_distances(LogRows.of(rows, centre, torch.bfloat16))
    torch.testing.assert_close(rough, exact, rtol=0.03, atol=0.03)


def log_rows(rows: np.ndarray) -> LogRows:
    return LogRows.of(torch.tensor(rows).float(), None, torch.float32)


# ---- single steps, by hand ----------------------------------------------------------------------


def test_smoothing_averages_the_rows_within_tau_and_always_the_row_itself() -> None:
    rows = torch.tensor([[0.8, 0.2], [0.6, 0.4], [0.1, 0.9]])
    distances = torch.tensor([[9.0, 1.0, 3.0], [1.0, 0.0, 2.0], [3.0, 2.0, 0.0]])
    found = smooth(rows, distances, 1.0, torch.float32)
    torch.testing.assert_close(found, torch.tensor([[0.7, 0.3], [0.7, 0.3], [0.1, 0.9]]))


def test_the_first_free_row_absorbs_what_is_near_to_it_not_to_what_it_absorbed() -> None:
    chain = np.array([[0.9, 0.1], [0.7, 0.3], [0.5, 0.5], [0.1, 0.9]])
    step, two_steps = plain_kl(chain[0], chain[1]), plain_kl(chain[0], chain[2])
    assert plain_kl(chain[1], chain[2]) < step < two_steps
    assert greedy_merge(log_rows(chain), float(step) + 0.01).tolist() == [0, 0, 1, 2]


def test_a_row_that_rounding_puts_far_from_itself_is_a_cluster_of_its_own() -> None:
    rows = log_rows(np.random.default_rng(0).dirichlet(np.ones(6), 4))
    unsure = LogRows(rows.p, rows.log, rows.own + 1.0)  # now every distance is 2 more
    assert self_distances(unsure).diagonal().min() > 1.5
    assert greedy_merge(unsure, 0.5).tolist() == [0, 1, 2, 3]


def test_centroids_are_plain_means_of_their_members() -> None:
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    found = centroids_of(rows, np.array([0, 1, 0]))
    torch.testing.assert_close(found, torch.tensor([[0.75, 0.25], [0.0, 1.0]]))


@pytest.mark.parametrize("nearest", [1, 3, 50])
def test_assignment_lists_the_nearest_centroids_first(nearest: int) -> None:
    attention = random_rows(np.random.default_rng(5), frames=4, keys=2, patches=6)
    centroids = np.random.default_rng(6).dirichlet(np.ones(12), 5)
    found = assign(attention, torch.tensor(centroids).float(), nearest=nearest)
    distances = np.stack([plain_kl(row, centroids) for row in float64_rows(attention)])
    k = min(nearest, 5)
    assert found.index.shape == (4, 6, k)
    assert (found.index.reshape(24, k).numpy() == distances.argsort(1)[:, :k]).all()
    np.testing.assert_allclose(
        found.distance.reshape(24, k).numpy(), np.sort(distances, 1)[:, :k], rtol=1e-4, atol=1e-5
    )


# ---- fast path equals plain path ----------------------------------------------------------------


@pytest.mark.parametrize("seeds_at_once", [1, 2, 7])
@pytest.mark.parametrize("rows_at_once", [1, 5, 10_000])
def test_the_result_does_not_depend_on_block_sizes(seeds_at_once, rows_at_once, monkeypatch):
    cases = [random_case(seed) for seed in range(60, 84)]
    before = [find_clusters(*case) for case in cases]
    labels = [assign(case[0], c).labels for case, c in zip(cases, before, strict=True)]
    monkeypatch.setattr(clustering, "_SEEDS_AT_ONCE", seeds_at_once)
    monkeypatch.setattr(clustering, "_ROWS_AT_ONCE", rows_at_once)
    monkeypatch.setattr(attention_module, "_ROWS_AT_ONCE", rows_at_once)
    for case, expected, label in zip(cases, before, labels, strict=True):
        found = find_clusters(*case)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
        assert torch.equal(assign(case[0], found).labels, label)


def test_more_rows_than_one_block_of_seeds_are_merged_alike(monkeypatch) -> None:
    rows = log_rows(np.random.default_rng(0).dirichlet(np.full(12, 0.3), 700))
    found = greedy_merge(rows, 0.5)
    assert found.max() > 300  # clusters, so that the second block matters
    monkeypatch.setattr(clustering, "_SEEDS_AT_ONCE", 1)
    assert (greedy_merge(rows, 0.5) == found).all()


@pytest.mark.parametrize("seed", range(8))
def test_bfloat16_finds_the_same_clusters_where_they_are_clear(seed: int) -> None:
    rng = np.random.default_rng(seed)
    prototypes = rng.dirichlet(np.full(40, 0.4), 5) + 1e-3
    truth = rng.integers(0, 5, 7 * 20)
    rows = prototypes[truth] * np.exp(0.15 * rng.normal(size=(140, 40)))
    attention = rows_of(rows / rows.sum(1, keepdims=True), frames=7, keys=2)
    exact = find_clusters(attention, 0.5)
    rough = find_clusters(attention, 0.5, dtype=torch.bfloat16)
    assert len(exact) == len(rough) == 5
    torch.testing.assert_close(rough, exact, rtol=0.05, atol=2e-3)
    rough_labels = assign(attention, rough, dtype=torch.bfloat16).labels
    assert torch.equal(rough_labels, assign(attention, exact).labels)


# ---- progress and refusals ----------------------------------------------------------------------


@pytest.mark.parametrize("frames", [1, 3, 4, 7])
def test_progress_rises_to_one(frames: int) -> None:
    attention = random_rows(np.random.default_rng(0), frames=frames)
    clustering_shares, assignment_shares = [], []
    centroids = find_clusters(attention, 1.0, progress=clustering_shares.append)
    assign(attention, centroids, progress=assignment_shares.append)
    for shares in (clustering_shares, assignment_shares):
        assert shares == sorted(shares)
        assert shares[-1] == 1.0
        assert len(shares) == -(-frames // 3)


@pytest.mark.parametrize("tau", [0, -1.0, float("nan")])
def test_a_tau_that_is_not_above_zero_raises_a_value_error(tau: float) -> None:
    with pytest.raises(ValueError, match="tau must be above 0"):
        find_clusters(random_rows(np.random.default_rng(0)), tau)
