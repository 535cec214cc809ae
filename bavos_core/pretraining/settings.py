"""Everything that decides what a pretraining run learns: one frozen object for each recipe."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from ..settings import Compute, JsonSettings, Precision, Settings, bf16_units, check, check_seed

_SHARES = (
    "clip_share", "colour", "masked", "warm_up", "final_lr", "momentum",
)  # fmt: skip
_NOT_NEGATIVE = ("small_views", "weight_decay", "gap", "reach", "brightness")
_POSITIVE = ("lr", "student_temperature", "teacher_temperature", "temperature")
_COUNTS = (
    "side", "cache_mib", "view", "small_view", "patch", "width", "depth", "heads", "prototypes",
    "steps", "batch", "checkpoint_every", "measure_every", "grid", "crop", "pairs", "apart",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class RunSettings(JsonSettings):
    """What all recipes have. Invalid values raise InputError."""

    # pictures
    side: int = 112  # pixels: pictures are kept squashed to squares of this side
    cache_mib: int = 4096  # pictures that take more memory are refused
    # optimiser
    steps: int
    batch: int  # samples a step
    lr: float  # after the warm-up
    warm_up: float  # share of the steps
    final_lr: float = 0.01  # share of lr that is left at the end of the cosine
    weight_decay: float  # of matrices; biases and norms have none
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    # what is kept
    checkpoint_every: int  # steps
    measure_every: int  # steps between measures of J, where there is something to measure on

    def __post_init__(self) -> None:
        super().__post_init__()
        check_seed(self.seed)
        for name, value in self.to_dict().items():
            if name in _COUNTS:
                check(value >= 1, f"{name} is {value}; give 1 or more")
            elif name in _NOT_NEGATIVE:
                check(0 <= value < math.inf, f"{name} is {value}; give 0 or more")
            elif name in _SHARES:
                check(0 <= value <= 1, f"{name} is {value}; give a share from 0 to 1")
            elif name in _POSITIVE:
                check(0 < value < math.inf, f"{name} is {value}; give a number above 0")

    @property
    def compute(self) -> Compute:
        """Where to compute. Raises InputError for a missing device."""
        return Compute.choose(Settings(device=self.device, precision="fp32"))


@dataclass(frozen=True, kw_only=True)
class PretrainSettings(RunSettings):
    """How to pretrain a Vision Transformer. Every field has a default.

    The defaults are for two CPU cores. On a GPU give wider networks, larger views and batches, and
    more steps: `--width 192 --depth 12 --view 112 --small-view 48 --batch 512 --steps 50000`.
    """

    # pictures
    clip_share: float = 0.3  # of the samples that are frames of clips, where there are any
    gap: int = 6  # the second view of a frame is of a frame up to so many further or before
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
    batch: int = 64
    lr: float = 1e-3
    warm_up: float = 0.1
    weight_decay: float = 0.04
    momentum: float = 0.99  # of the teacher, at the start; 1 at the end
    precision: Precision | None = None  # None: bf16 on CUDA and with AMX, fp32 elsewhere
    # what is kept
    checkpoint_every: int = 200
    measure_every: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
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


@dataclass(frozen=True, kw_only=True)
class CooccurrenceSettings(RunSettings):
    """How to train the network of the built-in backbone. Every field has a default."""

    # samples
    grid: int = 14  # patches along the shorter side of a picture
    crop: int = 10  # of which a random crop keeps so many in a row, at least
    pairs: int = 24  # of patches near each other, a picture
    reach: int = 2  # patches from one of a pair to the other, down or across, at most
    apart: int = 5  # patches of one picture that are nearer are not told apart
    brightness: float = 0.1  # deviation of the factor that all that is measured is changed by
    temperature: float = 0.1  # of the likeness of two patches
    # optimiser
    steps: int = 8000
    batch: int = 32
    lr: float = 2e-3
    warm_up: float = 0.0125
    weight_decay: float = 0.05
    # what is kept
    checkpoint_every: int = 500
    measure_every: int = 2000

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.crop <= self.grid,
              f"crop is {self.crop}; give at most the {self.grid} of the grid")  # fmt: skip


def learning_rate(step: int, settings: RunSettings) -> float:
    """Up in a line during the warm-up, then down in a cosine to final_lr of lr."""
    warm = settings.warm_up * settings.steps
    if step < warm:
        return settings.lr * (step + 1) / (warm + 1)
    share = (step - warm) / max(settings.steps - warm, 1)
    return settings.lr * cosine(share, 1.0, settings.final_lr)


def cosine(share: float, start: float, end: float) -> float:
    """Half a period of a cosine: start at share 0, end at share 1."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
