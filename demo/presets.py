"""How many frames and patches a run analyses, and how long that takes on this machine."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

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
        """Return the preset within the server's limit of frames."""
        return replace(self, frames=min(self.frames, settings.max_frames))

    @property
    def rows(self) -> int:
        """Patches in all frames; features cost in proportion to them."""
        return self.frames * self.patches

    @property
    def products(self) -> int:
        """Pairs of patch and key patch; attention and clustering cost in proportion to them."""
        return self.rows * max(1, self.frames // SAMPLED_KEY_RATIO) * self.patches


PRESETS = {
    "fast": Preset(12, 648),
    "balanced": Preset(24, GRID_PATCHES),
    "fine": Preset(32, 1600),
}


def usual_preset() -> str:
    """Return the initial preset: without a GPU, the one that takes seconds."""
    return "balanced" if ZERO_GPU or torch.cuda.is_available() else "fast"


class Pace:
    """Estimates the duration of a run from the last run on this machine."""

    def __init__(self) -> None:
        self._per_row = 0.0
        self._per_product = 0.0
        self._rest = 0.0
        self._lock = threading.Lock()

    def learn(self, analysis: Analysis, painting_seconds: float = 0.0) -> None:
        """Take the timings of a finished run and of painting its overlay video."""
        ran = Preset(len(analysis.analysed), analysis.grid[0] * analysis.grid[1])
        seconds = analysis.timings
        with self._lock:
            self._per_row = seconds[Stage.FEATURES.value] / ran.rows
            self._per_product = seconds[Stage.CLUSTERING.value] / ran.products
            self._rest = seconds[Stage.DECODE.value] + painting_seconds

    def seconds(self, preset: Preset) -> float | None:
        """Return the expected seconds of a run, or None before the first one."""
        with self._lock:
            if not self._per_row:
                return None
            return self._per_row * preset.rows + self._per_product * preset.products + self._rest
