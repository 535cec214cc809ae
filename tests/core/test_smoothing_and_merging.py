"""Smoothing, greedy merging and the windows."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bavos_core import clustering
from bavos_core.clustering import centroids_of, greedy_merge, like_groups, merge_window, smooth
from bavos_core.distances import LogRows, self_distances

from .helpers import clear_tau, log_rows, plain_kl, prototype_rows, seeds

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
