"""Training on a device that is not the CPU: no tensor is left behind, and losses are equal."""

from __future__ import annotations

import pytest
import torch

from bavos_core import attention
from bavos_core.correlator import TrainedCorrelator, untrained
from bavos_lab.training.forward import block_losses
from bavos_lab.training.measure import measure
from tests.core.other_device import CPU, OTHER, other_device

CHANNELS, PATCHES = 16, 48


def correlator() -> TrainedCorrelator:
    return TrainedCorrelator(
        untrained(CHANNELS, seed=0), torch.zeros(CHANNELS), torch.ones(CHANNELS)
    )


def tokens() -> torch.Tensor:
    return torch.rand(3, PATCHES, CHANNELS, generator=torch.Generator().manual_seed(1))


def losses_on(device: torch.device, weighting: str) -> tuple[list[float], list[torch.Tensor]]:
    """The two losses and all gradients."""
    block = correlator().to(device).block
    block.requires_grad_(True)
    found = block_losses(
        block, tokens().to(device), torch.tensor([3, 20]).to(device), weighting=weighting
    )
    found.total.backward()
    assert found.total.device == device
    gradients = [parameter.grad for parameter in block.parameters()]
    assert all(gradient.device == device for gradient in gradients)
    return [found.semantic.item(), found.motion.item()], [g.to(CPU) for g in gradients]


@pytest.mark.parametrize("weighting", ["motion", "both"])
def test_losses_and_gradients_are_those_of_the_cpu(weighting: str) -> None:
    expected, expected_gradients = losses_on(CPU, weighting)
    with other_device() as device:
        found, gradients = losses_on(device, weighting)
    assert found == pytest.approx(expected, rel=1e-5)
    for one, other in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)


def test_the_measure_is_that_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(attention._LOGITS_AT_ONCE, OTHER.type, 2**18)
    windows = [tokens()]
    expected = measure(correlator(), windows)
    with other_device() as device:
        assert measure(correlator().to(device), windows) == expected
