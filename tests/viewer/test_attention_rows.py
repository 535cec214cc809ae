"""The browser's attention against the same in float64, and its colour maps against the core's."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from bavos_core.render.heatmap import COLOUR_MAPS, colour_map

VIEWER = Path(__file__).resolve().parents[2] / "demo" / "viewer"
T, H, R, GRID = 3, 2, 5, (4, 6)
N = GRID[0] * GRID[1]
PRELUDE = """
import { readFileSync } from 'node:fs';
const bytes = (name, Kind) => {
  const data = readFileSync(name);
  return new Kind(data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength));
};
const print = (value) => console.log(JSON.stringify(value));
"""


def node(script: str, modules: dict[str, str], folder: Path) -> object:
    """Return what a script with names imported from the viewer's modules prints as JSON."""
    imports = "".join(
        f"import {{ {names} }} from '{(VIEWER / module).as_uri()}';\n"
        for module, names in modules.items()
    )
    done = subprocess.run(
        ["node", "--input-type=module"],
        input=imports + PRELUDE + script,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def source(tmp_path: Path) -> dict[str, np.ndarray]:
    """Random queries, keys and scales, which lie in files beside the script too."""
    random = np.random.default_rng(0)
    made = {
        "q": random.integers(-127, 128, (H, T, N, R)).astype(np.int8),
        "k": random.integers(-127, 128, (H, T, N, R)).astype(np.int8),
        "scale_q": random.uniform(0.005, 0.03, (H, R)).astype(np.float32),
        "scale_k": random.uniform(0.005, 0.03, (H, R)).astype(np.float32),
    }
    for name, values in made.items():
        values.tofile(tmp_path / name)
    return made


OPEN = f"""
const source = openSource({{
  heads: {H}, rank: {R}, temperature: 2,
  q: bytes('q', Int8Array), k: bytes('k', Int8Array),
  scale_q: bytes('scale_q', Float32Array), scale_k: bytes('scale_k', Float32Array),
}}, [{GRID[0]}, {GRID[1]}], {T});
"""
ATTENTION = {"attention.js": "openSource, headRows, rowOfHead, cosineRow, cornersOf"}


def interpolated(values: np.ndarray, y: float, x: float) -> np.ndarray:
    """Return values (…, N, R) at a place: between the centres of patches, flat beyond them."""
    h, w = GRID
    rows, columns = np.clip(y * h - 0.5, 0, h - 1), np.clip(x * w - 0.5, 0, w - 1)
    weights = np.maximum(0, 1 - abs(np.arange(h) - rows))[:, None] * np.maximum(
        0, 1 - abs(np.arange(w) - columns)
    )
    return np.einsum("...nr,n->...r", values, weights.ravel())


def logits(source: dict[str, np.ndarray], sample: int | None, y: float, x: float) -> np.ndarray:
    """Return the logits (H, T, N); sample: None for each frame's own query."""
    queries = source["q"].astype(float) * source["scale_q"].astype(float)[:, None, None]
    keys = source["k"].astype(float) * source["scale_k"].astype(float)[:, None, None]
    own = interpolated(queries, y, x)
    own = own if sample is None else own[:, sample : sample + 1].repeat(T, 1)
    return np.einsum("htr,htnr->htn", own, keys)


def softmax(values: np.ndarray) -> np.ndarray:
    raised = np.exp(values - values.max(-1, keepdims=True))
    return raised / raised.sum(-1, keepdims=True)


PLACES = [(0, 0.5, 0.5), (1, 0.0, 0.0), (2, 1.0, 1.0), (1, 0.125, 0.99), (0, 0.3, 1 / 12)]


@pytest.mark.parametrize("framewise", [False, True])
@pytest.mark.parametrize("head", [-1, 0, 1])
@pytest.mark.parametrize(("sample", "y", "x"), PLACES)
def test_a_row_is_the_softmax_of_the_logits(
    source, tmp_path, sample: int, y: float, x: float, head: int, framewise: bool
) -> None:
    point = json.dumps({"sample": sample, "y": y, "x": x})
    script = f"const rows = headRows(source, {point}, {str(framewise).lower()});"
    found = node(
        f"{OPEN}{script}print([...rowOfHead(rows, {H}, {head})]);", ATTENTION, tmp_path
    )
    if framewise:
        rows = softmax(logits(source, None, y, x)).reshape(H, -1) / T
    else:
        rows = softmax(logits(source, sample, y, x).reshape(H, -1))
    expected = rows.mean(0) if head < 0 else rows[head]
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-9)
    assert sum(found) == pytest.approx(1, abs=1e-5)


def test_corners_at_the_edges_are_single_patches_and_weights_sum_to_1(tmp_path: Path) -> None:
    script = f"print([[0, 0], [1, 1], [0, 1], [0.5, 0.5], [0.37, 0.81]].map(([y, x]) => cornersOf(y, x, [{GRID[0]}, {GRID[1]}])));"
    first, last, right, middle, other = node(script, ATTENTION, tmp_path)
    assert first == [[0, 1]] and last == [[N - 1, 1]] and right == [[GRID[1] - 1, 1]]
    assert len(middle) == 4 and sum(weight for _, weight in other) == pytest.approx(1)


def test_cosine_similarity_is_the_product_without_the_temperature(source, tmp_path) -> None:
    found = node(f"{OPEN}print([...cosineRow(source, {{sample: 1, y: 0.4, x: 0.2}})]);", ATTENTION, tmp_path)
    expected = np.clip(logits(source, 1, 0.4, 0.2)[0].ravel() / 2, -1, 1)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_large_logits_stay_finite(source, tmp_path) -> None:
    script = "source.factor.fill(5); const row = headRows(source, {sample: 0, y: 0.2, x: 0.7}, false);"
    found = node(f"{OPEN}{script}print([...row]);", ATTENTION, tmp_path)
    assert np.isfinite(found).all() and sum(found) == pytest.approx(H)


@pytest.mark.parametrize("name", COLOUR_MAPS)
def test_colour_maps_are_those_of_the_core(name: str, tmp_path: Path) -> None:
    found = node(f"print([...colourTable('{name}')]);", {"colourmaps.js": "colourTable"}, tmp_path)
    np.testing.assert_allclose(np.reshape(found, (256, 3)), colour_map(name) * 255, atol=2.5)
