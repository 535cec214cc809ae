"""Compact queries and keys give the rows of `Analysis.attend`, nearly."""

import numpy as np
import pytest
import torch
from scipy.special import softmax

from bavos_core import Analysis
from bavos_core.sources import Projection
from bavos_lab.scene import attention_part, unpack
from bavos_lab.scene.compact import components

POINTS = 40


def logits(part: bytes, sample: int, patch: int, grid: tuple[int, int]) -> np.ndarray:
    """Logits (H, T·N) of a patch, as the specification says."""
    header, blobs = unpack(part)
    keys = blobs["k"] * blobs["scale_k"][:, None]
    queries = blobs.get("q", blobs["k"]) * blobs["scale_q"][:, None]
    assert keys.shape == queries.shape
    assert keys.shape[::2] == (header["heads"], header["rank"])
    query = queries[:, sample * grid[0] * grid[1] + patch]
    found: np.ndarray = np.einsum("hr,hmr->hm", query, keys)
    return found


def points(analysis: Analysis, count: int) -> list[tuple[int, int]]:
    """Analysed frames and patches."""
    random = np.random.default_rng(3)
    samples = random.integers(len(analysis.analysed), size=count).tolist()
    return list(zip(samples, random.integers(np.prod(analysis.grid), size=count), strict=True))


def place(analysis: Analysis, patch: int) -> tuple[float, float]:
    """The middle of a patch, in pixels of the clip."""
    y, x = divmod(int(patch), analysis.grid[1])
    return (
        (y + 0.5) / analysis.grid[0] * analysis.size[0],
        (x + 0.5) / analysis.grid[1] * analysis.size[1],
    )


def correlations(analysis: Analysis, source: str, part: bytes, head=None) -> np.ndarray:
    found = []
    for sample, patch in points(analysis, POINTS):
        rows = softmax(logits(part, sample, patch, analysis.grid), axis=1)
        row = rows.mean(0) if head is None else rows[head]
        y, x = place(analysis, patch)
        exact = analysis.attend(sample, y, x, source=source, head=head).ravel()
        found.append(np.corrcoef(row, exact)[0, 1])
    return np.array(found)


@pytest.mark.parametrize("source", ["cross-frame", "key-similarity", "untrained"])
def test_rows_correlate_with_the_exact_ones(analysis: Analysis, source) -> None:
    found = correlations(analysis, source, attention_part(analysis, source))
    assert np.median(found) >= 0.99
    assert np.percentile(found, 5) >= 0.95


def test_so_do_the_rows_of_every_head(reef: Analysis) -> None:
    part = attention_part(reef, "cross-frame")
    for head in range(reef.heads("cross-frame")):
        assert np.median(correlations(reef, "cross-frame", part, head)) >= 0.98


def test_framewise_rows_come_from_the_part_of_cross_frame(reef: Analysis) -> None:
    part = attention_part(reef, "cross-frame")
    assert unpack(part)[0]["framewise"]
    patches = reef.grid[0] * reef.grid[1]
    for _, patch in points(reef, 8):
        own = [
            softmax(logits(part, t, patch, reef.grid)[:, t * patches : (t + 1) * patches], axis=1)
            for t in range(len(reef.analysed))
        ]
        row = np.concatenate([rows.mean(0) for rows in own]) / len(own)
        exact = reef.attend(0, *place(reef, patch), source="framewise").ravel()
        assert np.corrcoef(row, exact)[0, 1] >= 0.98


@pytest.mark.parametrize("budget", [40_000, 100_000])
def test_a_part_keeps_to_its_budget(reef: Analysis, budget) -> None:
    part = attention_part(reef, "cross-frame", budget=budget)
    assert len(part) < 1.15 * budget
    assert len(part) > 0.5 * budget
    assert np.median(correlations(reef, "cross-frame", part)) > 0.9


def test_key_similarity_has_one_array(reef: Analysis) -> None:
    header, blobs = unpack(attention_part(reef, "key-similarity"))
    assert set(blobs) == {"k", "scale_q", "scale_k"}
    assert header["heads"] == 1


def test_all_components_together_are_the_logits() -> None:
    torch.manual_seed(0)
    queries, keys = torch.randn(2, 3, 3, 20, 5).unbind(0)  # (T, H, N, d)
    keys[..., 4] = 0  # a channel without values, as the descriptors have
    found = components(Projection(queries, keys, 0.7))
    assert found.queries is not None
    exact = 0.7 * torch.einsum("shnd,thmd->hsntm", queries, keys).flatten(1, 2).flatten(2)
    exact = exact - exact.mean(2, keepdim=True)
    torch.testing.assert_close(found.queries @ found.keys.mT, exact, atol=1e-4, rtol=1e-4)


def test_keys_that_are_all_the_same_attend_to_all_alike() -> None:
    queries, keys = torch.randn(2, 1, 6, 4), torch.ones(2, 1, 6, 4)
    sent = components(Projection(queries, keys, 1.0)).rounded(0.03)
    assert sent.keys.shape[2] == 1
    assert not sent.keys.any()
    assert sent.unit.isfinite().all()
