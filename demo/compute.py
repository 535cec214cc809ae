"""The costly calls, which run where the GPU is, and the settings that they run with.

On ZeroGPU, arguments and results of these calls must be picklable, so nothing inside them reports
progress. The GPU seconds requested are estimated from CPU timings; they were not measured there.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bavos_core import (
    Analysis,
    BackboneUnavailable,
    InputError,
    Settings,
    analyse,
    backbones,
    recluster,
)
from bavos_core.correlator import TrainedCorrelator
from bavos_core.progress import Progress
from bavos_core.settings import FRAMES_ON_CUDA, Compute
from bavos_io.clip import Clip
from bavos_io.download import FileOrUrl
from bavos_io.errors import echo
from bavos_lab.training import Step, adapting, frozen_copy

from .gpu import on_gpu
from .presets import Preset
from .settings import DemoSettings


@dataclass(frozen=True)
class Plan:
    """The settings of a run, and notices about settings that differ from those requested."""

    settings: Settings
    notices: tuple[str, ...] = ()


def plan(server: DemoSettings, backbone: str, preset: Preset) -> Plan:
    """Return the settings of a run, with the bundled backbone if the one requested is unavailable.

    The bundled one is tuned on saliency labels; a notice says that it is used. Raise
    InputError for a backbone that is neither listed nor the server's own, before anything is built
    or downloaded, and for more patches than the server allows.
    """
    offered = dict.fromkeys((*backbones.names(), backbones.canonical(server.backbone)))
    if backbones.canonical(backbone) not in offered:
        raise InputError(f"Unknown backbone {echo(backbone)}; choose {', '.join(offered)}.")
    if preset.patches > server.max_patches:
        raise InputError(
            f"{preset.patches} patches per frame were requested; give at most {server.max_patches}."
        )
    own = backbones.canonical(backbone) == backbones.canonical(server.backbone)
    weights = server.weights if own else None
    name, substitute = backbones.resolve(backbone, weights=weights, may_wait=False)
    wanted = Settings(
        backbone=name,
        weights=weights,
        correlator=server.correlator if own else "auto",
        frames=min(preset.frames, server.max_frames),
        patches=preset.patches,
    )
    try:
        loaded_backbone(name, weights, Compute.choose(wanted).device)
    except BackboneUnavailable:
        bundled = replace(wanted, backbone=backbones.BUNDLED, weights=None, correlator="auto")
        return Plan(bundled, (backbones.unreachable(name),))
    return Plan(wanted, (substitute,) if substitute else ())


@functools.lru_cache(maxsize=4)
def loaded_backbone(
    name: str, weights: FileOrUrl | None, device: torch.device
) -> backbones.Backbone:
    """Return a backbone, built once and shared by all users."""
    return backbones.load(name, weights=weights, device=device)


def backbone_of(settings: Settings) -> backbones.Backbone:
    """Return the backbone of a run, where it runs."""
    device = Compute.choose(settings).device
    return loaded_backbone(settings.backbone, settings.weights, device)


def _analysis_seconds(_clip: Clip, settings: Settings, _progress: object) -> int:
    return 20 + (settings.frames or FRAMES_ON_CUDA)


@on_gpu(_analysis_seconds)
def run_analysis(clip: Clip, settings: Settings, progress: Progress) -> Analysis:
    """Analyse a clip."""
    backbone = backbone_of(settings)
    return analyse(clip, settings, backbone=backbone, progress=progress)


def _adaptation_seconds(_tokens: object, _grid: object, steps: int, _start: object) -> int:
    return 15 + steps // 10


@on_gpu(_adaptation_seconds)
def run_adaptation(
    tokens: Tensor, grid: tuple[int, int], steps: int, start: TrainedCorrelator | None
) -> Iterator[Step]:
    """Train on the features of one clip; yield each step with a copy of the correlator (CPU)."""
    for step in adapting(tokens, grid, steps=steps, start=start):
        yield replace(step, correlator=frozen_copy(step.correlator).to(torch.device("cpu")))


def _reclustering_seconds(analysis: Analysis, _correlator: object) -> int:
    return 10 + len(analysis.frames) // 2


@on_gpu(_reclustering_seconds)
def run_reclustering(analysis: Analysis, correlator: TrainedCorrelator) -> Analysis:
    """Cluster the attention of another correlator."""
    return recluster(analysis, correlator)
