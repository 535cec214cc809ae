"""Attention by plain products: the same values, only where it was asked for, and nowhere else."""

import threading
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from bavos_core import backbones
from bavos_core.backbones import eager_attention as module
from bavos_core.backbones.eager_attention import EagerAttention, pays_off, plain_attention
from bavos_core.settings import Compute

from .helpers import softmax

BF16 = torch.bfloat16
ON_CPU = Compute(torch.device("cpu"), "bf16")
EPSILON = 2.0**-8  # by which rounding to bfloat16 changes a number at most, relative


def triple(*shape: int, seed: int = 0, dtype: torch.dtype = BF16) -> list[Tensor]:
    """Queries, keys and values of a standard normal distribution."""
    values = np.random.default_rng(seed).standard_normal((3, *shape))
    return list(torch.from_numpy(values).to(dtype))


def exact(queries: Tensor, keys: Tensor, values: Tensor) -> np.ndarray:
    """softmax(q kᵀ / √d) v in float64."""
    q, k, v = (side.double().numpy() for side in (queries, keys, values))
    return softmax(q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5) @ v


def check_close(found: Tensor, sides: list[Tensor]) -> None:
    """Within what rounding logits, weights and results to bfloat16 may cost."""
    assert found.dtype == BF16
    assert found.shape == sides[0].shape
    q, k, v = (side.double().numpy() for side in sides)
    # Keys are rounded after scaling, then logits: a weight changes by as much as its logit, and
    # the result by twice that. Then weights and the result are rounded themselves.
    logits = 2 * (np.abs(q) @ np.abs(k).swapaxes(-1, -2)).max() / q.shape[-1] ** 0.5
    error = np.abs(found.double().numpy() - exact(*sides))
    assert error.max() < EPSILON * np.abs(v).max() * (2 * logits + 3)
    assert error.mean() < 2 * EPSILON  # errors of many patches cancel


# ---- values -------------------------------------------------------------------------------------


@given(
    frames=st.integers(1, 3),
    heads=st.integers(1, 4),
    length=st.integers(1, 40),
    channels=st.sampled_from([1, 3, 8, 64]),
    seed=st.integers(0, 99),
    at_once=st.sampled_from([1, 100, 1000, 2**21]),
)
def test_it_is_a_softmax_attention_within_the_error_of_bfloat16(
    frames, heads, length, channels, seed, at_once
) -> None:
    sides = triple(frames, heads, length, channels, seed=seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_LOGITS_AT_ONCE", at_once)
        check_close(plain_attention(*sides), sides)


@pytest.mark.parametrize("rows", [1, 7, 12, 37])
def test_blocks_of_rows_give_the_same_whether_or_not_the_length_is_divisible(
    rows, monkeypatch
) -> None:
    sides = triple(2, 3, 36, 16)
    whole = plain_attention(*sides)
    monkeypatch.setattr(module, "_LOGITS_AT_ONCE", rows * 2 * 3 * 36)
    torch.testing.assert_close(plain_attention(*sides), whole, rtol=2 * EPSILON, atol=1e-3)


def test_one_token_attends_to_itself_alone() -> None:
    queries, keys, values = triple(2, 3, 1, 8)
    assert torch.equal(plain_attention(queries, keys, values), values)


def test_logits_that_overflow_nothing_leave_the_result_finite() -> None:
    queries, keys, values = triple(1, 2, 9, 8)
    found = plain_attention(queries * 1000, keys * 1000, values)
    assert found.isfinite().all()


def test_what_was_given_is_not_changed_even_if_it_is_a_view() -> None:
    packed = triple(2, 5, 3, 4, 8)[0]  # (2, L, 3, H, d), as timm computes it
    before = packed.clone()
    sides = list(packed.permute(2, 0, 3, 1, 4).unbind(0))
    check_close(plain_attention(*sides), [side.contiguous() for side in sides])
    assert torch.equal(packed, before)


# ---- the mode -----------------------------------------------------------------------------------


@pytest.fixture
def sides() -> list[Tensor]:
    """What torch's own attention and plain products give different last digits for."""
    sides = triple(2, 3, 36, 16)
    assert not torch.equal(F.scaled_dot_product_attention(*sides), plain_attention(*sides))
    return sides


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"attn_mask": None, "dropout_p": 0.0, "is_causal": False, "scale": None},
        {"dropout_p": 0, "enable_gqa": False},
    ],
)
def test_unmasked_attention_in_bfloat16_is_by_plain_products(sides, options) -> None:
    with EagerAttention():
        found = F.scaled_dot_product_attention(*sides, **options)
    assert torch.equal(found, plain_attention(*sides))


def in_float32(sides: list[Tensor]) -> Tensor:
    return F.scaled_dot_product_attention(*(side.float() for side in sides))


def with_a_mask(sides: list[Tensor]) -> Tensor:
    return F.scaled_dot_product_attention(*sides, attn_mask=torch.ones(36, 36).tril().bool())


def with_a_mask_by_its_place(sides: list[Tensor]) -> Tensor:
    return F.scaled_dot_product_attention(*sides, torch.ones(36, 36).tril().bool())


def with_a_mask_of_one_element(sides: list[Tensor]) -> Tensor:
    return F.scaled_dot_product_attention(*sides, attn_mask=torch.zeros(1, 1, dtype=torch.bool))


def causal(sides: list[Tensor]) -> Tensor:
    return F.scaled_dot_product_attention(*sides, is_causal=True)


def with_dropout(sides: list[Tensor]) -> Tensor:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return F.scaled_dot_product_attention(*sides, dropout_p=0.5)


def with_a_scale_of_its_own(sides: list[Tensor]) -> Tensor:
    return F.scaled_dot_product_attention(*sides, scale=0.0)


def with_groups_of_queries(sides: list[Tensor]) -> Tensor:
    queries, keys, values = sides
    return F.scaled_dot_product_attention(queries, keys[:, :1], values[:, :1], enable_gqa=True)


def with_wider_values(sides: list[Tensor]) -> Tensor:
    queries, keys, values = sides
    return F.scaled_dot_product_attention(queries, keys, torch.cat([values, values], -1))


def with_fewer_queries(sides: list[Tensor]) -> Tensor:
    queries, keys, values = sides
    return F.scaled_dot_product_attention(queries[:, :, :5], keys, values)


def without_frames(sides: list[Tensor]) -> Tensor:
    return F.scaled_dot_product_attention(*(side[0] for side in sides))


def by_name(sides: list[Tensor]) -> Tensor:
    return F.scaled_dot_product_attention(
        **dict(zip(("query", "key", "value"), sides, strict=True))
    )


@pytest.mark.parametrize(
    "call",
    [
        in_float32, with_a_mask, with_a_mask_by_its_place, with_a_mask_of_one_element, causal,
        with_dropout, with_a_scale_of_its_own, with_groups_of_queries, with_wider_values,
        with_fewer_queries, without_frames, by_name,
    ],
)  # fmt: skip
def test_every_other_attention_is_left_to_torch(sides, call: Callable) -> None:
    expected = call(sides)
    with EagerAttention():
        found = call(sides)
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


def test_other_functions_of_torch_are_left_alone(sides) -> None:
    with EagerAttention():
        found = torch.softmax(sides[0] @ sides[1].mT, -1)
    assert torch.equal(found, torch.softmax(sides[0] @ sides[1].mT, -1))


def test_nothing_stays_patched(sides) -> None:
    function, before = F.scaled_dot_product_attention, F.scaled_dot_product_attention(*sides)
    with EagerAttention():
        pass
    assert F.scaled_dot_product_attention is function
    assert torch.equal(F.scaled_dot_product_attention(*sides), before)


def test_nothing_stays_patched_after_an_exception(sides) -> None:
    before = F.scaled_dot_product_attention(*sides)
    with pytest.raises(RuntimeError), EagerAttention():
        F.scaled_dot_product_attention(sides[0], sides[1][..., :3], sides[2])
    assert torch.equal(F.scaled_dot_product_attention(*sides), before)


def test_other_threads_are_not_affected(sides) -> None:
    before = F.scaled_dot_product_attention(*sides)
    found: list[Tensor] = []
    with EagerAttention():
        thread = threading.Thread(
            target=lambda: found.append(F.scaled_dot_product_attention(*sides))
        )
        thread.start()
        thread.join()
    assert torch.equal(found[0], before)


# ---- in a backbone ------------------------------------------------------------------------------


def test_keys_of_a_vit_hardly_change(monkeypatch) -> None:
    backbone = backbones.load("bundled-vits14")
    batch = torch.from_numpy(np.random.default_rng(0).random((2, 3, 70, 98))).float()
    keys = {}
    for unit in ("avx512_bf16", "amx_bf16"):  # plain products for the former only
        monkeypatch.setattr(module, "bf16_units", lambda unit=unit: [unit])
        keys[unit] = backbone.encode(batch, ON_CPU).keys
    assert not torch.equal(*keys.values())
    assert F.cosine_similarity(*keys.values(), dim=-1).min() > 0.999


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        (["avx512_bf16"], True),
        (["amx_bf16", "avx512_bf16"], False),
        (["amx_bf16"], False),
        ([], False),
    ],
)
def test_it_pays_off_with_avx512_but_not_with_amx(units, expected, monkeypatch) -> None:
    monkeypatch.setattr(module, "bf16_units", lambda: units)
    assert pays_off(ON_CPU) is expected


@pytest.mark.parametrize(("device", "precision"), [("cuda", "bf16"), ("cpu", "fp32")])
def test_it_does_not_pay_off_on_a_gpu_or_in_float32(device, precision, monkeypatch) -> None:
    monkeypatch.setattr(module, "bf16_units", lambda: ["avx512_bf16"])
    assert pays_off(Compute(torch.device(device), precision)) is False
