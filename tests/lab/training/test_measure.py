"""The measure without labels: what it rewards."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from bavos_core.correlator import TrainedCorrelator
from bavos_lab.training.blocks import new_block
from bavos_lab.training.data import CachedClip
from bavos_lab.training.measure import beyond_chance, held_out_windows, measure, sanity, stability

from .helpers import TINY, random_tokens


def scene(noise: float, *, frames: int = 4, side: int = 12, channels: int = 32) -> Tensor:
    """Features of four regions that move to the right, one patch a frame: (T, N, C)."""
    rng = np.random.default_rng(0)
    kinds = 2 * rng.normal(size=(4, channels))
    row, column = np.mgrid[:side, :side]
    kept = [kinds[2 * (row < 6) + (column - t < 5)] for t in range(frames)]
    tokens = np.stack(kept) + noise * rng.normal(size=(frames, side, side, channels))
    return torch.from_numpy(tokens.astype(np.float32)).flatten(1, 2)


def fresh(gain: float = 2.0) -> TrainedCorrelator:
    block = new_block(32, replace(TINY, gain=gain)).eval()
    return TrainedCorrelator(block, torch.zeros(32), torch.ones(32))


@pytest.mark.parametrize(
    ("clusters", "worth"), [(1, 0), (2, 0.5), (3, 1), (12, 1), (30, 1), (60, 0.5), (300, 0.1)]
)
def test_sane_numbers_of_clusters(clusters: int, worth: float) -> None:
    assert sanity(clusters) == pytest.approx(worth)


def test_agreement_beyond_chance() -> None:
    labels = np.array([0, 0, 1, 1, 2, 2])
    assert beyond_chance(labels, labels) == 1
    assert beyond_chance(np.zeros(6, int), np.zeros(6, int)) == 0  # one cluster says nothing
    assert beyond_chance(labels, labels[::-1]) < 0.1
    # Of four, three agree; by chance 0.5·0.75 + 0.5·0.25 = 0.5 would.
    assert beyond_chance(np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1])) == pytest.approx(0.5)


def test_stability_follows_what_moves() -> None:
    tokens = scene(0.01)
    labels = torch.cdist(tokens[0], tokens[0]).lt(2).long().argmax(1)  # regions of the first frame
    moved = torch.stack([labels[torch.cdist(t, tokens[0]).argmin(1)] for t in tokens]).numpy()
    assert stability(moved, tokens) == pytest.approx(1)
    assert stability(np.repeat(moved[:1], 4, 0), tokens) < 0.95
    assert stability(moved[:1], tokens[:1]) == 1


def test_clear_regions_beat_noise_and_blur() -> None:
    window = [scene(0.3)]
    clear = measure(fresh(), window)
    assert clear.clusters == 4  # the regions
    assert clear.score == pytest.approx(1)
    assert measure(fresh(), [random_tokens(4, 144, channels=32)]).score < 0.1
    assert measure(fresh(gain=0.1), window).score == 0  # one cluster, whatever τ


def test_rows_that_stand_one_tau_only_are_worth_less() -> None:
    blurred = measure(fresh(gain=1.0), [scene(0.3)])
    assert blurred.clusters == 3  # at τ = 1, and one cluster above
    assert blurred.score == pytest.approx(1 / 3)


def test_the_measure_repeats_and_is_a_mean() -> None:
    windows = [scene(0.3), scene(1.0)]
    block = fresh()
    both = measure(block, windows)
    assert measure(block, windows) == both
    each = [measure(block, [window]).score for window in windows]
    assert both.score == pytest.approx(np.mean(each))


@pytest.mark.parametrize(
    ("length", "gap", "expected"),
    [(20, 4, [3, 7, 11, 15]), (20, 1, [8, 9, 10, 11]), (7, 4, [0, 2, 4, 6]), (3, 4, [0, 1, 2]),
     (1, 4, [0])],
)  # fmt: skip
def test_windows_come_from_the_middle(length: int, gap: int, expected: list[int]) -> None:
    features = torch.arange(length).view(-1, 1, 1).expand(-1, 4, 2).half()
    (window,) = held_out_windows([CachedClip("a", (2, 2), features)], gap)
    assert window[:, 0, 0].tolist() == expected


def test_few_windows_of_few_patches() -> None:
    features = torch.arange(24 * 48).view(1, -1, 1).expand(8, -1, 1).half()
    windows = held_out_windows([CachedClip("a", (24, 48), features)] * 9, 1)
    assert len(windows) == 6
    assert windows[0].shape == (4, 12 * 24, 1)
    assert windows[0][0, :3, 0].tolist() == [0, 2, 4]
    assert windows[0][0, 24, 0] == 96
