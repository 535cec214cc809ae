"""The settings of a training run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch

from bavos_core.correlator import HEADS
from bavos_core.settings import Compute, EncoderSettings, Precision, Settings, check, check_seed

from .losses import Weighting

Init = Literal["identity", "random"]
Standardise = Literal["channel", "common"]
Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True, kw_only=True)
class TrainSettings(EncoderSettings):
    """The settings of a training run. Invalid values raise InputError.

    The defaults learn in minutes on a small machine. The paper's own run is 60,000 steps at lr
    1e-5 in eight processes, with augmentation, whole frames, attention dropout 0.4 and init
    "random".
    """

    # features
    size: tuple[int, int] | None = (192, 384)  # pixels (height, width); None: shaped like the clip
    standardise: Standardise = "channel"  # every channel to variance 1, or all by one factor
    # samples
    frames: int = 3  # T of a sample
    gap: int = 4  # frames from one to the next; less where a clip is too short for it
    clip_frames: int = 128  # frames of each clip that are used, from its start
    columns: int | None = 16  # width in patches of a random crop; None: whole frames
    augment: bool = False  # grey, colour jitter, blur; features are then computed at every step
    cache_mib: int = 2048  # clips whose features, or frames, take more memory are refused
    # block
    init: Init = "identity"  # queries and keys start near the identity, or at random
    gain: float | None = None  # of the logits at the start; None: as sharp as `keys` attention
    heads: int = HEADS
    dropout: float = 0.1
    attention_dropout: float = 0.0
    # losses
    anchors: int = 8  # patch positions of a sample that are compared with all others
    weighting: Weighting = "motion"  # losses weighted by entropy; the paper's figure: "both"
    mine_before_dropout: bool = False  # choose positives before attention dropout, not after
    # optimiser
    steps: int = 3000
    batch: int = 1  # samples a step in each process
    lr: float = 5e-5
    final_lr: float = 0.1  # share of lr that is left at the end of the cosine
    weight_decay: float = 0.1  # of matrices; biases and norms have none
    seed: int = 0
    device: Device = "auto"
    precision: Precision | None = None  # of the block; None: bf16 on CUDA, fp32 on the CPU
    # what is kept
    checkpoint_every: int = 200  # steps
    measure_every: int = 200  # steps; 0: never, so that the last block is the best
    holdout_every: int = 7  # every 7th clip is measured on and not trained on; 0: none

    def __post_init__(self) -> None:
        super().__post_init__()
        check_seed(self.seed)
        for name in _COUNTS:
            check(getattr(self, name) >= 1, f"{name} is {getattr(self, name)}; give 1 or more")
        for name in ("measure_every", "holdout_every", "weight_decay"):
            valid = 0 <= getattr(self, name) < math.inf
            check(valid, f"{name} is {getattr(self, name)}; give 0 or more")
        for name in ("dropout", "attention_dropout"):
            check(0 <= getattr(self, name) < 1, f"{name} is {getattr(self, name)}; give 0 … 0.99")
        for name in ("lr", "gain"):
            value = getattr(self, name)
            valid = value is None or 0 < value < math.inf
            check(valid, f"{name} is {value}; give a number above 0")
        check(0 <= self.final_lr <= 1, f"final_lr is {self.final_lr}; give a share from 0 to 1")
        for name in ("columns", "size"):
            value = getattr(self, name)
            sides = value if isinstance(value, tuple) else (value,)
            check(value is None or min(sides) >= 1, f"{name} is {value}; give 1 or more")

    @property
    def analysis(self) -> Settings:
        """The settings for reading clips and computing features."""
        return Settings(backbone=self.backbone, weights=self.weights, layer=self.layer,
                        size=self.size, device=self.device)  # fmt: skip

    def block_type(self, compute: Compute) -> torch.dtype:
        """Return the type of matrix products; small ones on a CPU gain little from bfloat16."""
        chosen = self.precision or ("bf16" if compute.on_cuda else "fp32")
        return torch.bfloat16 if chosen == "bf16" else torch.float32


_COUNTS = ("frames", "gap", "clip_frames", "cache_mib", "heads", "anchors", "steps", "batch",
           "checkpoint_every")  # fmt: skip
