"""The cost that a run may have: memory and time, and the nearest settings that keep within both."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from bavos_core import InputError, Settings
from bavos_core.backbones import Backbone
from bavos_core.settings import FRAMES_ON_CPU
from bavos_io.clip import Clip
from bavos_lab.cost import Work, most_that_fits, peak_bytes

from . import strings
from .compute import Plan, backbone_of
from .presets import Pace, Preset
from .settings import DemoSettings
from .turns import Report

_GIB = 2**30


@dataclass(frozen=True)
class Budget:
    """The share of memory and the time that a run has."""

    settings: DemoSettings
    pace: Pace

    def afforded(self, clip: Clip, plan: Plan) -> Plan:
        """Return a plan; raise InputError if it takes more than a run has."""
        self.check(clip, plan.settings, backbone_of(plan.settings))
        return plan

    def check(self, clip: Clip, wanted: Settings, backbone: Backbone) -> None:
        """Raise InputError, with the nearest settings that fit, for a run that takes too much."""
        asked = Preset(wanted.frames or FRAMES_ON_CPU, wanted.patches)
        if self._excess(clip, wanted, asked, backbone):
            asked = replace(asked, frames=min(asked.frames, len(clip.times)))  # it reads the clip
            excess = self._excess(clip, wanted, asked, backbone)
            if excess:
                raise InputError(f"{excess} {self._remedy(clip, wanted, asked, backbone)}")

    def deadline(self, report: Report) -> Report:
        """Return the same report, which raises InputError once a run has taken twice its time.

        Estimates are of ordinary clips; noise takes several times as long.
        """
        end = time.monotonic() + 2 * self.settings.run_seconds

        def timed(share: float, doing: str) -> None:
            if time.monotonic() > end:
                raise InputError(strings.too_slow(2 * self.settings.run_seconds))
            report(share, doing)

        return timed

    def _excess(self, clip: Clip, wanted: Settings, asked: Preset, backbone: Backbone) -> str:
        """Return what a run takes too much of, as a sentence without its end, or ""."""
        used = replace(wanted, patches=asked.patches)
        needed = peak_bytes(Work.of(clip.size, used, asked.frames, backbone))
        if needed > self.settings.memory_mib * 2**20:
            return strings.too_large(asked, needed / _GIB, self.settings.memory_mib / 1024)
        seconds = self.pace.seconds(wanted.backbone, asked, 0) or 0
        most = self.settings.run_seconds
        return strings.too_long(asked, seconds, most) if seconds > most else ""

    def _remedy(self, clip: Clip, wanted: Settings, asked: Preset, backbone: Backbone) -> str:
        def most(with_number: Callable[[int], Preset], asked_for: int) -> int:
            return most_that_fits(
                lambda number: not self._excess(clip, wanted, with_number(number), backbone),
                asked_for,
            )

        frames = most(lambda number: replace(asked, frames=number), asked.frames)
        patches = most(lambda number: replace(asked, patches=number), asked.patches)
        return strings.remedy(frames, patches // 10 * 10 if patches > 100 else patches)
