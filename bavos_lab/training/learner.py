"""A correlator in training, and the training step (paper, training details).

T frames, N patches a frame, C channels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bavos_core.correlator import TemporalCorrelator, TrainedCorrelator
from bavos_core.errors import InputError
from bavos_core.settings import Compute

from .data import TrainingClip
from .forward import block_losses
from .samples import draw_sample, sample_generator
from .settings import TrainSettings
from .workers import Workers

ALONE = Workers()


@dataclass(frozen=True)
class StepLosses:
    """The losses of one step: means over its samples."""

    semantic: float
    motion: float


@dataclass(frozen=True)
class Best:
    """The best correlator so far by the measure."""

    step: int
    score: float
    weights: dict[str, Tensor]


class Learner:
    """The state of training: the correlator, the optimiser, the step, the best so far."""

    def __init__(self, correlator: TrainedCorrelator, settings: TrainSettings):
        compute = Compute.choose(settings.analysis)
        self.settings = settings
        self.device = compute.device
        self.dtype = settings.block_type(compute)
        self.correlator = correlator.to(self.device)
        self.block.train().requires_grad_(True)
        self.optimiser = adamw(self.block, settings)
        self.step = 0
        self.seconds = 0.0  # spent learning, over all interruptions
        self.losses = StepLosses(math.nan, math.nan)  # of the last step
        self.best: Best | None = None

    @property
    def block(self) -> TemporalCorrelator:
        """The network that learns."""
        return self.correlator.block

    def take_step(self, clips: Sequence[TrainingClip], workers: Workers = ALONE) -> StepLosses:
        """Learn from the samples of one step, `batch` of them in every process.

        Raise InputError, and leave the weights as they were, when a loss is not finite.
        """
        rate = learning_rate(self.step, self.settings)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad()
        losses = self.accumulate_gradients(clips, workers)
        gradients = [p.grad for p in self.block.parameters() if p.grad is not None]
        workers.average([*gradients, losses])
        if not losses.isfinite().all():
            raise InputError(f"Training diverged at step {self.step + 1}; give a lower --lr.")
        self.optimiser.step()
        self.step += 1
        self.losses = StepLosses(*losses.tolist())
        return self.losses

    def accumulate_gradients(self, clips: Sequence[TrainingClip], workers: Workers) -> Tensor:
        """Add the gradients of this process's samples; return the mean semantic and motion loss."""
        settings, total = self.settings, torch.zeros(2, device=self.device)
        for i in range(settings.batch):
            rng = sample_generator(settings.seed, self.step, workers.rank * settings.batch + i)
            sample = draw_sample(clips, rng, settings)
            with seeded_torch(rng, self.device):
                losses = block_losses(
                    self.block,
                    self.correlator.standardised(sample.tokens.to(self.device)),
                    sample.anchors.to(self.device),
                    weighting=settings.weighting,
                    mine_before_dropout=settings.mine_before_dropout,
                    dtype=self.dtype,
                )
            (losses.total / settings.batch).backward()
            total += torch.stack([losses.semantic.detach(), losses.motion.detach()])
        return total / settings.batch

    def keep_if_best(self, score: float) -> None:
        """Keep the present weights unless earlier ones scored higher."""
        if self.best is None or score >= self.best.score:
            weights = {k: v.detach().clone() for k, v in self.block.state_dict().items()}
            self.best = Best(self.step, score, weights)


def adamw(network: nn.Module, settings: TrainSettings) -> torch.optim.AdamW:
    """Return AdamW with weight decay for matrices and none for biases and norms."""
    parameters = list(network.parameters())
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.ndim > 1]},
        {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.lr, weight_decay=settings.weight_decay)


def learning_rate(step: int, settings: TrainSettings) -> float:
    """Return the learning rate of a step: a cosine from lr at step 0 down to final_lr · lr."""
    share = (1 + math.cos(math.pi * step / settings.steps)) / 2
    return settings.lr * (settings.final_lr + (1 - settings.final_lr) * share)


@contextmanager
def seeded_torch(rng: np.random.Generator, device: torch.device) -> Iterator[None]:
    """Seed torch from rng inside, for dropout; leave the global generators as they were."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int(rng.integers(2**63)))
        yield
