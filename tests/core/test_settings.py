"""One object decides a result: its values are checked, and a file gives it back unchanged."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bavos_core import InputError, Settings
from bavos_core.settings import GRID_PATCHES, Compute, EncoderSettings, grid_size
from bavos_lab.training.settings import TrainSettings

from .helpers import check_message


def test_the_defaults_are_the_papers_tau_and_the_backbone_that_can_be_had() -> None:
    assert Settings().tau == 1.0
    assert Settings().backbone == "auto"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"tau": 0}, "0"),
        ({"tau": -1.5}, "-1.5"),
        ({"tau": float("nan")}, "nan"),
        ({"tau": float("inf")}, "inf"),
        ({"frames": 0}, "Frames is 0"),
        ({"key_ratio": 0}, "key ratio is 0"),
        ({"size": (0, 48)}, "(0, 48)"),
        ({"size": (48, -1)}, "(48, -1)"),
        ({"device": "tpu"}, "'tpu'"),
        ({"precision": "fp8"}, "'fp8'"),
    ],
)
def test_values_that_cannot_be_used_raise_an_input_error_that_names_them(values, words) -> None:
    with pytest.raises(InputError) as caught:
        Settings(**values)
    check_message(caught.value, words)


def test_settings_cannot_be_changed_or_given_by_position() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().tau = 2.0  # type: ignore[misc]
    with pytest.raises(TypeError):
        Settings("descriptors")  # type: ignore[misc]


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        Settings(weights=Path("/w/x.pth"), size=(96, 192), frames=5, key_ratio=2, layer=0),
        Settings(weights="https://host/x.pth?a=1", correlator="https://host/x.pth"),
        Settings(exact=True, refine=True, precision="fp32", device="cpu", seed=7, tau=0.3),
    ],
)
def test_settings_survive_json(settings: Settings) -> None:
    assert Settings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings


def test_unknown_names_in_saved_settings_raise_an_input_error() -> None:
    with pytest.raises(InputError) as caught:
        Settings.from_dict({"tau": 1.0, "zeta": 3, "alpha": 4})
    check_message(caught.value, "alpha, zeta")


@pytest.mark.parametrize(
    ("exact", "refine", "refined"),
    [(False, None, True), (True, None, False), (True, True, True), (False, False, False)],
)
def test_masks_are_refined_unless_exact_or_told_otherwise(exact, refine, refined) -> None:
    assert Settings(exact=exact, refine=refine).refined is refined


def test_the_key_ratio_is_the_papers_in_exact_mode_and_always_what_was_given() -> None:
    assert Settings().key_every == 5
    assert Settings(exact=True).key_every == 10
    assert Settings(exact=True, key_ratio=4).key_every == 4


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner) |
    st.tuples(inner, inner) | st.builds(Path, st.just("x")),
    max_leaves=5,
)  # fmt: skip
SENSIBLE = st.sampled_from(
    [0, 1, -1, 2, 10**30, -(10**30), 0.5, 1e-9, 1e308, float("inf"), float("nan"), True, None, "",
     "cpu", "cuda", "bf16", "key-similarity", "descriptors", "identity", "both", (1, 1), (0, 5),
     (48, 64), [48, 64], (1.5, 2), (True, True), "48x64", Path("x"), "https://host/x", np.int64(3),
     np.float32(0.5)]
)  # fmt: skip


def made_or_refused(make: Callable[[], EncoderSettings]) -> EncoderSettings | None:
    """The settings, or None after an InputError; everything else is let through."""
    try:
        return make()
    except InputError as error:
        return None if 10 < len(str(error)) < 250 else pytest.fail(str(error))


def test_a_refused_value_is_shown_short_however_deep_it_is() -> None:
    deep = {"a" * 60: {"b" * 60: ("c" * 60, "d" * 60)}, "e" * 60: {"f" * 60: "g" * 60}}
    with pytest.raises(InputError) as refused:
        Settings(backbone=deep)
    assert str(refused.value).endswith("; give a word.")
    assert len(str(refused.value)) < 120


@pytest.mark.parametrize("kind", [Settings, TrainSettings])
@hypothesis.settings(max_examples=500, deadline=None)
@given(data=st.data())
def test_any_values_give_settings_or_an_input_error(kind, data) -> None:
    names = [field.name for field in dataclasses.fields(kind)]
    values = data.draw(st.dictionaries(st.sampled_from(names), SENSIBLE | ANYTHING, max_size=3))
    settings = made_or_refused(lambda: kind(**values))
    if settings:
        hash(settings)
        document = settings.to_dict()
        assert kind.from_dict(json.loads(json.dumps(document))).to_dict() == document
    made_or_refused(lambda: kind.from_dict(values))  # which takes lists and strings for some


@pytest.mark.parametrize("kind", [Settings, TrainSettings])
@given(values=st.dictionaries(st.text(max_size=5), ANYTHING, max_size=3) | ANYTHING)
def test_any_saved_values_give_settings_or_an_input_error(kind, values) -> None:
    saved = made_or_refused(lambda: kind.from_dict(values))
    assert (saved == kind()) is (values == {})


# ---- compute ------------------------------------------------------------------------------------


def test_exact_mode_computes_in_float32() -> None:
    compute = Compute.choose(Settings(exact=True, device="cpu"))
    assert compute.dtype == torch.float32
    assert not compute.on_cuda


@pytest.mark.parametrize(("name", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_a_given_precision_is_the_one_used(name, dtype) -> None:
    assert Compute.choose(Settings(precision=name, device="cpu")).dtype == dtype


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_asking_for_cuda_where_there_is_none_raises_an_input_error() -> None:
    with pytest.raises(InputError) as caught:
        Compute.choose(Settings(device="cuda"))
    check_message(caught.value, "CUDA", "--device cpu")
    assert Compute.choose(Settings(device="auto")).device.type == "cpu"


# ---- patch grid ---------------------------------------------------------------------------------


def test_the_exact_grid_is_the_papers_whatever_the_clip() -> None:
    assert grid_size((1080, 608), 8, Settings(exact=True)) == (40, 60)
    assert grid_size((1080, 608), 16, Settings(exact=True)) == (20, 30)


@pytest.mark.parametrize(
    ("size", "patch", "grid"),
    [((192, 384), 8, (24, 48)), ((190, 390), 8, (24, 49)), ((3, 3), 14, (1, 1))],
)
def test_a_given_size_is_rounded_to_whole_patches(size, patch, grid) -> None:
    assert grid_size((480, 854), patch, Settings(size=size)) == grid
    assert grid_size((480, 854), patch, Settings(size=size, exact=True)) == grid


@given(st.integers(100, 4000), st.floats(0.25, 4))
def test_the_default_grid_has_about_1152_patches_in_the_shape_of_the_clip(height, aspect) -> None:
    width = max(1, round(height * aspect))
    h, w = grid_size((height, width), 8, Settings())
    assert h * w == pytest.approx(GRID_PATCHES, rel=0.04)
    assert w / h == pytest.approx(width / height, rel=0.08)


@pytest.mark.parametrize("patches", [100, 648, 1600])
def test_the_number_of_patches_can_be_chosen(patches) -> None:
    h, w = grid_size((480, 854), 8, Settings(patches=patches))
    assert h * w == pytest.approx(patches, rel=0.05)


@pytest.mark.parametrize("size", [(1, 5000), (5000, 1), (1, 1)])
def test_extreme_shapes_still_have_a_grid(size) -> None:
    assert min(grid_size(size, 8, Settings())) >= 1
