"""Backbones give queries and keys of the right shape and meaning, or say why they cannot."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from huggingface_hub import constants

from bavos_core import BackboneUnavailable, InputError, backbones
from bavos_core.backbones import ViTBackbone, timm_vit
from bavos_core.backbones.timm_vit import TimmViT, create
from bavos_core.settings import Compute

from .helpers import check_message, random_images, tiny_vit, watched_qkv

CPU = Compute(torch.device("cpu"), "fp32")
SMALL = {"dino-vits16": 16, "dinov2-vits14": 14, "dinov3-vits16": 16}


# ---- the registry --------------------------------------------------------------------------------


def test_the_names_are_those_of_the_design_and_auto_is_first() -> None:
    dino = [f"dino-vit{size}" for size in ("s8", "s16", "b8", "b16")]
    newer = ["dinov2-vits14", "dinov2-vitb14", "dinov3-vits16"]
    assert backbones.names()[:2] == ("auto", "bundled-vits14")
    assert set(backbones.names()) >= {"descriptors", *dino, *newer}


@pytest.fixture(scope="module", params=SMALL)
def small(request) -> tuple[str, ViTBackbone]:
    """A registered small backbone with random weights."""
    entry = backbones._TIMM[request.param]
    return request.param, entry.wrap(create(entry.timm_name), None)


def test_registered_backbones_encode_pictures_that_are_not_square(small) -> None:
    name, backbone = small
    patch = SMALL[name]
    assert backbone.patch == patch
    features = backbone.encode(random_images(2, 3 * patch, 5 * patch), CPU)
    assert features.grid == (3, 5)
    assert features.queries.shape == features.keys.shape == (2, 6, 15, 64)
    assert features.tokens.shape == (2, 15, 384)
    assert features.channels == 384
    assert features.scale == pytest.approx(64**-0.5)
    assert features.queries.isfinite().all()
    assert features.keys.isfinite().all()


def test_queries_keys_and_values_are_those_of_timms_own_forward_pass(small) -> None:
    name, backbone = small
    side = {"dino-vits16": 14, "dinov2-vits14": 37, "dinov3-vits16": 4}[name]  # as it was trained
    batch = random_images(1, side * backbone.patch, side * backbone.patch)
    model, layer = backbone.model, 1
    shallow = ViTBackbone(model, layer, backbone.mean, backbone.std)
    qkv = watched_qkv(model, layer, shallow.normalise(batch))[:, model.num_prefix_tokens :]
    features = shallow.encode(batch, CPU)
    found = features.queries, features.keys, shallow.values(batch, CPU)
    for side, expected in zip(found, qkv.unflatten(-1, (3, 6, 64)).unbind(2), strict=True):
        torch.testing.assert_close(side, expected.transpose(1, 2), rtol=1e-3, atol=1e-4)


def test_values_of_a_net_whose_queries_have_a_bias_of_their_own_are_not_there() -> None:
    model = timm.create_model("eva02_tiny_patch14_224", num_classes=0)
    backbone = ViTBackbone(model, 1, (0.5,) * 3, (0.5,) * 3)
    batch = random_images(1, 224, 224)
    assert backbone.values(batch, CPU) is None
    assert backbone.encode(batch, CPU).keys.isfinite().all()


@pytest.mark.parametrize("name", ["no-such-net", "dino-vits9", "", "vit_small_patch8_224.nonsense"])
def test_an_unknown_name_is_refused_and_told_where_the_names_are(name) -> None:
    with pytest.raises(InputError) as caught:
        backbones.load(name)
    assert not isinstance(caught.value, BackboneUnavailable)
    check_message(caught.value, repr(name), "segment --help")


def test_a_network_that_is_no_vision_transformer_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        backbones.load("resnet10t")
    check_message(caught.value, "'resnet10t'", "not a Vision Transformer")


def test_descriptors_take_no_weights(tmp_path) -> None:
    with pytest.raises(InputError) as caught:
        backbones.load("descriptors", weights=tmp_path / "x.pth")
    check_message(caught.value, "descriptors")


@pytest.mark.parametrize("layer", [-1, 3])
def test_a_block_that_does_not_exist_is_refused(layer) -> None:
    with pytest.raises(InputError) as caught:
        TimmViT("tiny").wrap(tiny_vit(), layer)
    check_message(caught.value, f"block {layer}", "0 to 2")


# ---- weights -------------------------------------------------------------------------------------


@pytest.fixture
def no_network(monkeypatch, tmp_path) -> None:
    """An empty cache and a hub that must not be asked."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))


@pytest.mark.usefixtures("no_network")
def test_without_weights_and_network_the_error_says_what_to_do() -> None:
    with pytest.raises(BackboneUnavailable) as caught:
        backbones.load("dino-vits8")
    check_message(caught.value, "dino-vits8", "--weights", "--backbone bundled-vits14")


@pytest.mark.usefixtures("no_network")
def test_descriptors_need_no_network() -> None:
    assert backbones.load("descriptors").note


@pytest.fixture(scope="module")
def tiny_file(tmp_path_factory) -> Path:
    """Random weights of the smallest registered ViT."""
    torch.manual_seed(0)
    model = create("vit_tiny_patch16_224")
    path = tmp_path_factory.mktemp("weights") / "tiny.pth"
    torch.save(model.state_dict(), path)
    return path


@pytest.mark.usefixtures("no_network")
def test_a_local_file_is_loaded_and_the_model_is_frozen(tiny_file) -> None:
    backbone = backbones.load("vit_tiny_patch16_224", weights=tiny_file)
    saved = torch.load(tiny_file)
    assert all(torch.equal(v, saved[k]) for k, v in backbone.model.state_dict().items())
    assert not backbone.model.training
    assert not any(p.requires_grad for p in backbone.model.parameters())


@pytest.mark.usefixtures("no_network")
def test_the_layer_asked_for_is_used(tiny_file) -> None:
    name = "vit_tiny_patch16_224"
    first, last = (backbones.load(name, weights=tiny_file, layer=n) for n in (0, 11))
    assert (first.layer, last.layer) == (0, 11)
    batch = random_images(1, 32, 48)
    assert not torch.allclose(first.encode(batch, CPU).keys, last.encode(batch, CPU).keys)


@pytest.mark.usefixtures("no_network")
def test_a_file_for_another_backbone_is_refused(tiny_file) -> None:
    with pytest.raises(InputError) as caught:
        backbones.load("dino-vits16", weights=tiny_file)
    check_message(caught.value, "tiny.pth", "does not fit")


# ---- all of timm's ViTs --------------------------------------------------------------------------


REFUSED = ("_18x2_", "_xp_", "pwee")  # parallel blocks, which have no attention of their own


@pytest.fixture(scope="module")
def shallow() -> Iterator[None]:
    """Only one block of each model is built, where that is possible; the others are like it."""

    def create_shallow(name: str, **options: Any) -> torch.nn.Module:
        with contextlib.suppress(AssertionError, TypeError):
            return create(name, depth=1, **options)
        return create(name, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timm_vit, "create", create_shallow)
        yield


@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize(
    "family", ["deit", "eva", "vision_transformer", "vision_transformer_hybrid"]
)
def test_every_vit_of_timm_encodes_or_is_refused_before_anything_is_downloaded(family) -> None:
    every = 1 if os.environ.get("BAVOS_ALL_VITS") else 6
    for name in timm.list_models(module=family)[::every]:
        if any(part in name for part in REFUSED):
            with pytest.raises(InputError) as caught:
                timm_vit.check_timm_name(name, None, "choose another")
            check_message(caught.value, repr(name), "not supported", "choose another")
        else:
            timm_vit.check_timm_name(name, None, "choose another")


@pytest.mark.parametrize("name", ["test_vit2", "test_vit3", "test_vit4", "vit_tiny_r_s16_p8_224"])
def test_accepted_vits_encode_pictures_that_are_not_square(name) -> None:
    backbone = TimmViT(name).wrap(create(name), 1)
    side = backbone.patch
    features = backbone.encode(random_images(2, 2 * side, 5 * side), CPU)
    assert features.grid == (2, 5)
    assert features.keys.shape[2] == 10
    assert features.keys.isfinite().all()


@pytest.mark.usefixtures("no_network")
def test_a_vit_whose_keys_cannot_be_read_is_refused_without_asking_for_its_weights() -> None:
    with pytest.raises(InputError) as caught:
        backbones.load("vit_small_patch16_18x2_224")
    assert not isinstance(caught.value, BackboneUnavailable)
    assert "not supported" in str(caught.value)
