"""Student and teacher while they learn, and the one step that they take.

B samples, V views of each, N patches of a large view, n of them hidden, C channels, K prototypes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..training.data import sample_generator
from ..training.learner import adamw
from .losses import cross_entropy, sinkhorn, view_loss
from .network import Network, new_network
from .pictures import Pictures
from .settings import PretrainSettings
from .views import LARGE, SMALL, Plan, draw_pictures, draw_plan, make_views

_LONGEST_GRADIENT = 3.0


@dataclass(frozen=True)
class StepLosses:
    """What one step saw."""

    views: float  # a view foretells the teacher's assignment of another view
    patches: float  # hidden patches foretell the teacher's of what they hide; 0 without any
    spread: float  # prototypes that views are really spread over, e^entropy; 1 is a collapse


@dataclass(frozen=True, eq=False)
class Batch:
    """All that chance decides in one step."""

    large: Plan  # (2·B,): all first views, then all second
    small: Plan  # (small_views·B,)
    masks: np.ndarray  # (2·B, N) bool: patches hidden from the student


def draw_batch(pictures: Pictures, step: int, settings: PretrainSettings) -> Batch:
    """What a step learns from: it follows from the seed and the step alone."""
    rng = sample_generator(settings.seed, step, 0)
    one, other = draw_pictures(pictures, rng, settings)
    both = np.stack([one, other])
    small = both[np.arange(settings.small_views) % 2].reshape(-1)
    aspects, colour = pictures.aspects, settings.colour
    return Batch(
        draw_plan(both.reshape(-1), aspects, LARGE, rng, colour),
        draw_plan(small, aspects, SMALL, rng, colour),
        draw_masks(2 * settings.batch, settings.view // settings.patch, settings, rng),
    )


def draw_masks(
    count: int, side: int, settings: PretrainSettings, rng: np.random.Generator
) -> np.ndarray:
    """Patches to hide (count, side²) bool: the same number in each view, in soft-edged heaps."""
    heaps = rng.random((count, side, side))
    for axis in (1, 2):
        heaps = heaps + np.roll(heaps, 1, axis) + np.roll(heaps, -1, axis)
    order = heaps.reshape(count, -1).argsort(1).argsort(1)
    return np.asarray(order < settings.masked_patches)


class Learner:
    """All that changes: student, teacher, optimiser, step."""

    def __init__(self, settings: PretrainSettings):
        self.settings = settings
        self.compute = settings.compute
        self.student = new_network(settings).to(self.compute.device).train()
        self.teacher = new_network(settings).to(self.compute.device).eval().requires_grad_(False)
        self.optimiser = adamw(self.student, settings)
        self.step = 0
        self.seconds = 0.0  # spent learning, over all interruptions

    def take_step(self, pictures: Pictures) -> StepLosses:
        """Learn from one batch. Raises InputError when the losses are no longer numbers."""
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.step, self.settings)
        self.optimiser.zero_grad()
        losses = self._losses(pictures, draw_batch(pictures, self.step, self.settings))
        losses[:2].sum().backward()
        length = torch.nn.utils.clip_grad_norm_(self.student.parameters(), _LONGEST_GRADIENT)
        if not (losses.isfinite().all() and length.isfinite()):
            raise InputError(f"Pretraining diverged at step {self.step + 1}; give a lower --lr.")
        self.optimiser.step()
        follow(self.teacher, self.student, momentum(self.step, self.settings))
        self.step += 1
        return StepLosses(*losses.tolist())

    def _losses(self, pictures: Pictures, batch: Batch) -> Tensor:
        """Loss of views, loss of patches, spread: (3,)."""
        settings, device = self.settings, self.compute.device
        large = make_views(pictures.pixels, batch.large, settings.view, device)
        masks = torch.from_numpy(batch.masks).to(device)
        with torch.autocast(device.type, torch.bfloat16, self.compute.precision == "bf16"):
            wanted, wanted_patches = self._wanted(large, masks)
            tokens = self.student(large, masks)  # (2·B, 1 + N, C)
            seen = [tokens[:, 0]]
            if settings.small_views:
                small = make_views(pictures.pixels, batch.small, settings.small_view, device)
                seen.append(self.student(small)[:, 0])
            logits = self.student.head(torch.cat(seen)).float().unflatten(0, (-1, settings.batch))
            hidden = self.student.head(tokens[:, 1:][masks]).float()  # (2·B·n, K)
        temperature = settings.student_temperature
        views = view_loss(wanted, logits, temperature)  # wanted (2, B, K), logits (2 + V, B, K)
        patches = views.new_zeros(())
        if settings.masked_patches:
            patches = cross_entropy(wanted_patches, hidden, temperature).mean()
        return torch.stack([views, patches, _spread(wanted)])

    @torch.no_grad()
    def _wanted(self, large: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """The teacher's assignments of large views (2, B, K) and of hidden patches (2·B·n, K)."""
        tokens = self.teacher(large)
        heat = self.settings.teacher_temperature
        views = sinkhorn(self.teacher.head(tokens[:, 0]).float(), heat).unflatten(0, (2, -1))
        patches = self.teacher.head(tokens[:, 1:][masks]).float()
        return views, sinkhorn(patches, heat) if len(patches) else patches


def _spread(wanted: Tensor) -> Tensor:
    """How many prototypes are the first choice of views, e^entropy, from (2, B, K)."""
    counts = wanted.argmax(-1).flatten().bincount(minlength=wanted.shape[-1])
    return torch.special.entr(counts / counts.sum()).sum().exp()


@torch.no_grad()
def follow(teacher: Network, student: Network, share: float) -> None:
    """Every weight of the teacher becomes share · itself + (1 - share) · the student's."""
    for kept, new in zip(teacher.parameters(), student.parameters(), strict=True):
        kept.lerp_(new.detach(), 1 - share)


def learning_rate(step: int, settings: PretrainSettings) -> float:
    """Up in a line during the warm-up, then down in a cosine to final_lr of lr."""
    warm = settings.warm_up * settings.steps
    if step < warm:
        return settings.lr * (step + 1) / (warm + 1)
    share = (step - warm) / max(settings.steps - warm, 1)
    return settings.lr * _cosine(share, 1.0, settings.final_lr)


def momentum(step: int, settings: PretrainSettings) -> float:
    """Of the teacher: from the settings' up to 1 at the last step."""
    return _cosine(step / settings.steps, settings.momentum, 1.0)


def _cosine(share: float, start: float, end: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
