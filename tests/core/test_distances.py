"""Distances between rows: by logs, by one head, by a sketch."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, rel_entr

from bavos_core import distances as distances_module
from bavos_core.attention import AttentionRows
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

from .helpers import clear_tau, float64_rows, log_rows, plain_kl, random_rows, rows_of

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
    return head_rows(OneHead.of(attention, torch.float32), rows), LogRows.of(rows)


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


@pytest.mark.parametrize("seed", range(3))
def test_bfloat16_hardly_changes_which_rows_of_one_head_are_near(seed: int) -> None:
    attention = smooth_rows(1, seed)
    rows = attention.rows(0, attention.frames)
    rough = head_rows(OneHead.of(attention, torch.bfloat16), rows).near(0.25)
    exact = self_distances(LogRows.of(rows)) <= 0.25
    assert (rough != exact).float().mean() < 0.005
    assert rough.diagonal().all()


# ---- distances by a sketch ----------------------------------------------------------------------


def sketched(
    attention: AttentionRows, dtype: torch.dtype = torch.float32
) -> tuple[HeadRows, torch.Tensor]:
    rows = attention.rows(0, attention.frames)
    return head_rows(Sketch.of(attention, dtype), rows), rows


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("heads", [1, 3])
def test_a_sketch_of_fewer_directions_is_close_where_logs_have_few(heads: int, dtype) -> None:
    for seed in range(3):
        form, rows = sketched(smooth_rows(heads, seed), dtype)
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
