"""Parity with the reference code, at the tolerances stated in golden/README.md.

training_losses.npz is compared in tests/lab/training/test_losses.py.
"""

import numpy as np
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from bavos_core.attention import AttentionRows, key_frames
from bavos_core.backbones.vit import ViTBackbone, projections, with_positions
from bavos_core.clustering import assign, find_clusters
from bavos_core.correlator import TemporalCorrelator
from bavos_core.distances import LogRows, Windows, symmetric_kl
from bavos_core.settings import Compute

from .helpers import golden, golden_weights, whole_pass

CLUSTERINGS = [
    (name, tau)
    for name, taus in {
        "synthetic_a": ("0.5", "1.0", "2.0"),
        "synthetic_b": ("0.5", "1.0", "2.0"),
        "real": ("0.25", "0.5", "1.0", "2.0"),
    }.items()
    for tau in taus
]


def assert_close(found: torch.Tensor, expected: np.ndarray, tolerance: float) -> None:
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=tolerance, atol=tolerance)


# ---- distance -----------------------------------------------------------------------------------


def test_the_distance_is_the_references() -> None:
    arrays = golden("distance")
    p, q = (LogRows.of(torch.tensor(arrays[k])) for k in "pq")
    assert_close(symmetric_kl(p, q), arrays["distance"], 1e-5)


# ---- encoder ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def encoder() -> dict[str, np.ndarray]:
    return golden("encoder_vit")


@pytest.fixture(scope="module")
def vit(encoder: dict[str, np.ndarray]) -> ViTBackbone:
    model = VisionTransformer(
        img_size=32, patch_size=8, embed_dim=24, depth=3, num_heads=3, num_classes=0
    )
    model.load_state_dict(golden_weights(encoder))
    return ViTBackbone(model.eval().requires_grad_(False), 2, (0.0,) * 3, (1.0,) * 3)


def as_maps(tokens: torch.Tensor) -> torch.Tensor:
    """(T, N, C) → (T, C, 5, 9)."""
    return tokens.mT.unflatten(2, (5, 9))


def test_the_encoders_keys_are_the_references(vit: ViTBackbone, encoder: dict) -> None:
    features = vit.encode(torch.tensor(encoder["image"]), Compute(torch.device("cpu"), "fp32"))
    assert features.grid == (5, 9)
    assert_close(as_maps(features.tokens), encoder["keys"], 1e-4)


def test_the_encoders_output_tokens_are_the_references(vit: ViTBackbone, encoder: dict) -> None:
    model = with_positions(vit.model, (5, 9))
    maps, prefix = model.forward_intermediates(
        torch.tensor(encoder["image"]), [2], return_prefix_tokens=True, intermediates_only=True
    )[0]
    assert_close(prefix[:, 0], encoder["cls_token"], 1e-4)
    assert_close(maps, encoder["tokens"], 1e-4)


def test_the_encoders_last_attention_is_the_references(vit: ViTBackbone, encoder: dict) -> None:
    model = with_positions(vit.model, (5, 9))
    queries, keys, _ = projections(model, 2, torch.tensor(encoder["image"]))
    attention = (queries @ keys.mT * queries.shape[-1] ** -0.5).softmax(-1)
    assert_close(attention, encoder["last_attention"], 1e-4)


# ---- correlator ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def correlator() -> tuple[TemporalCorrelator, dict[str, np.ndarray]]:
    arrays = golden("correlator_block")
    block = TemporalCorrelator(24, heads=4).eval()
    block.load_state_dict(golden_weights(arrays))
    return block, arrays


def test_the_correlators_output_and_attention_are_the_references(correlator: tuple) -> None:
    block, arrays = correlator
    output, attention = whole_pass(block, torch.tensor(arrays["tokens"]))
    assert_close(output, arrays["output"], 1e-5)
    assert_close(attention, arrays["attention"], 1e-5)


def test_the_correlators_attention_to_key_frames_is_the_references(correlator: tuple) -> None:
    block, arrays = correlator
    queries, keys = block.queries_keys(torch.tensor(arrays["features"]))
    chosen = key_frames(len(queries), int(arrays["key_ratio"]))
    rows = AttentionRows(queries, keys[chosen], block.scale).rows(0, len(queries))
    assert_close(rows, arrays["inference_attention"], 1e-5)


# ---- clustering ---------------------------------------------------------------------------------


def clustering_input(arrays: dict[str, np.ndarray]) -> AttentionRows:
    if "features" in arrays:
        queries = keys = torch.tensor(arrays["features"]).float().unsqueeze(1)
    else:
        queries, keys = torch.tensor(arrays["q"]), torch.tensor(arrays["k"])
    chosen = key_frames(len(queries), int(arrays["key_ratio"]))
    return AttentionRows(queries, keys[chosen], float(arrays["scale"]))


@pytest.mark.parametrize(("name", "tau"), CLUSTERINGS)
def test_clusters_and_labels_are_the_references(name: str, tau: str) -> None:
    arrays = golden(f"clustering_{name}")
    attention = clustering_input(arrays)
    found = find_clusters(Windows(attention), float(tau))
    labels = (
        assign(Windows(attention), found.centroids)
        .labels.unflatten(1, tuple(arrays["grid"]))
        .numpy()
    )
    assert len(found.centroids) == arrays[f"clusters_tau{tau}"]
    assert (labels == arrays[f"labels_tau{tau}"]).mean() >= 0.999


def test_no_recorded_clustering_is_left_out() -> None:
    recorded = {
        (name, key.removeprefix("labels_tau"))
        for name in ("synthetic_a", "synthetic_b", "real")
        for key in golden(f"clustering_{name}")
        if key.startswith("labels_tau")
    }
    assert recorded == set(CLUSTERINGS)
