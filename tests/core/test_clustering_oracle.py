"""The clustering beside the paper's procedure, written plainly."""

import numpy as np
import pytest
import torch

from bavos_core.clustering import assign, find_clusters
from bavos_core.distances import Windows

from .helpers import float64_rows, random_case, rows_of
from .oracle import Oracle, check_against_the_oracle, decided, members


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
