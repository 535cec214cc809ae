"""Attention rows are plain softmax attention, and the temperature of `keys` gives what it says."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bavos_core import attention
from bavos_core.attention import AttentionRows, centred_unit, key_frames, perplexity_scale
from bavos_core.distances import Windows

from .helpers import plain_attention, random_rows

seeds = st.integers(0, 2**32 - 1)


def unit_vectors(frames: int, patches: int, channels: int, seed: int = 0) -> torch.Tensor:
    vectors = np.random.default_rng(seed).normal(size=(frames, 1, patches, channels))
    return torch.tensor(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).float()


def perplexities(queries: torch.Tensor, keys: torch.Tensor, scale: float) -> np.ndarray:
    """exp(entropy) of every row, worked out in numpy."""
    rows = plain_attention(queries, keys, scale).mean(0)
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


@pytest.mark.parametrize("heads", [1, 3])
def test_rows_by_bfloat16_are_distributions_close_to_the_exact_ones(heads: int) -> None:
    for seed in range(20):
        rows = random_rows(np.random.default_rng(seed), frames=3, keys=2, heads=heads, patches=40)
        exact, rough = rows.rows(0, 3), rows.rows(0, 3, torch.bfloat16)
        assert rough.dtype == torch.float32
        torch.testing.assert_close(rough.sum(1), torch.ones(120), rtol=1e-6, atol=0)
        assert ((rough - exact) * (rough / exact).log()).sum(1).max() < 2e-3  # symmetric KL
        assert not torch.equal(rough, exact)


@pytest.mark.parametrize("block", [1, 500, 2**40])
def test_rows_do_not_depend_on_how_many_are_made_together(block: int, monkeypatch) -> None:
    rows = random_rows(np.random.default_rng(0), frames=4, keys=2, heads=3, patches=11)
    before = rows.rows(0, 4)
    monkeypatch.setattr(attention, "_LOGITS_AT_ONCE", {"cpu": block})
    torch.testing.assert_close(rows.rows(0, 4), before, rtol=1e-5, atol=1e-7)


def test_the_sizes_of_rows_are_those_of_queries_and_keys() -> None:
    rows = random_rows(np.random.default_rng(0), frames=5, keys=2, heads=3, patches=7)
    assert (rows.frames, rows.heads, rows.patches, rows.width) == (5, 3, 7, 14)


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 7])
def test_windows_hold_every_frame_once_and_in_order(frames: int) -> None:
    rows = random_rows(np.random.default_rng(1), frames=frames, patches=5)
    windows = list(Windows(rows))
    chosen = [list(range(frames))[part] for part, _ in windows]
    assert [frame for part in chosen for frame in part] == list(range(frames))
    assert [len(w) // 5 for _, w in windows] == [len(c) for c in chosen]
    assert all(len(c) == 3 for c in chosen[:-1])
    torch.testing.assert_close(torch.cat([w for _, w in windows]), rows.rows(0, frames))


def test_huge_logits_give_one_hot_rows_without_nan() -> None:
    queries = torch.tensor([[[[1e4, 0.0], [0.0, 1e4]]]])
    rows = AttentionRows(queries, queries / 1e4, 1.0).rows(0, 1)
    torch.testing.assert_close(rows, torch.eye(2))


# ---- rows that are kept -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fitting", "kept"),
    [
        (0, [False, False, False]),
        (2, [False, False, True]),
        (3, [True, False, False]),
        (5, [True, False, True]),
        (7, [True, True, False]),
        (8, [True, True, True]),
        (99, [True, True, True]),
    ],
)
def test_windows_are_kept_while_they_fit_and_the_others_made_again(fitting, kept) -> None:
    rows = random_rows(np.random.default_rng(2), frames=8, keys=2, patches=5)
    limit = fitting * 5 * 10 * 4  # as many frames of 5 rows of 10 floats; windows are of 3, 3 and 2
    windows = Windows(rows, keep=limit)
    first, second, third = ([window for _, window in windows] for _ in range(3))
    for later in (second, third):
        assert [one is two for one, two in zip(first, later, strict=True)] == kept
        for one, two in zip(first, later, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-6, atol=0)
    assert sum(window.nbytes for window, same in zip(first, kept, strict=True) if same) <= limit


# ---- a sample of the rows -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frames", "patches"), [(1, 1), (2, 7), (1, 512), (3, 341), (5, 300), (40, 33)]
)
@pytest.mark.parametrize("heads", [1, 2])
def test_sampled_rows_are_some_of_all_rows_evenly_spread(frames, patches, heads) -> None:
    rows = random_rows(np.random.default_rng(4), frames=frames, heads=heads, patches=patches)
    found, every = rows.sampled_rows(), rows.rows(0, frames)
    assert min(512, len(every)) <= len(found) < 1024
    step = -(-len(every) // len(found))
    assert len(every[::step]) == len(found)
    torch.testing.assert_close(found, every[::step])


# ---- refusals -----------------------------------------------------------------------------------


def queries_and_keys(queries_shape: tuple, keys_shape: tuple) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.zeros(queries_shape), torch.zeros(keys_shape)


AXES = r"must be \(frames, heads, patches, channels\)"
AGREE = "must agree in heads, patches and channels"


@pytest.mark.parametrize(
    ("queries_shape", "keys_shape", "words"),
    [
        pytest.param((3, 8, 4), (1, 2, 8, 4), AXES, id="queries-of-three-axes"),
        pytest.param((3, 2, 8, 4), (2, 8, 4), AXES, id="keys-of-three-axes"),
        pytest.param((1, 3, 2, 8, 4), (1, 2, 8, 4), AXES, id="queries-of-five-axes"),
        pytest.param((0, 2, 8, 4), (1, 2, 8, 4), "must not be empty", id="no-frames"),
        pytest.param((3, 0, 8, 4), (1, 0, 8, 4), "must not be empty", id="no-heads"),
        pytest.param((3, 2, 0, 4), (1, 2, 8, 4), "must not be empty", id="no-patches"),
        pytest.param((3, 2, 8, 0), (1, 2, 8, 0), "must not be empty", id="no-channels"),
        pytest.param((3, 2, 8, 4), (0, 2, 8, 4), "must not be empty", id="no-key-frames"),
        pytest.param((3, 2, 8, 4), (1, 2, 0, 4), "must not be empty", id="no-keys-in-a-frame"),
        pytest.param((3, 2, 8, 4), (1, 3, 8, 4), AGREE, id="other-heads"),
        pytest.param((3, 2, 8, 4), (1, 2, 9, 4), AGREE, id="other-patches"),
        pytest.param((3, 2, 8, 4), (1, 2, 8, 5), AGREE, id="other-channels"),
    ],
)
def test_shapes_that_do_not_fit_raise_a_value_error_that_names_them(
    queries_shape, keys_shape, words
) -> None:
    with pytest.raises(ValueError, match=rf"queries and keys {words}") as caught:
        AttentionRows(*queries_and_keys(queries_shape, keys_shape), 1.0)
    assert str(caught.value).endswith(f"{queries_shape} and {keys_shape}")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("side", [0, 1])
def test_values_that_are_not_finite_raise_a_value_error(bad: float, side: int) -> None:
    sides = queries_and_keys((3, 2, 8, 4), (1, 2, 8, 4))
    sides[side][0, 1, 5, 3] = bad
    with pytest.raises(ValueError, match="queries and keys must be finite"):
        AttentionRows(*sides, 1.0)


@pytest.mark.parametrize("scale", [float("nan"), float("inf"), -float("inf")])
def test_a_scale_that_is_not_finite_raises_a_value_error_that_names_it(scale: float) -> None:
    sides = queries_and_keys((3, 2, 8, 4), (1, 2, 8, 4))
    with pytest.raises(ValueError, match=rf"scale of the logits must be finite, not {scale}$"):
        AttentionRows(*sides, scale)


# ---- the temperature of `keys` ------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.1, 0.4, 0.8])
@pytest.mark.parametrize("channels", [8, 64])
def test_the_scale_gives_the_wanted_mean_perplexity(share: float, channels: int) -> None:
    unit = unit_vectors(3, 80, channels)
    scale = perplexity_scale(unit, unit[:2], share=share)
    mean = np.exp(np.log(perplexities(unit, unit[:2], scale)).mean())
    assert mean == pytest.approx(share * 160, rel=0.01)


def test_of_several_heads_the_mean_row_has_the_wanted_perplexity() -> None:
    rng = np.random.default_rng(3)
    queries, keys = (torch.tensor(rng.normal(size=(t, 4, 40, 6))).float() for t in (3, 2))
    scale = perplexity_scale(queries, keys, share=0.3)
    mean = np.exp(np.log(perplexities(queries, keys, scale)).mean())
    assert mean == pytest.approx(0.3 * 80, rel=0.01)


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
