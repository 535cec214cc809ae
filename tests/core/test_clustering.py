"""The clustering is the paper's: checked against one written with loops, for clarity alone."""

import functools
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, rel_entr

from bavos_core import attention as attention_module
from bavos_core import clustering
from bavos_core import distances as distances_module
from bavos_core.attention import AttentionRows
from bavos_core.clustering import (
    Assignment,
    Clusters,
    assign,
    centroids_of,
    find_clusters,
    greedy_merge,
    like_groups,
    merge_globally,
    merge_window,
    smooth,
)
from bavos_core.distances import (
    HeadRows,
    LogRows,
    OneHead,
    Sketch,
    Windows,
    near_pairs,
    self_distances,
    symmetric_kl,
)
from bavos_core.progress import Stage

from .helpers import (
    float64_rows,
    plain_kl,
    prototype_rows,
    random_case,
    random_rows,
    refines,
    rows_of,
)

TOO_CLOSE = 1e-4  # float32 and float64 may disagree on which side of τ such a distance lies
ENDLESS = 1e6  # a τ above every distance

seeds = st.integers(0, 2**32 - 1)


def clear_tau(distances: np.ndarray, share: float) -> float:
    """A τ under about this share of the distances, as far as can be from any of them."""
    ordered = np.sort(distances[np.triu_indices(len(distances), 1)])
    place = int(share * (len(ordered) - 1))
    around = ordered[max(0, place - 10) : place + 10]
    widest = np.diff(around).argmax() if len(around) > 1 else 0
    return float(np.mean(around[widest : widest + 2])) if len(around) > 1 else 1.0


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


@pytest.mark.parametrize("first", range(0, 480, 60))
def test_centroids_levels_and_labels_are_those_of_the_plain_procedure(first: int) -> None:
    for seed in range(first, first + 60):
        if decided(seed):
            check_against_the_oracle(seed)


def test_the_plain_procedure_was_asked_about_cases_of_every_kind() -> None:
    cases = [(random_case(seed)[0], decided(seed)) for seed in range(480)]
    cases = [(attention, *answer) for attention, answer in cases if answer]
    assert len(cases) >= 300
    for wanted in (
        lambda attention, *_: attention.heads == 1,
        lambda attention, *_: attention.heads > 1,
        lambda attention, *_: attention.frames > 3 and attention.frames % 3,
        lambda attention, centroids, *_: 1 < len(centroids) < len(float64_rows(attention)),
        lambda attention, centroids, levels, labels: len(levels) > 1,
    ):
        assert sum(bool(wanted(*case)) for case in cases) >= 100


@pytest.mark.parametrize("zeros", [0.2, 0.6, 0.9])
@pytest.mark.parametrize("heads", [1, 3])
def test_rows_with_exact_zeros_are_clustered_as_by_the_plain_procedure(zeros, heads) -> None:
    rng = np.random.default_rng(0)
    prototypes = np.where(rng.random((3, 20)) < zeros, 0, rng.random((3, 20)))
    prototypes[:, 0] = 0.01  # so that none is 0 all over
    rows = prototypes[np.arange(40) % 3] * (1 + 0.2 * rng.random((40, 20)))
    rows = np.tile(rows / rows.sum(1, keepdims=True), (heads, 1, 1))
    attention = rows_of(rows, frames=4, keys=2)
    assert (attention.rows(0, 4) == 0).any()
    expected, levels = Oracle(1.0).cluster(float64_rows(attention), window=30)
    found = find_clusters(Windows(attention), 1.0)
    np.testing.assert_allclose(found.centroids.numpy(), expected, atol=1e-5)
    assert [members(level) for level in found.levels()] == levels
    assigned = assign(Windows(attention), found.centroids, nearest=3)
    assert assigned.distance.isfinite().all()
    assert (assigned.labels.flatten().numpy() == np.arange(40) % 3).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("heads", [1, 3])
def test_one_hot_rows_give_a_cluster_each_and_no_nan(heads: int, dtype: torch.dtype) -> None:
    attention = rows_of(np.tile(np.eye(6), (heads, 1, 1)), frames=1, keys=1)
    found = find_clusters(Windows(attention, dtype), 1.0)
    torch.testing.assert_close(found.centroids, torch.eye(6))
    assigned = assign(Windows(attention, dtype), found.centroids, nearest=6)
    assert assigned.distance.isfinite().all()
    assert assigned.labels.tolist() == [[0, 1, 2, 3, 4, 5]]


# ---- inputs with one right answer ---------------------------------------------------------------


@pytest.mark.parametrize("frames", [1, 3, 4])
@pytest.mark.parametrize("heads", [1, 2])
def test_identical_rows_are_one_cluster(frames: int, heads: int) -> None:
    row = np.random.default_rng(0).dirichlet(np.ones(12))
    attention = rows_of(np.tile(row, (heads, frames * 6, 1)), frames=frames, keys=2)
    found = find_clusters(Windows(attention), 1e-3)
    np.testing.assert_allclose(found.centroids.numpy(), row[None], atol=1e-6)
    assert (found.levels()[-1] == 0).all()
    assert (assign(Windows(attention), found.centroids).labels == 0).all()


@pytest.mark.parametrize("frames", [1, 2, 3, 8])
@pytest.mark.parametrize("heads", [1, 3])
def test_one_patch_a_frame_and_one_key_frame_is_one_cluster(frames: int, heads: int) -> None:
    rng = np.random.default_rng(frames)
    attention = random_rows(rng, frames=frames, heads=heads, patches=1)  # all rows are [1]
    found = find_clusters(Windows(attention), 1e-3)
    assert found.centroids.tolist() == [[1.0]]
    assert [len(set(level)) for level in found.levels()] == ([1] if frames <= 3 else [3, 1])
    assigned = assign(Windows(attention), found.centroids, nearest=8)
    assert assigned.index.tolist() == [[[0]]] * frames
    assert assigned.distance.abs().max() < 1e-6
    assert assigned.mean_rows.tolist() == [[1.0]]


def test_one_patch_of_one_frame_is_one_cluster() -> None:
    attention = rows_of([[1.0]], frames=1, keys=1)
    found = find_clusters(Windows(attention), 1.0)
    assert found.centroids.tolist() == [[1.0]]
    assert [level.tolist() for level in found.levels()] == [[0]]
    assigned = assign(Windows(attention), found.centroids)
    assert (assigned.labels.tolist(), assigned.mean_rows.tolist()) == ([[0]], [[1.0]])


def test_one_frame_has_one_window_whose_two_kinds_of_patch_are_two_clusters() -> None:
    rows = np.array([[0.9, 0.05, 0.05], [0.05, 0.9, 0.05], [0.9, 0.05, 0.05]])
    found = find_clusters(Windows(rows_of(rows, frames=1, keys=1)), 1.0)
    np.testing.assert_allclose(found.centroids.numpy(), rows[:2], atol=1e-6)
    assert [level.tolist() for level in found.levels()] == [[0, 1, 0]]


def test_one_patch_a_frame_is_told_apart_by_the_key_frames_that_it_looks_at() -> None:
    rows = np.array([[0.9, 0.1], [0.1, 0.9], [0.9, 0.1], [0.1, 0.9], [0.9, 0.1]])
    found = find_clusters(Windows(rows_of(rows, frames=5, keys=2)), 1.0)
    np.testing.assert_allclose(found.centroids.numpy(), rows[:2], atol=1e-6)
    assert [level.tolist() for level in found.levels()] == [[0, 1, 0, 2, 3], [0, 1, 0, 1, 0]]


def test_an_endless_tau_gives_one_cluster_and_a_tiny_one_a_cluster_per_row() -> None:
    attention = random_rows(np.random.default_rng(0), frames=4, patches=5)
    assert len(find_clusters(Windows(attention), ENDLESS).centroids) == 1
    assert len(find_clusters(Windows(attention), 1e-6).centroids) == 20


# ---- levels -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_each_level_merges_the_one_before_and_the_first_never_spans_two_windows(dtype) -> None:
    rounds = 0
    for seed in range(150):
        attention, tau = random_case(seed)
        found = find_clusters(Windows(attention, dtype), tau)
        levels, patches = found.levels(), attention.frames * attention.patches
        for level in levels:
            assert (level.dtype, level.shape) == (np.int64, (patches,))
            assert set(level) == set(range(level.max() + 1))
        assert refines(levels[0], np.arange(patches) // (3 * attention.patches))
        for finer, coarser in pairwise(levels):
            assert refines(finer, coarser)
            assert coarser.max() < finer.max()
        assert levels[-1].max() + 1 == len(found.centroids)
        rounds += len(levels) > 1
    assert rounds > 50


def test_levels_by_hand() -> None:
    first, second = np.array([0, 1, 0, 2, 3]), np.array([0, 1, 1, 0])
    clusters = Clusters(torch.eye(1), (first, second, np.array([0, 0])))
    assert [level.tolist() for level in clusters.levels()] == [
        [0, 1, 0, 2, 3], [0, 1, 0, 1, 0], [0, 0, 0, 0, 0],
    ]  # fmt: skip


def test_merging_on_with_a_larger_tau_adds_levels_and_keeps_those_before() -> None:
    grew = 0
    for seed in range(60):
        attention, tau = random_case(seed)
        before = find_clusters(Windows(attention), tau)
        after = merge_globally(before, 4 * tau)
        for old, new in zip(before.levels(), after.levels(), strict=False):
            assert (old == new).all()
        assert (len(after.centroids) < len(before.centroids)) == (
            len(after.members) > len(before.members)
        )
        distances = plain_kl(after.centroids[:, None], after.centroids)
        assert (distances[~np.eye(len(distances), dtype=bool)] > 4 * tau - 1e-4).all()
        grew += len(after.members) > len(before.members)
    assert grew > 10


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


def test_taking_logs_leaves_the_rows_as_they_were() -> None:
    rows = torch.tensor(np.random.default_rng(4).dirichlet(np.ones(15), 300)).float()
    before = rows.clone()
    LogRows.of(rows)
    assert torch.equal(rows, before)


@pytest.mark.parametrize("width", [1, 15, 299, 300])
def test_rows_of_few_columns_are_not_thinned(width: int) -> None:
    rows = log_rows(np.random.default_rng(5).dirichlet(np.ones(width), 9))
    thin = rows.thinned()
    assert torch.equal(thin.p, rows.p) and torch.equal(thin.log, rows.log)


def test_distances_of_thinned_rows_are_roughly_those_of_the_rows() -> None:
    rows = log_rows(np.random.default_rng(6).dirichlet(np.ones(4600), 9))
    thin = rows.thinned()
    assert 250 < thin.p.shape[1] < 400
    off_diagonal = ~torch.eye(9, dtype=torch.bool)
    found, expected = (self_distances(form)[off_diagonal] for form in (thin, rows))
    torch.testing.assert_close(found, expected, rtol=0.3, atol=0)


def log_rows(rows: np.ndarray) -> LogRows:
    return LogRows.of(torch.tensor(rows).float())


# ---- distances of one head ----------------------------------------------------------------------


FEATURES = {  # (n, d) of one head's queries or keys
    "random": lambda rng, n, d: rng.normal(size=(n, d)),
    "unit": lambda rng, n, d: unit(rng.normal(size=(n, d))),
    "groups": lambda rng, n, d: (
        rng.normal(size=(4, d))[rng.integers(0, 4, n)] + 0.2 * rng.normal(size=(n, d))
    ),
    "path": lambda rng, n, d: (
        np.linspace(0, 1, n)[:, None] * rng.normal(size=d) + rng.normal(size=d)
    ),
    "equal": lambda rng, n, d: np.tile(rng.normal(size=d), (n, 1)),
}
LOGS = 1e-5  # what the rounding of logs of rows costs, however small the logits


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def one_head(
    kind: str, seed: int, *, largest: float, query_offset=0.0, key_offset=0.0
) -> tuple[AttentionRows, np.ndarray, float]:
    """Attention with one head, the true distances of its rows, and what float32 may make of them.

    largest: its largest logit, but for the offsets: what all queries, or all keys, have in common.
    True distances come from float64 logits, of which nothing is cut. The tolerance is a millionth
    of the longest query times the longest key, relative to 1 + distance.
    """
    rng = np.random.default_rng(seed)
    patches, channels = int(rng.integers(1, 25)), int(rng.choice([1, 4, 32]))
    queries, keys = (FEATURES[kind](rng, frames * patches, channels) for frames in (3, 2))
    scale = float(largest / abs(queries @ keys.T).max())
    queries = (queries + query_offset * rng.normal(size=channels)).astype(np.float32)
    keys = (keys + key_offset * rng.normal(size=channels)).astype(np.float32)
    attention = AttentionRows(
        torch.tensor(queries).reshape(3, 1, patches, channels),
        torch.tensor(keys).reshape(2, 1, patches, channels),
        scale,
    )
    log = log_softmax(scale * queries.astype(np.float64) @ keys.T.astype(np.float64), axis=1)
    true = ((np.exp(log)[:, None] - np.exp(log)) * (log[:, None] - log)).sum(-1)
    lengths = (np.linalg.norm(side, axis=1).max() for side in (queries, keys))
    return attention, true, 1e-6 * max(1.0, scale * np.prod(list(lengths)))


def head_rows(basis: OneHead | Sketch, rows: torch.Tensor) -> HeadRows:
    """The rows of all frames of a clip in a basis."""
    return HeadRows(rows, basis.keys, *basis.inner(rows, slice(None)))


def head_and_log_rows(attention: AttentionRows) -> tuple[HeadRows, LogRows]:
    rows = attention.rows(0, attention.frames)
    return head_rows(OneHead.of(attention), rows), LogRows.of(rows)


@pytest.mark.parametrize("kind", FEATURES)
@pytest.mark.parametrize("largest", [0.1, 1.0, 10.0, 30.0])
def test_distances_of_one_head_are_those_of_its_rows_and_their_logs(kind, largest) -> None:
    for seed in range(25):
        attention, true, close = one_head(kind, seed, largest=largest)
        heads, logs = head_and_log_rows(attention)
        within, across = self_distances(heads), symmetric_kl(heads, logs)
        np.testing.assert_allclose(within.numpy(), true, rtol=close, atol=close)
        np.testing.assert_allclose(across.numpy(), true, rtol=close, atol=close + LOGS)
        for found in (within, across):
            torch.testing.assert_close(
                found, self_distances(logs), rtol=2 * close, atol=2 * close + LOGS
            )


@pytest.mark.parametrize("kind", FEATURES)
@pytest.mark.parametrize("largest", [100.0, 1e3, 1e4])
def test_large_logits_of_one_head_give_true_distances_where_logs_of_rows_are_cut(kind, largest):
    for seed in range(25):
        attention, true, close = one_head(kind, seed, largest=largest)
        found = self_distances(head_and_log_rows(attention)[0])
        np.testing.assert_allclose(found.numpy(), true, rtol=close, atol=close)


@pytest.mark.parametrize("kind", FEATURES)
@pytest.mark.parametrize("offset", [3.0, 30.0, 300.0])
@pytest.mark.parametrize("side", ["query_offset", "key_offset"])
def test_what_all_queries_or_keys_have_in_common_costs_no_more_than_its_length_does(
    kind: str, offset: float, side: str
) -> None:
    for seed in range(25):
        attention, true, close = one_head(kind, seed, largest=3.0, **{side: offset})
        found = self_distances(head_and_log_rows(attention)[0])
        np.testing.assert_allclose(found.numpy(), true, rtol=close, atol=close)


# ---- distances by a sketch ----------------------------------------------------------------------


def sketched(attention: AttentionRows) -> tuple[HeadRows, torch.Tensor]:
    rows = attention.rows(0, attention.frames)
    return head_rows(Sketch.of(attention), rows), rows


def smooth_rows(heads: int, seed: int) -> AttentionRows:
    """Attention of patches that lie on a plane, to keys that do: logs have few directions."""
    rng = np.random.default_rng(seed)
    place, wave = rng.uniform(-1, 1, (3 * 400, 2)), rng.normal(size=(heads, 2, 5))
    features = np.stack([np.sin(place @ each) for each in wave])  # (H, 3·400, 5)
    tokens = torch.tensor(features).float().unflatten(1, (3, 400)).transpose(0, 1)
    return AttentionRows(tokens, tokens[:2], 1.0)


@pytest.mark.parametrize("heads", [1, 3])
def test_a_sketch_with_all_directions_gives_the_distances_of_the_rows(heads: int) -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        attention = random_rows(rng, frames=4, heads=heads, keys=2, patches=9)
        form, rows = sketched(attention)
        logs = LogRows.of(rows)
        torch.testing.assert_close(self_distances(form), self_distances(logs), rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(
            symmetric_kl(form, logs[torch.arange(5)]),
            symmetric_kl(logs, logs[torch.arange(5)]),
            rtol=1e-3,
            atol=1e-4,
        )


@pytest.mark.parametrize("heads", [1, 3])
def test_a_sketch_of_fewer_directions_is_close_where_logs_have_few(heads: int) -> None:
    for seed in range(3):
        form, rows = sketched(smooth_rows(heads, seed))
        assert form.queries.shape[1] <= 129 < min(rows.shape)
        exact = self_distances(LogRows.of(rows))
        torch.testing.assert_close(self_distances(form), exact, rtol=0.03, atol=0.03)
        assert ((form.near(0.25) != (exact <= 0.25)).float().mean()) < 0.005


def test_a_sketch_of_equal_rows_has_no_directions_and_no_distances() -> None:
    attention = rows_of(np.tile(np.full(6, 1 / 6), (2, 6, 1)), frames=1, keys=1)
    form, _ = sketched(attention)
    torch.testing.assert_close(self_distances(form), torch.zeros(6, 6), rtol=0, atol=1e-6)
    assert form.near(0.01).all()


def test_a_window_of_one_head_takes_the_queries_of_its_own_frames() -> None:
    attention = random_rows(np.random.default_rng(0), frames=7, heads=1, keys=2)
    windows = Windows(attention)
    for frames, rows in windows:
        found = self_distances(windows.comparable(frames, rows))
        expected = self_distances(LogRows.of(rows))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("at_once", [1, 7, 10_000])
@pytest.mark.parametrize("heads", [1, 2])
def test_pairs_that_are_near_are_those_whose_distance_is_at_most_tau(heads, at_once, monkeypatch):
    monkeypatch.setattr(distances_module, "_ROWS_AT_ONCE", at_once)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        attention = random_rows(rng, frames=3, heads=heads, patches=9, scale=0.5)
        rows = float64_rows(attention)
        distances = plain_kl(rows[:, None], rows)
        for tau in (clear_tau(distances, share) for share in (0, 0.3, 0.9)):
            for form in (
                *head_and_log_rows(attention)[heads > 1 :],
                sketched(attention)[0],
            ):
                assert (near_pairs(form, tau).numpy() == (distances <= tau)).all()


# ---- smoothing ----------------------------------------------------------------------------------


def test_smoothing_averages_the_rows_near_to_it_and_always_the_row_itself() -> None:
    rows = torch.tensor([[0.8, 0.2], [0.6, 0.4], [0.1, 0.9]])
    near = torch.tensor([[False, True, False], [True, True, False], [False, False, False]])
    found = smooth(rows, near, np.zeros(3, np.int64), torch.float32)
    torch.testing.assert_close(found, torch.tensor([[0.7, 0.3], [0.7, 0.3], [0.1, 0.9]]))
    assert not near[0, 0]  # the caller's matrix is left alone


@settings(max_examples=100)
@given(seeds, st.integers(1, 40), st.floats(0, 1), st.integers(1, 50))
def test_smoothing_does_not_depend_on_which_rows_are_held_to_be_alike(seed, count, share, block):
    rng = np.random.default_rng(seed)
    rows = rng.dirichlet(np.ones(7), count)
    near = rng.random((count, count)) < share
    alike = rng.integers(0, rng.integers(1, count + 1), count)
    expected = (near | np.eye(count, dtype=bool)) @ rows
    expected /= expected.sum(1, keepdims=True)
    tensors = torch.tensor(rows).float(), torch.tensor(near)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clustering, "_SMOOTHED_AT_ONCE", block)
        exact = smooth(*tensors, alike, torch.float32)
        rough = smooth(*tensors, alike, torch.bfloat16)
    np.testing.assert_allclose(exact.numpy(), expected, rtol=1e-5)
    np.testing.assert_allclose(rough.numpy(), expected, rtol=0.02)
    assert exact.dtype == rough.dtype == torch.float32


@settings(max_examples=60)
@given(seeds, st.integers(1, 40), st.floats(0, 1))
def test_like_groups_hold_every_row_once_and_each_row_is_near_to_its_groups_first(
    seed: int, count: int, share: float
) -> None:
    near = np.random.default_rng(seed).random((count, count)) < share
    group = like_groups(torch.tensor(near))
    assert group.shape == (count,)
    for first in set(group.tolist()):
        rows = np.flatnonzero(group == first)
        assert rows[0] == first
        assert near[first, rows[1:]].all()


# ---- merging ------------------------------------------------------------------------------------


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


@settings(max_examples=150)
@given(seeds, st.integers(1, 60), st.floats(0, 1), st.integers(1, 70))
def test_merging_is_the_plain_one_whichever_rows_are_held_to_be_alike(seed, count, share, block):
    rng = np.random.default_rng(seed)
    rows = (rng.dirichlet(np.ones(9), count), prototype_rows(rng, count, 1, 9))[seed % 2]
    distances = plain_kl(rows[:, None], rows)
    tau = clear_tau(distances, share)
    expected = np.full(count, -1)
    for row in range(count):
        if expected[row] < 0:
            expected[(expected < 0) & (distances[row] <= tau)] = expected.max() + 1
    near_groups = like_groups(torch.tensor(distances <= tau))
    random_groups = rng.integers(0, rng.integers(1, count + 1), count)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clustering, "_SEEDS_AT_ONCE", block)
        for alike in (None, near_groups, random_groups, np.zeros(count, int), -np.arange(count)):
            assert (greedy_merge(log_rows(rows), tau, alike) == expected).all()


def test_more_rows_than_one_block_of_seeds_are_merged_alike(monkeypatch) -> None:
    rows = log_rows(np.random.default_rng(0).dirichlet(np.full(12, 0.3), 700))
    found = greedy_merge(rows, 0.5)
    assert found.max() > 300  # clusters, so that the second block matters
    monkeypatch.setattr(clustering, "_SEEDS_AT_ONCE", 1)
    assert (greedy_merge(rows, 0.5) == found).all()


def test_centroids_are_plain_means_of_their_members() -> None:
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    found = centroids_of(rows, np.array([0, 1, 0]))
    torch.testing.assert_close(found, torch.tensor([[0.75, 0.25], [0.0, 1.0]]))


def test_a_window_is_smoothed_merged_and_averaged() -> None:
    rows = np.array([[0.8, 0.2], [0.1, 0.9], [0.6, 0.4]])
    near = np.array([[True, False, True], [False, True, False], [True, False, True]])
    found, member = merge_window(torch.tensor(rows).float(), torch.tensor(near), 0.5, torch.float32)
    assert member.tolist() == [0, 1, 0]
    torch.testing.assert_close(found, torch.tensor([[0.7, 0.3], [0.1, 0.9]]))


# ---- assignment ---------------------------------------------------------------------------------


@pytest.mark.parametrize("nearest", [1, 3, 50])
@pytest.mark.parametrize("heads", [1, 2])
def test_assignment_lists_the_nearest_centroids_first(nearest: int, heads: int) -> None:
    rng = np.random.default_rng(5)
    attention = random_rows(rng, frames=4, keys=2, heads=heads, patches=6, scale=0.7)
    centroids = np.random.default_rng(6).dirichlet(np.ones(12), 5)
    found = assign(Windows(attention), torch.tensor(centroids).float(), nearest=nearest)
    distances = np.stack([plain_kl(row, centroids) for row in float64_rows(attention)])
    k = min(nearest, 5)
    assert found.index.shape == (4, 6, k)
    assert (found.index.reshape(24, k).numpy() == distances.argsort(1)[:, :k]).all()
    np.testing.assert_allclose(
        found.distance.reshape(24, k).numpy(), np.sort(distances, 1)[:, :k], rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("seed", range(20))
def test_the_mean_row_of_a_cluster_is_that_of_the_original_rows_nearest_to_it(seed, dtype) -> None:
    attention, _ = random_case(seed)
    rng = np.random.default_rng(seed)
    centroids = rng.dirichlet(np.full(attention.width, 2.0), 4)
    found = assign(Windows(attention, dtype), torch.tensor(centroids).float(), nearest=2)
    rows, labels = float64_rows(attention), found.labels.flatten().numpy()
    for cluster in range(4):
        mine = rows[labels == cluster]
        expected = mine.mean(0) if len(mine) else centroids[cluster]
        np.testing.assert_allclose(found.mean_rows[cluster].numpy(), expected, atol=1e-6)


def test_a_cluster_that_no_row_is_nearest_to_keeps_its_centroid_as_mean_row() -> None:
    rows = np.array([[0.7, 0.3], [0.3, 0.7], [0.5, 0.5]])
    far = np.array([[0.6, 0.4], [1e-6, 1 - 1e-6]])
    found = assign(Windows(rows_of(rows, frames=3, keys=2)), torch.tensor(far).float())
    assert found.labels.tolist() == [[0], [0], [0]]
    torch.testing.assert_close(found.mean_rows, torch.tensor([[0.5, 0.5], [1e-6, 1 - 1e-6]]))


# ---- what must not matter -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "name", "values"),
    [
        (clustering, "_SEEDS_AT_ONCE", (1, 2, 7, 10_000)),
        (clustering, "_SMOOTHED_AT_ONCE", (1, 5, 10_000)),
        (distances_module, "_ROWS_AT_ONCE", (1, 5, 10_000)),
        (attention_module, "_LOGITS_AT_ONCE", ({"cpu": 1}, {"cpu": 100}, {"cpu": 2**40})),
    ],
)
def test_the_result_does_not_depend_on_how_much_is_done_at_once(
    module, name, values, monkeypatch
) -> None:
    chosen = [seed for seed in range(120) if decided(seed)][::2]
    for value in values:
        monkeypatch.setattr(module, name, value)
        for seed in chosen:
            check_against_the_oracle(seed)


@pytest.mark.parametrize("keep", [0, 500, 2000, 2**40])
def test_the_result_does_not_depend_on_how_much_is_kept(keep: int) -> None:
    for seed in [seed for seed in range(120) if decided(seed)][::2]:
        attention, tau = random_case(seed)
        windows = Windows(attention, keep=keep)
        found, expected = (find_clusters(w, tau) for w in (windows, Windows(attention)))
        assert torch.equal(found.centroids, expected.centroids)
        one, two = (assign(w, found.centroids) for w in (windows, Windows(attention)))
        assert torch.equal(one.labels, two.labels)
        torch.testing.assert_close(one.distance, two.distance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("heads", [1, 3])
def test_clustering_and_assigning_leave_the_rows_as_they_were(heads, dtype) -> None:
    attention = random_rows(np.random.default_rng(0), frames=5, heads=heads, keys=2, patches=9)
    before = attention.rows(0, 5)
    windows = Windows(attention, dtype, keep=2**20)
    assign(windows, find_clusters(windows, 0.5).centroids)
    after = torch.cat([rows for _, rows in windows])
    torch.testing.assert_close(after, before, rtol=1e-6, atol=0)


def test_asking_twice_gives_the_same_answer() -> None:
    for seed in range(40):
        attention, tau = random_case(seed)
        first, second = (find_clusters(Windows(attention), tau) for _ in range(2))
        assert torch.equal(first.centroids, second.centroids)
        one, two = (assign(Windows(attention), first.centroids, nearest=3) for _ in range(2))
        for name in Assignment.__dataclass_fields__:
            assert torch.equal(getattr(one, name), getattr(two, name))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("heads", [1, 3])
def test_bfloat16_finds_the_same_clusters_where_they_are_clear(seed: int, heads: int) -> None:
    rng = np.random.default_rng(seed)
    prototypes = rng.dirichlet(np.full(40, 0.4), 5) + 1e-3
    truth = rng.integers(0, 5, 7 * 20)
    rows = prototypes[truth] * np.exp(0.15 * rng.normal(size=(heads, 140, 40)))
    attention = rows_of(rows / rows.sum(-1, keepdims=True), frames=7, keys=2)
    exact = find_clusters(Windows(attention), 0.5)
    rough = find_clusters(Windows(attention, torch.bfloat16), 0.5)
    assert len(exact.centroids) == len(rough.centroids) == 5
    torch.testing.assert_close(rough.centroids, exact.centroids, rtol=0.05, atol=2e-3)
    for one, other in zip(rough.levels(), exact.levels(), strict=True):
        assert (one == other).all()
    found, expected = (
        assign(Windows(attention, dtype), exact.centroids)
        for dtype in (torch.bfloat16, torch.float32)
    )
    assert torch.equal(found.labels, expected.labels)
    torch.testing.assert_close(found.distance, expected.distance, rtol=0.05, atol=0.05)
    torch.testing.assert_close(found.mean_rows, expected.mean_rows)


# ---- progress and refusals ----------------------------------------------------------------------


@pytest.mark.parametrize("frames", [1, 3, 4, 7])
def test_progress_rises_to_one(frames: int) -> None:
    attention = random_rows(np.random.default_rng(0), frames=frames)
    clustering_shares, assignment_shares = [], []
    windows = Windows(attention)
    found = find_clusters(windows, 1.0, progress=lambda *told: clustering_shares.append(told))
    assign(windows, found.centroids, progress=lambda *told: assignment_shares.append(told))
    for told in (clustering_shares, assignment_shares):
        stages, shares = zip(*told, strict=True)
        assert set(stages) == {Stage.CLUSTERING}
        assert list(shares) == sorted(shares)
        assert shares[-1] == 1.0
        assert len(shares) == -(-frames // 3)


@pytest.mark.parametrize("tau", [0, 0.0, -1.0, float("nan"), float("inf"), -float("inf")])
def test_a_tau_that_is_no_number_above_zero_raises_a_value_error_that_names_it(tau: float) -> None:
    with pytest.raises(ValueError, match=rf"tau must be a number above 0, not {tau}$"):
        find_clusters(Windows(random_rows(np.random.default_rng(0))), tau)


@pytest.mark.parametrize("shape", [(3, 7), (3, 9), (0, 8), (8,), (1, 3, 8), (0,)])
def test_centroids_that_do_not_fit_raise_a_value_error_that_names_both_shapes(shape) -> None:
    attention = random_rows(np.random.default_rng(0))
    assert attention.width == 8
    with pytest.raises(ValueError, match=r"centroids must be \(clusters, 8\)") as caught:
        assign(Windows(attention), torch.ones(shape))
    assert str(caught.value).endswith(f"not {shape}")
