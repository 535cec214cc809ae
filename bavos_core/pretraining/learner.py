"""What every recipe has: networks that learn, an optimiser, a step, and what is kept of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from ..backbones import Backbone
from ..errors import InputError
from ..training.learner import adamw
from ..training.run import check_whole, moments, restore_moments
from .pictures import Pictures
from .settings import RunSettings, learning_rate

Material = TypeVar("Material")
Prepared = Callable[[float], None]  # share of the material that is made, 0 … 1

_LONGEST_GRADIENT = 3.0


class Learner(ABC, Generic[Material]):
    """All that changes. A recipe says what is learned from, what is lost and what comes of it."""

    recipe: ClassVar[str]  # its name in checkpoints
    told: ClassVar[Any]  # a dataclass of what one step saw
    minimised: ClassVar[int]  # so many of its fields, the first, are losses

    def __init__(self, settings: RunSettings):
        self.settings = settings
        self.compute = settings.compute
        for network in self.networks.values():
            network.to(self.compute.device).train()
        self.optimiser = adamw(self._learning, settings)
        self.step = 0
        self.seconds = 0.0  # spent learning, over all interruptions
        self.j: float | None = None  # when it was last measured

    # ---- a recipe ------------------------------------------------------------------------------

    @property
    @abstractmethod
    def networks(self) -> dict[str, nn.Module]:
        """All whose weights are kept, by name; the first learns."""

    @abstractmethod
    def material(self, pictures: Pictures, progress: Prepared) -> Material:
        """What steps are taken on, made once."""

    @abstractmethod
    def losses(self, material: Material) -> Tensor:
        """What the step at hand sees, in the order of `told`: (n,) with gradients."""

    def moved(self) -> None:
        """What else happens once weights have moved."""

    @abstractmethod
    def backbone(self) -> Backbone:
        """What was learned, for use as it is now."""

    @abstractmethod
    def file(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """The tensors and metadata of the file that serves as a backbone."""

    # ---- the same for all ----------------------------------------------------------------------

    def take_step(self, material: Material) -> Any:
        """Learn from one batch. Raises InputError when the losses are no longer numbers."""
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.step, self.settings)
        self.optimiser.zero_grad()
        losses = self.losses(material)
        losses[: self.minimised].sum().backward()
        length = torch.nn.utils.clip_grad_norm_(self._learning.parameters(), _LONGEST_GRADIENT)
        if not (losses.isfinite().all() and length.isfinite()):
            raise InputError(f"Pretraining diverged at step {self.step + 1}; give a lower --lr.")
        self.optimiser.step()
        self.moved()
        self.step += 1
        return self.told(*losses.tolist())

    def tensors(self) -> dict[str, Tensor]:
        """All that a checkpoint must hold beside step and seconds."""
        kept = {
            f"{name}.{key}": tensor
            for name, network in self.networks.items()
            for key, tensor in network.state_dict().items()
        }
        return kept | moments(self._learning, self.optimiser)

    def restore(self, tensors: Mapping[str, Tensor], step: int, checkpoint: str) -> None:
        """Go back to what `tensors` gave after a step. Raises InputError for what is not whole."""
        check_whole(tensors, self.tensors(), checkpoint)
        for name, network in self.networks.items():
            network.load_state_dict({k: tensors[f"{name}.{k}"] for k in network.state_dict()})
        restore_moments(self._learning, self.optimiser, tensors, step)
        self.step = step

    @property
    def _learning(self) -> nn.Module:
        return next(iter(self.networks.values()))
