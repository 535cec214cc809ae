"""Assignment, and what must not matter to the clustering."""

import numpy as np
import pytest
import torch

from bavos_core import attention as attention_module
from bavos_core import clustering
from bavos_core import distances as distances_module
from bavos_core.clustering import Assignment, assign, find_clusters
from bavos_core.distances import Windows
from bavos_core.progress import Stage

from .helpers import float64_rows, plain_kl, random_case, random_rows, rows_of
from .oracle import check_against_the_oracle, decided

# ---- assignment ---------------------------------------------------------------------------------


ROUNDING = {torch.float32: 1e-6, torch.bfloat16: 0.02}  # of mean rows, relative


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
        loss = ROUNDING[dtype]
        np.testing.assert_allclose(found.mean_rows[cluster].numpy(), expected, loss, atol=1e-6)


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
    before = attention.rows(0, 5, dtype)
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
    loss = ROUNDING[torch.bfloat16]
    torch.testing.assert_close(found.mean_rows, expected.mean_rows, rtol=loss, atol=1e-6)


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
