"""Backbones give queries and keys of the right shape and meaning, or say why they cannot."""

import contextlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from huggingface_hub import constants
from scipy.ndimage import gaussian_filter
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from bavos_core import BackboneUnavailable, InputError, backbones
from bavos_core.attention import AttentionRows, centred_unit, perplexity_scale
from bavos_core.backbones import ViTBackbone, timm_vit, to_images
from bavos_core.backbones.descriptors import blur, border_contrast, rgb_to_lab
from bavos_core.backbones.timm_vit import TimmViT, create
from bavos_core.backbones.vit import attention_of_cls, resample_positions
from bavos_core.settings import Compute

from .helpers import check_message, golden, tiny_vit

CPU = Compute(torch.device("cpu"), "fp32")
SMALL = {"dino-vits16": 16, "dinov2-vits14": 14, "dinov3-vits16": 16}


def images(frames: int, height: int, width: int, seed: int = 0) -> Tensor:
    """(frames, 3, height, width) in 0 … 1."""
    return torch.tensor(np.random.default_rng(seed).random((frames, 3, height, width))).float()


def plain_backbone(model: VisionTransformer, layer: int) -> ViTBackbone:
    return ViTBackbone(model, layer, (0.0,) * 3, (1.0,) * 3)


def watched_qkv(model: torch.nn.Module, layer: int, batch: Tensor) -> Tensor:
    """What timm's own forward pass computes in the `qkv` layer of one block."""
    seen: list[Tensor] = []
    hook = model.blocks[layer].attn.qkv.register_forward_hook(lambda *a: seen.append(a[2]))
    with torch.inference_mode():
        model.forward_features(batch)
    hook.remove()
    return seen[0]


# ---- the registry -------------------------------------------------------------------------------


def test_the_names_are_those_of_the_design_and_auto_is_first() -> None:
    dino = [f"dino-vit{size}" for size in ("s8", "s16", "b8", "b16")]
    newer = ["dinov2-vits14", "dinov2-vitb14", "dinov3-vits16"]
    assert backbones.names()[:2] == ("auto", "bundled-vits14")
    assert set(backbones.names()) >= {"descriptors", *dino, *newer}


@pytest.fixture(scope="module", params=SMALL)
def small(request) -> tuple[str, ViTBackbone]:
    """A registered small backbone with random weights."""
    entry = backbones._BUILDERS[request.param]
    return request.param, entry.wrap(create(entry.timm_name), None)


def test_registered_backbones_encode_pictures_that_are_not_square(small) -> None:
    name, backbone = small
    patch = SMALL[name]
    assert backbone.patch == patch
    features = backbone.encode(images(2, 3 * patch, 5 * patch), CPU)
    assert features.grid == (3, 5)
    assert features.queries.shape == features.keys.shape == (2, 6, 15, 64)
    assert features.tokens.shape == (2, 15, 384)
    assert features.channels == 384
    assert features.scale == pytest.approx(64**-0.5)
    assert features.queries.isfinite().all()
    assert features.keys.isfinite().all()


def test_keys_are_those_of_timms_own_forward_pass(small) -> None:
    name, backbone = small
    side = {"dino-vits16": 14, "dinov2-vits14": 37, "dinov3-vits16": 4}[name]  # as it was trained
    batch = images(1, side * backbone.patch, side * backbone.patch)
    model, layer = backbone.model, 1
    shallow = ViTBackbone(model, layer, backbone.mean, backbone.std)
    qkv = watched_qkv(model, layer, shallow.normalise(batch))[:, model.num_prefix_tokens :]
    features = shallow.encode(batch, CPU)
    queries, keys, _ = qkv.unflatten(-1, (3, 6, 64)).unbind(2)
    torch.testing.assert_close(features.keys, keys.transpose(1, 2), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(features.queries, queries.transpose(1, 2), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["no-such-net", "dino-vits9", "", "vit_small_patch8_224.nonsense"])
def test_an_unknown_name_is_refused_with_the_names_there_are(name) -> None:
    with pytest.raises(InputError) as caught:
        backbones.load(name)
    assert not isinstance(caught.value, BackboneUnavailable)
    check_message(caught.value, repr(name), "descriptors", "dino-vits8")


def test_a_network_that_is_no_vision_transformer_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        backbones.load("resnet10t")
    check_message(caught.value, "'resnet10t'", "no Vision Transformer")


def test_descriptors_take_no_weights(tmp_path) -> None:
    with pytest.raises(InputError) as caught:
        backbones.load("descriptors", weights=tmp_path / "x.pth")
    check_message(caught.value, "descriptors")


@pytest.mark.parametrize("layer", [-1, 3])
def test_a_block_that_does_not_exist_is_refused(layer) -> None:
    with pytest.raises(InputError) as caught:
        TimmViT("tiny").wrap(tiny_vit(), layer)
    check_message(caught.value, f"block {layer}", "0 to 2")


# ---- weights ------------------------------------------------------------------------------------


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
    batch = images(1, 32, 48)
    assert not torch.allclose(first.encode(batch, CPU).keys, last.encode(batch, CPU).keys)


@pytest.mark.usefixtures("no_network")
def test_a_file_for_another_backbone_is_refused(tiny_file) -> None:
    with pytest.raises(InputError) as caught:
        backbones.load("dino-vits16", weights=tiny_file)
    check_message(caught.value, "tiny.pth", "does not fit")


# ---- Vision Transformers ------------------------------------------------------------------------


REGISTERS = {"reg_tokens": 4, "no_embed_class": True}


@pytest.mark.parametrize("options", [{}, REGISTERS, {"pre_norm": True}])
@pytest.mark.parametrize("layer", [0, 2])
def test_every_kind_of_vit_gives_the_keys_of_timms_own_forward_pass(options, layer) -> None:
    model = tiny_vit(**options)
    batch = images(3, 32, 32)
    qkv = watched_qkv(model, layer, batch)[:, model.num_prefix_tokens :]
    queries, keys, _ = qkv.unflatten(-1, (3, 3, 8)).unbind(2)
    features = plain_backbone(model, layer).encode(batch, CPU)
    torch.testing.assert_close(features.keys, keys.transpose(1, 2), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(features.queries, queries.transpose(1, 2), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{}, REGISTERS])
@pytest.mark.parametrize("layer", [0, 2])
def test_saliency_is_what_cls_attends_to_among_all_tokens_in_the_mean_of_heads(options, layer):
    model = tiny_vit(**options)
    batch = images(6, 32, 32)
    found = plain_backbone(model, layer).encode(batch, CPU).saliency
    queries, keys, _ = watched_qkv(model, layer, batch).unflatten(-1, (3, 3, 8)).unbind(2)
    heads = []
    for head in range(3):
        logits = (keys[:, :, head] * queries[:, :1, head]).sum(-1) / 8**0.5  # (T, L)
        powers = torch.exp(logits.double() - logits.amax(1, keepdim=True))
        heads.append(powers / powers.sum(1, keepdim=True))
    expected = (sum(heads) / 3)[:, model.num_prefix_tokens :].float()
    assert found.shape == (6, 16)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)


def test_what_cls_attends_to_worked_out_by_hand() -> None:
    # One head of four channels: logits of [CLS] are 0, log 2 · 2 / 2 and log 3 · 2 / 2.
    queries = torch.tensor([[2.0, 0, 0, 0], [9, 9, 9, 9], [9, 9, 9, 9]])[None, None]
    keys = torch.zeros(1, 1, 3, 4)
    keys[..., 0] = torch.tensor([1.0, 2.0, 3.0]).log()
    found = attention_of_cls(queries, keys)
    torch.testing.assert_close(found, torch.tensor([[1, 2, 3]]) / 6)
    other = torch.zeros(1, 1, 3, 4)  # a second head that attends evenly
    found = attention_of_cls(queries.repeat(1, 2, 1, 1), torch.cat([keys, other], 1))
    torch.testing.assert_close(found, (torch.tensor([[1, 2, 3]]) / 6 + 1 / 3) / 2)


def test_a_network_without_cls_has_no_saliency() -> None:
    backbone = plain_backbone(tiny_vit(class_token=False, global_pool="avg"), 1)
    assert not backbone.has_cls
    assert backbone.encode(images(2, 32, 32), CPU).saliency is None


@pytest.mark.parametrize("fused", [True, False])
def test_biases_that_a_network_adds_beside_its_projection_are_part_of_its_queries(fused) -> None:
    options = {"patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3, "num_classes": 0}
    model = Eva(img_size=32, qkv_bias=True, qkv_fused=fused, **options).eval().requires_grad_(False)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    attn = model.blocks[1].attn
    seen: list[Tensor] = []
    model.blocks[1].norm1.register_forward_hook(lambda *a: seen.append(a[2]))
    batch = images(2, 32, 32)
    with torch.inference_mode():
        model.forward_features(batch)
    if fused:
        weights = attn.qkv.weight.chunk(3)
        queries, keys = seen[0] @ weights[0].T + attn.q_bias, seen[0] @ weights[1].T
    else:
        queries = seen[0] @ attn.q_proj.weight.T + attn.q_proj.bias
        keys = seen[0] @ attn.k_proj.weight.T  # EVA's keys have no bias
    found = plain_backbone(model, 1).encode(batch, CPU)
    for side, expected in ((found.queries, queries), (found.keys, keys)):
        expected = expected[:, 1:].unflatten(-1, (3, 8)).transpose(1, 2)
        torch.testing.assert_close(side, expected, rtol=1e-4, atol=1e-5)


def test_normalised_keys_are_used_where_the_network_normalises_them() -> None:
    model = tiny_vit(qk_norm=True)
    batch = images(2, 32, 32)
    keys = watched_qkv(model, 2, batch)[:, 1:].unflatten(-1, (3, 3, 8))[:, :, 1].transpose(1, 2)
    found = plain_backbone(model, 2).encode(batch, CPU).keys
    torch.testing.assert_close(found, model.blocks[2].attn.k_norm(keys), rtol=1e-4, atol=1e-5)


def test_frames_are_encoded_alike_alone_and_together() -> None:
    backbone = plain_backbone(tiny_vit(), 2)
    batch = images(9, 24, 40)
    together = backbone.encode(batch, CPU).keys
    alone = torch.cat([backbone.encode(frame[None], CPU).keys for frame in batch])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_pictures_are_normalised_by_mean_and_deviation() -> None:
    backbone = ViTBackbone(tiny_vit(), 2, (0.5, 0.25, 0.0), (0.5, 0.25, 2.0))
    found = backbone.normalise(torch.ones(1, 3, 2, 2))
    assert found[0, :, 0, 0].tolist() == [1.0, 3.0, 0.5]


def test_the_reference_statistics_are_used_for_dino() -> None:
    entry = backbones._BUILDERS["dino-vits8"]
    assert entry.mean == (0.43216, 0.394666, 0.37645)
    assert entry.std == (0.22803, 0.22145, 0.216989)


def test_bfloat16_keys_are_close_to_float32_and_come_out_as_float32() -> None:
    backbone = plain_backbone(tiny_vit(), 1)
    exact = backbone.encode(images(2, 24, 40), CPU).keys
    rough = backbone.encode(images(2, 24, 40), Compute(torch.device("cpu"), "bf16")).keys
    assert rough.dtype == torch.float32
    cosine = torch.nn.functional.cosine_similarity(rough, exact, dim=-1)
    assert cosine.min() > 0.99


def test_positions_of_the_trained_grid_are_left_alone_and_others_keep_the_prefix() -> None:
    positions = torch.tensor(golden("encoder_vit")["w:pos_embed"])
    assert torch.equal(resample_positions(positions, (4, 4), 1), positions)
    found = resample_positions(positions, (5, 9), 1)
    assert found.shape == (1, 46, 24)
    assert torch.equal(found[:, :1], positions[:, :1])


def test_a_constant_position_embedding_stays_constant_on_every_grid() -> None:
    for grid in ((1, 1), (1, 9), (3, 4), (40, 60)):
        found = resample_positions(torch.full((1, 17, 5), 0.7), grid, 1)
        assert found.shape == (1, 1 + grid[0] * grid[1], 5)
        torch.testing.assert_close(found, torch.full_like(found, 0.7))


def test_frames_become_images_of_whole_patches_in_zero_to_one() -> None:
    frames = np.full((2, 30, 50, 3), (255, 51, 0), np.uint8)
    found = to_images(frames, (3, 5), 8)
    assert found.shape == (2, 3, 24, 40)
    torch.testing.assert_close(found[:, :, 7, 9], torch.tensor([[1.0, 0.2, 0.0]] * 2))
    exact = np.random.default_rng(0).integers(0, 256, (1, 16, 24, 3), np.uint8)
    np.testing.assert_allclose(
        to_images(exact, (2, 3), 8).numpy(), exact.transpose(0, 3, 1, 2) / 255, atol=1e-6
    )


# ---- where it computes --------------------------------------------------------------------------


def test_a_backbone_on_another_device_is_a_copy_and_the_first_stays_where_it_was() -> None:
    backbone = plain_backbone(tiny_vit(), 2)
    before = {name: tensor.clone() for name, tensor in backbone.model.state_dict().items()}
    elsewhere = backbone.to(torch.device("meta"))
    assert {p.device.type for p in elsewhere.model.parameters()} == {"meta"}
    assert {p.device.type for p in backbone.model.parameters()} == {"cpu"}
    after = backbone.model.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert elsewhere.layer == backbone.layer
    assert backbone.to(torch.device("cpu")) is backbone


def test_threads_that_share_a_backbone_do_not_disturb_each_other() -> None:
    backbone = plain_backbone(tiny_vit(), 2)
    batches = [images(2, 24, 40, seed=1), images(3, 32, 32, seed=2), images(1, 8, 64, seed=3)]
    expected = [backbone.encode(batch, CPU).keys for batch in batches]
    with ThreadPoolExecutor(3) as pool:
        for _ in range(5):
            found = pool.map(lambda batch: backbone.encode(batch, CPU).keys, batches)
            assert all(map(torch.equal, found, expected))


# ---- all of timm's ViTs -------------------------------------------------------------------------


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
    features = backbone.encode(images(2, 2 * side, 5 * side), CPU)
    assert features.grid == (2, 5)
    assert features.keys.shape[2] == 10
    assert features.keys.isfinite().all()


@pytest.mark.usefixtures("no_network")
def test_a_vit_whose_keys_cannot_be_read_is_refused_without_asking_for_its_weights() -> None:
    with pytest.raises(InputError) as caught:
        backbones.load("vit_small_patch16_18x2_224")
    assert not isinstance(caught.value, BackboneUnavailable)
    assert "not supported" in str(caught.value)


# ---- descriptors --------------------------------------------------------------------------------


@pytest.mark.parametrize(("frames", "grid"), [(1, (1, 1)), (1, (6, 8)), (3, (1, 7)), (4, (5, 3))])
def test_descriptors_give_finite_features_of_the_right_shape_on_any_grid(frames, grid) -> None:
    features = backbones.load("descriptors").encode(images(frames, grid[0] * 8, grid[1] * 8), CPU)
    assert features.grid == grid
    assert features.keys.shape == features.queries.shape
    assert features.keys.shape[:3] == (frames, 1, grid[0] * grid[1])
    assert features.channels % 8 == 0  # the correlator has 8 heads
    assert features.tokens.isfinite().all()


def test_descriptors_give_as_many_channels_for_every_clip() -> None:
    widths = {
        backbones.load("descriptors").encode(batch, CPU).channels
        for batch in (images(1, 8, 8), images(3, 48, 64), torch.zeros(1, 3, 16, 16))
    }
    assert len(widths) == 1


@pytest.mark.parametrize("colour", [(0, 0, 0), (1, 1, 1), (0.2, 0.9, 0.4)])
@pytest.mark.parametrize("frames", [1, 3])
def test_descriptors_are_finite_on_frames_of_one_colour(colour, frames) -> None:
    batch = torch.tensor(colour, dtype=torch.float32).view(1, 3, 1, 1).repeat(frames, 1, 48, 64)
    tokens = backbones.load("descriptors").encode(batch, CPU).tokens
    assert tokens.isfinite().all()
    unit = centred_unit(tokens)
    rows = AttentionRows(unit, unit, perplexity_scale(unit, unit)).rows(0, frames)
    torch.testing.assert_close(rows.sum(1), torch.ones(frames * 48))


def test_descriptors_give_the_same_for_the_same_clip() -> None:
    first, again = (
        backbones.load("descriptors").encode(images(3, 48, 64), CPU).keys for _ in range(2)
    )
    assert torch.equal(first, again)


def test_descriptors_tell_a_square_from_what_surrounds_it() -> None:
    batch = 0.2 + 0.05 * images(3, 64, 96)
    batch[:, :, 16:48, 32:64] += torch.tensor([0.6, 0.1, 0.0]).view(3, 1, 1)
    unit = centred_unit(backbones.load("descriptors").encode(batch, CPU).tokens)[0, 0].unflatten(
        0, (8, 12)
    )
    inside, outside = unit[3:5, 5:7].flatten(0, 1), unit[0]
    assert (inside @ inside.T).min() > 0.5
    assert (inside @ outside.T).max() < 0


def test_lab_values_are_those_of_the_tables() -> None:
    colours = {
        (1, 1, 1): (100, 0, 0), (0, 0, 0): (0, 0, 0), (1, 0, 0): (53.24, 80.09, 67.20),
        (0, 1, 0): (87.73, -86.18, 83.18), (0, 0, 1): (32.30, 79.19, -107.86),
    }  # fmt: skip
    for rgb, lab in colours.items():
        found = rgb_to_lab(torch.tensor(rgb).float().view(1, 3, 1, 1)).flatten() * 100
        np.testing.assert_allclose(found.numpy(), lab, atol=0.15)


@pytest.mark.parametrize("sigma", [0.7, 1.4, 2.0, 5.6])
@pytest.mark.parametrize("size", [(40, 50), (3, 2), (1, 1)])
def test_the_blur_is_a_gaussian_with_edges_repeated(sigma, size) -> None:
    maps = np.random.default_rng(0).random((2, 3, *size))
    reach = max(1, round(3 * sigma))
    expected = gaussian_filter(maps, sigma, mode="nearest", axes=(2, 3), radius=reach)
    found = blur(torch.tensor(maps).float(), sigma).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_contrast_is_the_mean_distance_to_the_nearest_border_patches() -> None:
    maps = np.random.default_rng(0).random((2, 5, 7, 9))
    border = np.ones((7, 9), bool)
    border[2:-2, 2:-2] = False
    expected = np.empty((2, 1, 7, 9))
    for t, y, x in np.ndindex(2, 7, 9):
        apart = np.linalg.norm(maps[t][:, border].T - maps[t, :, y, x], axis=1)
        expected[t, 0, y, x] = np.sort(apart)[:20].mean()
    found = border_contrast(torch.tensor(maps)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)
