"""Student and teacher of a Vision Transformer while they learn (DINO, with iBOT's hidden patches).

B samples, V views of each, N patches of a large view, n of them hidden, C channels, K prototypes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ..backbones import Backbone
from ..training.data import sample_generator
from .learner import Learner, Prepared
from .losses import cross_entropy, sinkhorn, view_loss
from .network import Network, as_backbone, file_of, new_network
from .pictures import Pictures
from .settings import PretrainSettings, cosine
from .views import LARGE, SMALL, Plan, draw_pictures, draw_plan, make_views


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


class Distillation(Learner[Pictures]):
    """A student learns to see in its views what its own running mean, the teacher, sees."""

    recipe = "vit"
    settings: PretrainSettings
    told = StepLosses
    minimised = 2

    def __init__(self, settings: PretrainSettings):
        self.student = new_network(settings)
        self.teacher = new_network(settings)
        super().__init__(settings)
        self.teacher.eval().requires_grad_(False)

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The student, which learns, and the teacher, which follows."""
        return {"student": self.student, "teacher": self.teacher}

    def material(self, pictures: Pictures, _progress: Prepared) -> Pictures:
        """The pictures themselves; views are made of them at each step."""
        return pictures

    def losses(self, material: Pictures) -> Tensor:
        """Loss of views, loss of patches, spread: (3,)."""
        settings, device = self.settings, self.compute.device
        batch = draw_batch(material, self.step, settings)
        large = make_views(material.pixels, batch.large, settings.view, device)
        masks = torch.from_numpy(batch.masks).to(device)
        with torch.autocast(device.type, torch.bfloat16, self.compute.precision == "bf16"):
            wanted, wanted_patches = self._wanted(large, masks)
            tokens = self.student(large, masks)  # (2·B, 1 + N, C)
            seen = [tokens[:, 0]]
            if settings.small_views:
                small = make_views(material.pixels, batch.small, settings.small_view, device)
                seen.append(self.student(small)[:, 0])
            logits = self.student.head(torch.cat(seen)).float().unflatten(0, (-1, settings.batch))
            hidden = self.student.head(tokens[:, 1:][masks]).float()  # (2·B·n, K)
        temperature = settings.student_temperature
        views = view_loss(wanted, logits, temperature)  # wanted (2, B, K), logits (2 + V, B, K)
        patches = views.new_zeros(())
        if settings.masked_patches:
            patches = cross_entropy(wanted_patches, hidden, temperature).mean()
        return torch.stack([views, patches, _spread(wanted)])

    def moved(self) -> None:
        """The teacher follows."""
        follow(self.teacher, self.student, momentum(self.step, self.settings))

    def backbone(self) -> Backbone:
        """The teacher's ViT as it is now."""
        return as_backbone(self.teacher)

    def file(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """What `backbones.load("own-vit", weights=FILE)` reads."""
        return file_of(self.teacher, self.settings)

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


def momentum(step: int, settings: PretrainSettings) -> float:
    """Of the teacher: from the settings' up to 1 at the last step."""
    return cosine(step / settings.steps, settings.momentum, 1.0)
