"""How many frames and patches a run analyses, and how long that takes on this machine."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from bavos_core import Analysis
from bavos_core.progress import Stage
from bavos_core.settings import GRID_PATCHES, SAMPLED_KEY_RATIO

from .gpu import ZERO_GPU
from .settings import DemoSettings


@dataclass(frozen=True)
class Preset:
    """The number of frames and patches of a run."""

    frames: int
    patches: int  # per frame

    def within(self, settings: DemoSettings) -> Preset:
        """Return the preset within the server's limits of frames and patches."""
        frames = min(self.frames, settings.max_frames)
        return Preset(frames, min(self.patches, settings.max_patches))

    @property
    def rows(self) -> int:
        """Patches in all frames; features cost in proportion to them."""
        return self.frames * self.patches

    @property
    def products(self) -> int:
        """Pairs of patch and key patch; attention and clustering cost in proportion to them."""
        return self.rows * max(1, self.frames // SAMPLED_KEY_RATIO) * self.patches


_MOST_RUNS = 16  # sizes that are remembered for a backbone

PRESETS = {
    "fast": Preset(12, 648),
    "balanced": Preset(24, GRID_PATCHES),
    "fine": Preset(32, 1600),
}


def usual_preset() -> str:
    """Return the initial preset: without a GPU, the one that takes seconds."""
    return "balanced" if ZERO_GPU or torch.cuda.is_available() else "fast"


@dataclass(frozen=True)
class _Ran:
    """The cost of a run on this machine."""

    preset: Preset
    per_row: float  # seconds of features
    per_product: float  # seconds of attention, clustering and instances


class Pace:
    """Estimates the duration of a run from earlier runs on this machine, each with its backbone."""

    def __init__(self, usual: Iterable[Preset] = PRESETS.values()) -> None:
        """Learn from runs about the size of `usual` ones alone: others are too far off."""
        self.usual = tuple(usual)
        self._ran: dict[str, dict[Preset, _Ran]] = {}
        self._lock = threading.Lock()

    def learn(self, analysis: Analysis) -> None:
        """Take the timings of a finished run of a usual size."""
        ran = Preset(len(analysis.analysed), analysis.grid[0] * analysis.grid[1])
        if not any(
            preset.products / 2 <= ran.products <= preset.products * 2 for preset in self.usual
        ):
            return
        seconds = analysis.timings
        found = seconds[Stage.CLUSTERING.value] + seconds.get(Stage.INSTANCES.value, 0.0)
        cost = _Ran(ran, seconds[Stage.FEATURES.value] / ran.rows, found / ran.products)
        with self._lock:
            known = self._ran.setdefault(analysis.settings.backbone, {})
            known.pop(ran, None)
            known[ran] = cost
            while len(known) > _MOST_RUNS:
                known.pop(next(iter(known)))

    def seconds(self, backbone: str, preset: Preset, decoding: float) -> float | None:
        """Return the expected seconds of a run, or None before the first one with this backbone.

        decoding: seconds that reading the clip takes. The run that was nearest in size counts.
        """
        with self._lock:
            known = list(self._ran.get(backbone, {}).values())
        if not known:
            return None
        near = min(known, key=lambda ran: abs(math.log(ran.preset.products / preset.products)))
        return near.per_row * preset.rows + near.per_product * preset.products + decoding
