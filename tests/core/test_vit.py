"""Features of a Vision Transformer: which layer they are read from, and on which device."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from bavos_core import backbones
from bavos_core.backbones import ViTBackbone, to_images
from bavos_core.backbones.vit import attention_of_cls, resample_positions
from bavos_core.settings import Compute

from .helpers import golden, random_images, tiny_vit, watched_qkv

CPU = Compute(torch.device("cpu"), "fp32")


def plain_backbone(model: VisionTransformer, layer: int) -> ViTBackbone:
    return ViTBackbone(model, layer, (0.0,) * 3, (1.0,) * 3)


REGISTERS = {"reg_tokens": 4, "no_embed_class": True}


@pytest.mark.parametrize("options", [{}, REGISTERS, {"pre_norm": True}])
@pytest.mark.parametrize("layer", [0, 2])
def test_every_kind_of_vit_gives_the_keys_of_timms_own_forward_pass(options, layer) -> None:
    model = tiny_vit(**options)
    batch = random_images(3, 32, 32)
    qkv = watched_qkv(model, layer, batch)[:, model.num_prefix_tokens :]
    queries, keys, _ = qkv.unflatten(-1, (3, 3, 8)).unbind(2)
    features = plain_backbone(model, layer).encode(batch, CPU)
    torch.testing.assert_close(features.keys, keys.transpose(1, 2), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(features.queries, queries.transpose(1, 2), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{}, REGISTERS])
@pytest.mark.parametrize("layer", [0, 2])
def test_saliency_is_what_cls_attends_to_among_all_tokens_in_the_mean_of_heads(options, layer):
    model = tiny_vit(**options)
    batch = random_images(6, 32, 32)
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
    assert backbone.encode(random_images(2, 32, 32), CPU).saliency is None


@pytest.mark.parametrize("fused", [True, False])
def test_biases_that_a_network_adds_beside_its_projection_are_part_of_its_queries(fused) -> None:
    options = {"patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3, "num_classes": 0}
    model = Eva(img_size=32, qkv_bias=True, qkv_fused=fused, **options).eval().requires_grad_(False)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    attn = model.blocks[1].attn
    seen: list[Tensor] = []
    model.blocks[1].norm1.register_forward_hook(lambda *a: seen.append(a[2]))
    batch = random_images(2, 32, 32)
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
    batch = random_images(2, 32, 32)
    keys = watched_qkv(model, 2, batch)[:, 1:].unflatten(-1, (3, 3, 8))[:, :, 1].transpose(1, 2)
    found = plain_backbone(model, 2).encode(batch, CPU).keys
    torch.testing.assert_close(found, model.blocks[2].attn.k_norm(keys), rtol=1e-4, atol=1e-5)


def test_frames_are_encoded_alike_alone_and_together() -> None:
    backbone = plain_backbone(tiny_vit(), 2)
    batch = random_images(9, 24, 40)
    together = backbone.encode(batch, CPU).keys
    alone = torch.cat([backbone.encode(frame[None], CPU).keys for frame in batch])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_pictures_are_normalised_by_mean_and_deviation() -> None:
    backbone = ViTBackbone(tiny_vit(), 2, (0.5, 0.25, 0.0), (0.5, 0.25, 2.0))
    found = backbone.normalise(torch.ones(1, 3, 2, 2))
    assert found[0, :, 0, 0].tolist() == [1.0, 3.0, 0.5]


def test_the_reference_statistics_are_used_for_dino() -> None:
    entry = backbones._TIMM["dino-vits8"]
    assert entry.mean == (0.43216, 0.394666, 0.37645)
    assert entry.std == (0.22803, 0.22145, 0.216989)


def test_bfloat16_keys_are_close_to_float32_and_come_out_as_float32() -> None:
    backbone = plain_backbone(tiny_vit(), 1)
    exact = backbone.encode(random_images(2, 24, 40), CPU).keys
    rough = backbone.encode(random_images(2, 24, 40), Compute(torch.device("cpu"), "bf16")).keys
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


# ---- where it computes ---------------------------------------------------------------------------


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
    batches = [
        random_images(2, 24, 40, seed=1),
        random_images(3, 32, 32, seed=2),
        random_images(1, 8, 64, seed=3),
    ]
    expected = [backbone.encode(batch, CPU).keys for batch in batches]
    with ThreadPoolExecutor(3) as pool:
        for _ in range(5):
            found = pool.map(lambda batch: backbone.encode(batch, CPU).keys, batches)
            assert all(map(torch.equal, found, expected))
