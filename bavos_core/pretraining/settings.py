"""Everything that decides what a pretraining run learns, in one frozen object."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from ..settings import Compute, JsonSettings, Precision, Settings, bf16_units, check, check_seed


@dataclass(frozen=True, kw_only=True)
class PretrainSettings(JsonSettings):
    """How to pretrain. Every field has a default; invalid values raise InputError.

    The defaults are for two CPU cores. On a GPU give wider networks, larger views and batches, and
    more steps: `--width 192 --depth 12 --view 112 --small-view 48 --batch 512 --steps 50000`.
    """

    # pictures
    side: int = 112  # pixels: pictures are kept squashed to squares of this side
    clip_share: float = 0.3  # of the samples that are frames of clips, where there are any
    gap: int = 6  # the second view of a frame is of a frame up to so many further or before
    cache_mib: int = 4096  # pictures that take more memory are refused
    # views
    view: int = 64  # pixels; a multiple of the patch
    small_view: int = 32  # pixels
    small_views: int = 4  # a sample, beside its two large ones
    colour: float = 0.4  # how far brightness, contrast and saturation are changed, 0 … 1
    # network
    patch: int = 8
    width: int = 192  # channels
    depth: int = 6  # blocks
    heads: int = 3
    prototypes: int = 1024  # what views and patches are assigned to
    # losses
    masked: float = 0.3  # share of a large view's patches that are hidden; 0: no patch-level loss
    student_temperature: float = 0.1
    teacher_temperature: float = 0.05
    # optimiser
    steps: int = 5000
    batch: int = 64  # samples a step
    lr: float = 1e-3  # after the warm-up
    warm_up: float = 0.1  # share of the steps
    final_lr: float = 0.01  # share of lr that is left at the end of the cosine
    weight_decay: float = 0.04  # of matrices; biases and norms have none
    momentum: float = 0.99  # of the teacher, at the start; 1 at the end
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Precision | None = None  # None: bf16 on CUDA and with AMX, fp32 elsewhere
    # what is kept
    checkpoint_every: int = 200  # steps
    measure_every: int = 1000  # steps between measures of J, where there is something to measure on

    def __post_init__(self) -> None:
        super().__post_init__()
        check_seed(self.seed)
        for name in _COUNTS:
            check(getattr(self, name) >= 1, f"{name} is {getattr(self, name)}; give 1 or more")
        for name in ("small_views", "weight_decay", "gap"):
            valid = 0 <= getattr(self, name) < math.inf
            check(valid, f"{name} is {getattr(self, name)}; give 0 or more")
        for name in ("clip_share", "colour", "masked", "warm_up", "final_lr", "momentum"):
            value = getattr(self, name)
            check(0 <= value <= 1, f"{name} is {value}; give a share from 0 to 1")
        for name in ("lr", "student_temperature", "teacher_temperature"):
            value = getattr(self, name)
            check(0 < value < math.inf, f"{name} is {value}; give a number above 0")
        for name in ("view", "small_view"):
            value = getattr(self, name)
            check(value % self.patch == 0,
                  f"{name} is {value}; give a multiple of the patch, {self.patch}")  # fmt: skip
        check(
            self.width % self.heads == 0,
            f"{self.heads} heads do not share {self.width} channels; give a divisor",
        )

    @property
    def compute(self) -> Compute:
        """Where to compute, and how precisely. Raises InputError for a missing device."""
        chosen = Compute.choose(Settings(device=self.device, precision=self.precision))
        amx = "amx_bf16" in bf16_units()
        slow = chosen.precision == "bf16" and not chosen.on_cuda and not amx
        return Compute(chosen.device, "fp32") if slow and self.precision is None else chosen

    @property
    def masked_patches(self) -> int:
        """Patches that are hidden in each large view."""
        return round(self.masked * (self.view // self.patch) ** 2)


_COUNTS = (
    "side", "cache_mib", "view", "small_view", "patch", "width", "depth", "heads", "prototypes",
    "steps", "batch", "checkpoint_every", "measure_every",
)  # fmt: skip
