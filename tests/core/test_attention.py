"""Attention rows are plain softmax attention, and the temperature of `keys` gives what it says."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bavos_core import attention
from bavos_core.attention import AttentionRows, centred_unit, key_frames, perplexity_scale

from .helpers import plain_attention, random_rows

seeds = st.integers(0, 2**32 - 1)


def unit_vectors(frames: int, patches: int, channels: int, seed: int = 0) -> torch.Tensor:
    vectors = np.random.default_rng(seed).normal(size=(frames, 1, patches, channels))
    return torch.tensor(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).float()


def perplexities(queries: torch.Tensor, keys: torch.Tensor, scale: float) -> np.ndarray:
    """exp(entropy) of every row, worked out in numpy."""
    rows = plain_attention(queries, keys, scale)[0]
    return np.exp(-(rows * np.log(rows)).sum(-1))


# ---- key frames ---------------------------------------------------------------------------------


@pytest.mark.parametrize("ratio", [1, 2, 5, 10, 31])
def test_key_frames_are_every_rth_and_never_none(ratio: int) -> None:
    for frames in range(1, 31):
        chosen = key_frames(frames, ratio)
        assert len(chosen) == max(1, frames // ratio)
        assert chosen == list(range(0, ratio * len(chosen), ratio))
        assert chosen[-1] < frames


# ---- rows ---------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(seeds, st.integers(1, 5), st.integers(1, 3), st.integers(1, 4), st.integers(1, 12))
def test_rows_are_the_mean_over_heads_of_a_plain_softmax(seed, frames, keys, heads, patches):
    rng = np.random.default_rng(seed)
    rows = random_rows(rng, frames=frames, keys=keys, heads=heads, patches=patches, scale=0.7)
    found = rows.rows(0, frames).numpy()
    expected = plain_attention(rows.queries, rows.keys, 0.7).mean(0)
    assert found.shape == (frames * patches, rows.width)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)


@pytest.mark.parametrize("block", [1, 7, 10_000])
def test_rows_do_not_depend_on_how_many_are_made_together(block: int, monkeypatch) -> None:
    rows = random_rows(np.random.default_rng(0), frames=4, keys=2, heads=3, patches=11)
    before = rows.rows(0, 4)
    monkeypatch.setattr(attention, "_ROWS_AT_ONCE", block)
    torch.testing.assert_close(rows.rows(0, 4), before, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 7])
def test_windows_hold_every_frame_once_and_in_order(frames: int) -> None:
    rows = random_rows(np.random.default_rng(1), frames=frames, patches=5)
    windows = list(rows.windows(3))
    assert [len(w) // 5 for w in windows] == [min(3, frames - s) for s in range(0, frames, 3)]
    torch.testing.assert_close(torch.cat(windows), rows.rows(0, frames))


def test_huge_logits_give_one_hot_rows_without_nan() -> None:
    queries = torch.tensor([[[[1e4, 0.0], [0.0, 1e4]]]])
    rows = AttentionRows(queries, queries / 1e4, 1.0).rows(0, 1)
    torch.testing.assert_close(rows, torch.eye(2))


def queries_and_keys(queries_shape: tuple, keys_shape: tuple) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.zeros(queries_shape), torch.zeros(keys_shape)


@pytest.mark.parametrize(
    ("queries_shape", "keys_shape"),
    [
        pytest.param((3, 8, 4), (1, 2, 8, 4), id="queries-of-three-axes"),
        pytest.param((3, 2, 8, 4), (2, 8, 4), id="keys-of-three-axes"),
        pytest.param((0, 2, 8, 4), (1, 2, 8, 4), id="no-frames"),
        pytest.param((3, 2, 0, 4), (1, 2, 8, 4), id="no-patches"),
        pytest.param((3, 2, 8, 4), (0, 2, 8, 4), id="no-key-frames"),
        pytest.param((3, 2, 8, 4), (1, 2, 0, 4), id="no-keys-in-a-frame"),
        pytest.param((3, 2, 8, 4), (1, 3, 8, 4), id="other-heads"),
        pytest.param((3, 2, 8, 4), (1, 2, 8, 5), id="other-channels"),
    ],
)
def test_shapes_that_do_not_fit_raise_a_value_error(queries_shape, keys_shape) -> None:
    with pytest.raises(ValueError, match=r"queries"):
        AttentionRows(*queries_and_keys(queries_shape, keys_shape), 1.0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("side", [0, 1])
def test_values_that_are_not_finite_raise_a_value_error(bad: float, side: int) -> None:
    sides = queries_and_keys((3, 2, 8, 4), (1, 2, 8, 4))
    sides[side][0, 1, 5, 3] = bad
    with pytest.raises(ValueError, match="finite"):
        AttentionRows(*sides, 1.0)


# ---- the temperature of `keys` ------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.1, 0.4, 0.8])
@pytest.mark.parametrize("channels", [8, 64])
def test_the_scale_gives_the_wanted_mean_perplexity(share: float, channels: int) -> None:
    unit = unit_vectors(3, 80, channels)
    scale = perplexity_scale(unit, unit[:2], share=share)
    mean = np.exp(np.log(perplexities(unit, unit[:2], scale)).mean())
    assert mean == pytest.approx(share * 160, rel=0.01)


def test_the_scale_measured_on_a_sample_holds_for_all_rows() -> None:
    unit = unit_vectors(20, 100, 16)  # 2000 rows, of which 512 or so are measured
    scale = perplexity_scale(unit, unit[:1], share=0.4)
    mean = np.exp(np.log(perplexities(unit, unit[:1], scale)).mean())
    assert mean == pytest.approx(40, rel=0.05)


def test_the_default_share_is_the_one_that_is_documented() -> None:
    unit = unit_vectors(2, 60, 12)
    found = perplexity_scale(unit, unit)
    assert found == perplexity_scale(unit, unit, share=attention.KEYS_PERPLEXITY)


def test_keys_without_any_difference_give_a_finite_scale_and_even_rows() -> None:
    flat = torch.zeros(2, 1, 9, 4)
    scale = perplexity_scale(flat, flat)
    rows = AttentionRows(flat, flat, scale).rows(0, 2)
    torch.testing.assert_close(rows, torch.full((18, 18), 1 / 18))


def test_centred_unit_features_have_no_mean_direction_and_length_one() -> None:
    features = torch.tensor(np.random.default_rng(0).normal(5, 1, (3, 7, 6))).float()
    expected = features.numpy() - features.numpy().reshape(-1, 6).mean(0)
    expected /= np.linalg.norm(expected, axis=-1, keepdims=True)
    found = centred_unit(features)
    assert found.shape == (3, 1, 7, 6)
    np.testing.assert_allclose(found[:, 0].numpy(), expected, atol=1e-5)


def test_centred_unit_features_of_a_uniform_clip_are_zero_and_not_nan() -> None:
    assert (centred_unit(torch.full((2, 5, 4), 3.0)) == 0).all()
