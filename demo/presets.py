"""How much of a clip is analysed, and how long that takes on this machine."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

import torch

from bavos_core import Analysis
from bavos_core.settings import GRID_PATCHES, SAMPLED_KEY_RATIO

from .gpu import ZERO_GPU
from .settings import DemoSettings


@dataclass(frozen=True)
class Preset:
    """Frames and patches of a run."""

    frames: int
    patches: int  # of a frame

    def within(self, settings: DemoSettings) -> Preset:
        """The same within the server's limit of frames."""
        return replace(self, frames=min(self.frames, settings.max_frames))

    @property
    def rows(self) -> int:
        """Patches of all frames: what features cost."""
        return self.frames * self.patches

    @property
    def products(self) -> int:
        """Pairs of patches and key patches: what attention and clustering cost."""
        return self.rows * max(1, self.frames // SAMPLED_KEY_RATIO) * self.patches


PRESETS = {
    "fast": Preset(12, 648),
    "balanced": Preset(24, GRID_PATCHES),
    "fine": Preset(32, 1600),
}


def usual_preset() -> str:
    """Return the preset chosen at first: without a GPU the one that takes seconds."""
    return "balanced" if ZERO_GPU or torch.cuda.is_available() else "fast"


class Pace:
    """Seconds that runs took here, by which the next are estimated."""

    def __init__(self) -> None:
        self._per_row = 0.0
        self._per_product = 0.0
        self._rest = 0.0
        self._lock = threading.Lock()

    def learn(self, analysis: Analysis) -> None:
        """Take the timings of a run that is done."""
        ran = Preset(len(analysis.analysed), analysis.grid[0] * analysis.grid[1])
        seconds = analysis.timings
        with self._lock:
            self._per_row = seconds["features"] / ran.rows
            self._per_product = seconds["attention and clustering"] / ran.products
            self._rest = seconds["decode"] + seconds.get("masks and video", 0.0)

    def seconds(self, preset: Preset) -> float | None:
        """What a run is expected to take, or None before the first one."""
        with self._lock:
            if not self._per_row:
                return None
            return self._per_row * preset.rows + self._per_product * preset.products + self._rest
