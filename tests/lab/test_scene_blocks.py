"""Other blocks of the backbone as parts of a scene, against torch's own forward pass."""

from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from torch import Tensor

from bavos_core import Analysis, InputError, backbones
from bavos_core.backbones import ViTBackbone
from bavos_core.backbones.vit import with_positions
from bavos_lab.scene import Scene, blocks, unpack
from tests.core.helpers import watched_qkv


@pytest.fixture(scope="module")
def backbone() -> ViTBackbone:
    torch.manual_seed(0)
    options = {"embed_dim": 48, "depth": 3, "num_heads": 3, "num_classes": 0}
    model = timm.create_model("vit_tiny_patch16_224", **options).eval()
    return ViTBackbone(model, 2, (0.5,) * 3, (0.5,) * 3)


def vectors(part: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Queries and keys (H, T·N, R) of a part."""
    _, blobs = unpack(part)
    keys = blobs["k"] * blobs["scale_k"][:, None]
    return blobs.get("q", blobs["k"]) * blobs["scale_q"][:, None], keys


def qkv_of(backbone: ViTBackbone, analysis: Analysis, block: int) -> Tensor:
    """What the `qkv` layer of a block gives for the patches (3, T·N, C), in float32."""
    images = backbones.to_images(analysis.frames, analysis.grid, backbone.patch)
    model = with_positions(backbone.model, analysis.grid)
    qkv = watched_qkv(model, block, backbone.normalise(images))[:, 1:]
    return qkv.unflatten(-1, (3, -1)).flatten(0, 1).transpose(0, 1)


@pytest.mark.parametrize("block", [0, 2])
@pytest.mark.parametrize(("side", "which"), [("query", 0), ("key", 1), ("value", 2)])
def test_products_are_cosines_of_the_vectors_of_a_block(
    reef: Analysis, backbone, block, side, which
) -> None:
    exact = replace(reef, settings=replace(reef.settings, precision="fp32"))
    _, sent = vectors(Scene(exact, backbone).part(f"attention/block-{block}-{side}"))
    own = qkv_of(backbone, exact, block)[which]
    unit = torch.nn.functional.normalize(own - own.mean(0), dim=-1)
    some = torch.arange(0, len(unit), 37)
    expected = (unit[some] @ unit.T).numpy()
    apart = np.abs(sent[0, some] @ sent[0].T - expected)
    assert apart.mean() < 0.02
    assert apart.max() < 0.1


def test_attention_of_a_block_has_its_logits_up_to_a_constant(reef: Analysis, backbone) -> None:
    exact = replace(reef, settings=replace(reef.settings, precision="fp32"))
    queries, keys = vectors(Scene(exact, backbone).part("attention/block-1-attention"))
    q, k, _ = (x.unflatten(-1, (3, 16)).transpose(0, 1) for x in qkv_of(backbone, exact, 1))
    expected = (q[:, ::61] @ k.mT * 16**-0.5).numpy()
    found = queries[:, ::61] @ keys.transpose(0, 2, 1)
    apart = found - found.mean(2, keepdims=True) - expected + expected.mean(2, keepdims=True)
    assert np.abs(apart).max() < 0.02 * np.ptp(expected)


@pytest.mark.parametrize("name", ["block-3-key", "block-1-nothing", "block--1-key", "block-1"])
def test_a_block_that_does_not_exist_is_refused(reef: Analysis, backbone, name) -> None:
    with pytest.raises(InputError):
        Scene(reef, backbone).part(f"attention/{name}")


def test_backbones_that_are_no_vit_have_no_blocks(reef: Analysis, backbone) -> None:
    assert blocks(backbone) == 3
    descriptors = backbones.load("descriptors")
    assert blocks(descriptors) == 0
    with pytest.raises(InputError, match="0 blocks"):
        Scene(reef, descriptors).part("attention/block-0-key")
    with pytest.raises(InputError):
        Scene(reef).part("attention/block-0-key")
