"""The browser's attention against the same in float64, and its colour maps against the core's."""

import numpy as np
import pytest

from bavos_core.render.heatmap import COLOUR_MAPS, colour_map

from .node import node

T, H, R, GRID = 3, 2, 5, (4, 6)
N = GRID[0] * GRID[1]
MODULES = {"attention.js": "openSource, headRows, rowOfHead, cosineRow, cornersOf"}
OPEN = f"""
const part = {{ heads: {H}, rank: {R}, temperature: data.temperature }};
if (data.q) part.q = Int8Array.from(data.q);
part.k = Int8Array.from(data.k);
for (const name of ['scale_q', 'scale_k']) part[name] = Float32Array.from(data[name]);
const source = openSource(part, [{GRID[0]}, {GRID[1]}], {T});
"""


@pytest.fixture(scope="module")
def part() -> dict[str, np.ndarray]:
    """Random queries, keys and scales."""
    random = np.random.default_rng(0)
    return {
        "q": random.integers(-127, 128, (H, T, N, R)),
        "k": random.integers(-127, 128, (H, T, N, R)),
        "scale_q": random.uniform(0.005, 0.03, (H, R)).astype(np.float32).astype(float),
        "scale_k": random.uniform(0.005, 0.03, (H, R)).astype(np.float32).astype(float),
    }


def run(part: dict[str, np.ndarray], script: str, **more: object) -> object:
    data = {name: values.ravel().tolist() for name, values in part.items()}
    return node(OPEN + script, MODULES, {**data, **more})


def interpolated(values: np.ndarray, y: float, x: float) -> np.ndarray:
    """Return values (…, N, R) at a place: between the centres of patches, flat beyond them."""
    h, w = GRID
    row, column = np.clip(y * h - 0.5, 0, h - 1), np.clip(x * w - 0.5, 0, w - 1)
    down = np.maximum(0, 1 - abs(np.arange(h) - row))
    across = np.maximum(0, 1 - abs(np.arange(w) - column))
    return np.einsum("...nr,n->...r", values, np.outer(down, across).ravel())


def logits(part: dict[str, np.ndarray], sample: int | None, y: float, x: float) -> np.ndarray:
    """Return the logits (H, T, N); sample: None for each frame's own query."""
    own = interpolated(part["q"] * part["scale_q"][:, None, None], y, x)
    own = own if sample is None else own[:, sample : sample + 1].repeat(T, 1)
    return np.einsum("htr,htnr->htn", own, part["k"] * part["scale_k"][:, None, None])


def softmax(values: np.ndarray) -> np.ndarray:
    raised = np.exp(values - values.max(-1, keepdims=True))
    return raised / raised.sum(-1, keepdims=True)


PLACES = [(0, 0.5, 0.5), (1, 0.0, 0.0), (2, 1.0, 1.0), (1, 0.125, 0.99), (0, 0.3, 1 / 12)]


@pytest.mark.parametrize("framewise", [False, True])
def test_a_row_is_the_softmax_of_the_logits(part: dict[str, np.ndarray], framewise: bool) -> None:
    found = run(
        part,
        f"""print(data.places.map(([sample, y, x]) => {{
          const rows = headRows(source, {{ sample, y, x }}, data.framewise);
          return [-1, 0, 1].map((head) => [...rowOfHead(rows, {H}, head)]);
        }}));""",
        places=PLACES,
        framewise=framewise,
    )
    for (sample, y, x), (mean, *heads) in zip(PLACES, found, strict=True):
        if framewise:
            expected = softmax(logits(part, None, y, x)).reshape(H, -1) / T
        else:
            expected = softmax(logits(part, sample, y, x).reshape(H, -1))
        np.testing.assert_allclose(heads, expected, rtol=2e-5, atol=1e-9)
        np.testing.assert_allclose(mean, expected.mean(0), rtol=2e-5, atol=1e-9)
        assert sum(mean) == pytest.approx(1, abs=1e-5)


def test_corners_at_the_edges_are_single_patches_and_weights_sum_to_1() -> None:
    places = [[0, 0], [1, 1], [0, 1], [0.5, 0.5], [0.37, 0.81]]
    script = "print(data.places.map(([y, x]) => cornersOf(y, x, data.grid)));"
    first, last, right, middle, other = node(script, MODULES, {"places": places, "grid": GRID})
    assert first == [[0, 1]] and last == [[N - 1, 1]] and right == [[GRID[1] - 1, 1]]
    assert len(middle) == 4 and sum(weight for _, weight in other) == pytest.approx(1)


def test_cosine_similarity_is_the_product_without_the_temperature(part) -> None:
    script = "print([...cosineRow(source, { sample: 1, y: 0.4, x: 0.2 })]);"
    found = run(part, script, temperature=2)
    expected = np.clip(logits(part, 1, 0.4, 0.2)[0].ravel() / 2, -1, 1)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_without_a_temperature_the_longest_patch_has_similarity_1_with_itself(part) -> None:
    alone = {name: values for name, values in part.items() if name != "q"}
    alone["scale_q"] = alone["scale_k"]
    length = (alone["k"][0] * alone["scale_k"][0]).reshape(-1, R)
    sample, patch = divmod(int((length**2).sum(1).argmax()), N)
    y, x = (patch // GRID[1] + 0.5) / GRID[0], (patch % GRID[1] + 0.5) / GRID[1]
    script = f"print([...cosineRow(source, {{ sample: {sample}, y: {y}, x: {x} }})]);"
    found = run(alone, script)
    assert found[sample * N + patch] == pytest.approx(1, abs=1e-5) == max(found)


def test_large_logits_stay_finite(part: dict[str, np.ndarray]) -> None:
    point = "{ sample: 0, y: 0.2, x: 0.7 }"
    found = run(part, f"source.factor.fill(5); print([...headRows(source, {point}, false)]);")
    assert np.isfinite(found).all() and sum(found) == pytest.approx(H)


def test_colour_maps_are_those_of_the_core() -> None:
    script = "print(data.map((name) => [...colourTable(name)]));"
    found = node(script, {"colourmaps.js": "colourTable"}, COLOUR_MAPS)
    for name, table in zip(COLOUR_MAPS, found, strict=True):
        np.testing.assert_allclose(np.reshape(table, (256, 3)), colour_map(name) * 255, atol=2.5)
