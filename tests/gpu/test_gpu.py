"""Checks that need an NVIDIA GPU: visitors who share a backbone, and agreement with the CPU."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score

from bavos_core import Analysis, Settings, analyse, backbones, recluster
from bavos_lab.training import adapting

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
BUNDLED = "bundled-vits14"  # tuned on saliency labels
SETTINGS = Settings(backbone=BUNDLED, frames=12, patches=1152)


def moving_discs(seed: int, frames: int = 12) -> np.ndarray:
    """Frames (frames, 240, 432, 3) of three discs that cross a ground of noise."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:240, :432]
    ground = rng.integers(60, 110, (240, 432, 3), np.uint8)
    colours = rng.integers(120, 255, (3, 3), np.uint8)
    clip = np.repeat(ground[None], frames, axis=0)
    for t in range(frames):
        for i, colour in enumerate(colours):
            centre = 60 + 60 * i, 60 + 25 * t if i % 2 else 370 - 25 * t
            clip[t][np.hypot(rows - centre[0], columns - centre[1]) < 30] = colour
    return clip


def at_once(*works: Callable[[], object]) -> list[object]:
    """Run several functions in threads that start together; return their results."""
    barrier, results = threading.Barrier(len(works)), [None] * len(works)

    def run(i: int) -> None:
        barrier.wait()
        results[i] = works[i]()

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def labels(analysis: Analysis) -> np.ndarray:
    return analysis.segment().labels.ravel()


def alike(first: Analysis, second: Analysis) -> float:
    return float(adjusted_rand_score(labels(first), labels(second)))


@pytest.fixture(scope="module")
def backbone():
    return backbones.load(BUNDLED, device=torch.device("cuda"))


def test_two_visitors_get_what_each_would_get_alone(backbone) -> None:
    clips = [moving_discs(seed) for seed in range(2)]
    alone = [analyse(clip, SETTINGS, backbone=backbone) for clip in clips]
    for _ in range(3):
        together = at_once(
            *(lambda clip=clip: analyse(clip, SETTINGS, backbone=backbone) for clip in clips)
        )
        for one, other in zip(alone, together, strict=True):
            assert alike(one, other) > 0.99
    assert backbone.model.pos_embed.device.type == "cuda"


def test_a_correlator_stays_where_it_is_while_another_visitor_uses_it(backbone) -> None:
    analysis = analyse(moving_discs(2), SETTINGS, backbone=backbone)
    *_, last = adapting(analysis.tokens, analysis.grid, steps=3)
    on_cpu = last.correlator.to(torch.device("cpu"))
    before = {name: value.clone() for name, value in on_cpu.block.state_dict().items()}
    first, second = at_once(
        lambda: recluster(analysis, on_cpu), lambda: recluster(analysis, on_cpu)
    )
    assert alike(first, second) > 0.99
    for name, value in on_cpu.block.state_dict().items():
        assert value.device.type == "cpu"
        assert torch.equal(value, before[name])


def test_the_gpu_finds_what_the_cpu_finds(backbone) -> None:
    clip = moving_discs(3)
    on_cpu = analyse(clip, Settings(**{**SETTINGS.to_dict(), "device": "cpu"}))
    assert alike(analyse(clip, SETTINGS, backbone=backbone), on_cpu) > 0.9


def test_seconds_of_each_stage(backbone, capsys) -> None:
    """Print figures; fails only if a stage is missing."""
    for frames in (24, 80):
        settings = Settings(backbone=BUNDLED, frames=frames, patches=1152)
        clip = moving_discs(4, frames)
        analyse(clip, settings, backbone=backbone)  # warm
        analysis = analyse(clip, settings, backbone=backbone)
        assert {"features", "attention and clustering"} <= set(analysis.timings)
        with capsys.disabled():
            seconds = {stage: round(value, 3) for stage, value in analysis.timings.items()}
            print(f"\n{torch.cuda.get_device_name()}, {frames} frames: {seconds}")
