"""Every stage on a device that is not the CPU: no tensor is left behind, and results are equal."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bavos_core import attention
from bavos_core.backbones import Backbone, Features, load
from bavos_core.correlator import TrainedCorrelator, untrained
from bavos_core.hierarchy import build_hierarchy
from bavos_core.settings import Compute, Settings
from bavos_core.sources import attention_rows, projection

from .other_device import CPU, OTHER, other_device

SETTINGS = Settings(precision="fp32")
SOURCES = ("cross-frame", "key-similarity", "untrained")


@pytest.fixture(autouse=True)
def rows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(attention._LOGITS_AT_ONCE, OTHER.type, 2**18)


@pytest.fixture(scope="module", params=["bundled-vits14", "descriptors"])
def backbone(request: pytest.FixtureRequest) -> Backbone:
    return load(request.param)


def images() -> torch.Tensor:
    return torch.rand(6, 3, 70, 98, generator=torch.Generator().manual_seed(0))


def features(backbone: Backbone, device: torch.device) -> Features:
    return backbone.to(device).encode(images(), Compute(device=device, precision="fp32"))


def test_tensors_of_two_devices_are_refused() -> None:
    with other_device() as device:
        here, there = torch.rand(3), torch.rand(3).to(device)
        assert (there * 2 + 1).cpu().equal(there.cpu() * 2 + 1)
        with pytest.raises(RuntimeError, match="two devices"):
            here + there


def test_features_are_those_of_the_cpu(backbone: Backbone) -> None:
    expected = features(backbone, CPU)
    with other_device() as device:
        found = features(backbone, device)
        assert found.keys.device == device
        assert torch.equal(found.keys.cpu(), expected.keys)
        assert torch.equal(found.queries.cpu(), expected.queries)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("exact", [False, True])
def test_the_hierarchy_is_that_of_the_cpu(backbone: Backbone, source: str, exact: bool) -> None:
    settings = Settings(precision="fp32", exact=exact, key_ratio=2)
    here = features(backbone, CPU)
    expected = build_hierarchy(attention_rows(here, source, None, settings), settings,
                               dtype=torch.float32)  # fmt: skip
    with other_device() as device:
        rows = attention_rows(here.to(device), source, None, settings)
        found = build_hierarchy(rows, settings, dtype=torch.float32)
        assert found.assignment.index.device == device
        assert np.array_equal(found.assignment.labels.cpu().numpy(), expected.assignment.labels)
    assert np.array_equal(found.tree.merges, expected.tree.merges)


def test_a_trained_correlator_goes_to_the_features(backbone: Backbone) -> None:
    here = features(backbone, CPU)
    channels = here.channels
    block = untrained(channels, seed=0)
    trained = TrainedCorrelator(block, torch.zeros(channels), torch.ones(channels))
    expected = projection(here, "correlator", trained, SETTINGS)
    with other_device() as device:
        found = projection(here.to(device), "correlator", trained, SETTINGS)
        assert torch.equal(found.keys.cpu(), expected.keys)
    assert trained.mean.device == CPU
