"""What a row of attention says: its scale, its mass, its shares over time, its numbers."""

import numpy as np
import pytest

from .node import node

MODULES = {
    "scale.js": (
        "quantile, massThreshold, topOfScale, sharesOf, highestOf, between, axisOf, numbersOf, "
        "LEAST_TOP"
    ),
    "heatlayer.js": "spread",
    "heat.js": "placeInTime",
}
T, GRID = 6, (5, 8)


def rows() -> np.ndarray:
    """Rows (5, T·N) from flat to a single peak."""
    random = np.random.default_rng(1)
    peaked = np.exp(random.normal(size=(5, T * GRID[0] * GRID[1])) * [[0], [0.5], [1], [2], [6]])
    return (peaked / peaked.sum(1, keepdims=True)).astype(np.float32)


def evaluate(expression: str, **data: object) -> list:
    """Return an expression for every row."""
    script = f"""
    const evaluated = (row) => {expression};
    print(data.rows.map((values) => evaluated(Float32Array.from(values))));"""
    return node(script, MODULES, {"rows": rows().tolist(), **data})


def test_the_quantile_is_numpys() -> None:
    shares = [0, 0.001, 0.37, 0.5, 0.999, 1]
    found = evaluate("data.shares.map((share) => quantile(row, share))", shares=shares)
    np.testing.assert_allclose(found, np.quantile(rows(), shares, axis=1).T, rtol=1e-5)


@pytest.mark.parametrize("share", [0.1, 0.6, 0.95])
def test_the_mass_is_the_smallest_set_of_patches_that_holds_it(share: float) -> None:
    thresholds = evaluate("massThreshold(row, data.share)", share=share)
    for row, threshold in zip(rows()[1:], thresholds[1:], strict=True):  # the first is all ties
        sums = np.cumsum(np.sort(row)[::-1], dtype=float)
        count = int(np.searchsorted(sums, share * sums[-1])) + 1
        assert (row >= np.float32(threshold)).sum() == count


def test_a_flat_row_stays_cold_and_a_peaked_one_uses_the_whole_scale() -> None:
    row = rows()
    uniform = 1 / row.shape[1]
    tops = evaluate("topOfScale(row, 'row')")
    least = node("print(LEAST_TOP);", MODULES)
    assert tops[0] == pytest.approx(least * uniform) and row[0].max() / tops[0] <= 0.21
    expected = np.maximum(np.quantile(row, 0.999, axis=1), least * uniform)
    np.testing.assert_allclose(tops, expected, rtol=1e-5)
    fixed = evaluate("topOfScale(row, 20)")
    np.testing.assert_allclose(fixed, 20 * uniform)


def test_shares_over_time_sum_to_1_and_their_axis_shows_differences() -> None:
    shares = np.array(evaluate(f"[...sharesOf(row, {T})]"))
    np.testing.assert_allclose(shares, rows().reshape(5, T, -1).sum(2), rtol=1e-4)
    script = f"print(data.map((shares) => axisOf([shares], 1 / {T})));"
    flat, *_, peaked = node(script, MODULES, shares.tolist())
    assert 0 < flat["low"] < 1 / T < flat["high"] < 0.3
    assert flat["high"] - flat["low"] >= 0.5 / T - 1e-9
    assert peaked["low"] <= shares[-1].min() and peaked["high"] >= shares[-1].max()


def test_frames_in_between_are_blended() -> None:
    row = rows()[2].reshape(T, -1)
    found = node(
        f"""const row = Float32Array.from(data.row);
        print(data.places.map((place) => [...between(row, place, {T})]));""",
        MODULES,
        {"row": row.ravel().tolist(), "places": [0, 1.25, T - 1, T + 3, -1]},
    )
    expected = [row[0], 0.75 * row[1] + 0.25 * row[2], row[-1], row[-1], row[0]]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_place_of_a_time_among_the_analysed_frames() -> None:
    base = {"analysed": [0, 4, 10], "times": [i / 10 for i in range(12)]}
    times = [0, 0.2, 0.4, 0.7, 1.0, 1.1]
    script = "print(data.times.map((seconds) => placeInTime(data.base, seconds)));"
    found = node(script, MODULES, {"base": base, "times": times})
    assert found == pytest.approx([0, 0.5, 1, 1.5, 2, 2])


def test_numbers_are_entropy_share_and_best_patches() -> None:
    found = evaluate("numbersOf(row, data.grid, 2)", grid=GRID)
    for row, numbers in zip(rows().astype(float), found, strict=True):
        assert numbers["entropy"] == pytest.approx(-(row * np.log(row)).sum(), rel=1e-5)
        assert numbers["own"] == pytest.approx(row.reshape(T, -1)[2].sum(), rel=1e-5)
        assert numbers["covers"] == pytest.approx(np.exp(numbers["entropy"]) / row.size)
    best = np.unravel_index(rows()[-1].argmax(), (T, *GRID))
    top = found[-1]["top"][0]
    assert (top["sample"], top["row"], top["column"]) == best


def test_heat_is_spread_as_torch_does() -> None:
    import torch

    values = np.random.default_rng(2).random(GRID).astype(np.float32)
    step = 4
    script = "print([...spread(Float32Array.from(data.values), data.grid, data.step, 2, 0.5)]);"
    found = node(script, MODULES, {"values": values.ravel().tolist(), "grid": GRID, "step": step})
    spread = torch.nn.functional.interpolate(
        torch.from_numpy(values)[None, None], scale_factor=step, mode="bilinear"
    )
    np.testing.assert_allclose(found, 2 * spread.numpy().ravel() + 0.5, rtol=1e-5)
