"""Slot attention on features: the family of SAVi, STEVE, VideoSAUR and SOLV.

Slots compete for the patches of a frame (Locatello et al., NeurIPS 2020) and go on from frame to
frame, as in SAVi; an MLP decodes each slot at each place into the features there and how much of
the place is its own, as in DINOSAUR (Seitzer et al., ICLR 2023). What is learned is to reconstruct
the features.

B clips of T frames, N patches, C channels, K slots of D channels.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from bavos_core.errors import InputError
from bavos_core.progress import checkpoint
from bavos_io.files import atomic_write

_ABOUT = "slots"  # the field of the file's metadata


@dataclass(frozen=True)
class SlotSettings:
    """The sizes of a model of slots."""

    channels: int  # C
    slots: int = 8  # K
    width: int = 128  # D
    hidden: int = 384  # of the decoder
    rounds: int = 3  # of attention a frame


class Slots(nn.Module):
    """Slot attention over the frames of a clip, and its decoder."""

    mean: Tensor
    std: Tensor

    def __init__(self, settings: SlotSettings):
        super().__init__()
        self.settings = settings
        width, hidden, channels = settings.width, settings.hidden, settings.channels
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))
        self.first = nn.Parameter(torch.randn(settings.slots, width) * width**-0.5)
        self.inputs = nn.Sequential(
            nn.LayerNorm(channels), nn.Linear(channels, width), nn.ReLU(), nn.Linear(width, width)
        )
        self.normed_inputs, self.normed_slots = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.update = nn.GRUCell(width, width)
        self.refine = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width)
        )
        self.place = nn.Linear(4, width)
        self.decoder = nn.Sequential(
            nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(),
            nn.Linear(hidden, channels + 1),
        )  # fmt: skip

    def standardised(self, tokens: Tensor) -> Tensor:
        """Return features with mean 0 and variance 1 in every channel."""
        return (tokens - self.mean) / self.std

    def frames(self, tokens: Tensor, grid: tuple[int, int]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield what is decoded of each frame: features (B, N, C) and shares of slots (B, K, N).

        tokens (B, T, N, C), standardised; grid (h, w).
        """
        places = self.place(_places(grid))
        slots = self.first.expand(len(tokens), -1, -1)
        for frame in tokens.unbind(1):
            slots = self._attend(self.inputs(frame) + places, slots)
            yield self._decode(slots, places)

    def _attend(self, inputs: Tensor, slots: Tensor) -> Tensor:
        """Return the slots (B, K, D) after they competed for the patches of a frame (B, N, D)."""
        inputs = self.normed_inputs(inputs)
        keys, values = self.key(inputs), self.value(inputs)
        for _ in range(self.settings.rounds):
            query = self.query(self.normed_slots(slots)) * self.settings.width**-0.5
            share = (query @ keys.mT).softmax(1) + 1e-8  # (B, K, N): each patch is shared out
            update = (share / share.sum(2, keepdim=True)) @ values
            slots = self.update(update.flatten(0, 1), slots.flatten(0, 1)).view_as(update)
            slots = slots + self.refine(slots)
        return slots

    def _decode(self, slots: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        decoded = self.decoder(slots[:, :, None] + places)  # (B, K, N, C+1)
        share = decoded[..., -1].softmax(1)
        return torch.einsum("bkn,bknc->bnc", share, decoded[..., :-1]), share

    def loss(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """Return the mean squared error of the features decoded; tokens as the backbone gave."""
        tokens = self.standardised(tokens)
        decoded = torch.stack([features for features, _ in self.frames(tokens, grid)], 1)
        return F.mse_loss(decoded, tokens)

    @torch.inference_mode()
    def groups(self, tokens: Tensor, grid: tuple[int, int]) -> np.ndarray:
        """Return the slot with the largest share of every patch, (T, N) int64.

        tokens (T, N, C) float32. Raise InputError for features of another number of channels.
        """
        if tokens.shape[-1] != self.settings.channels:
            raise InputError(
                f"The slots were trained on features of {self.settings.channels} channels, not "
                f"{tokens.shape[-1]}; give --backbone the one that they were trained on."
            )
        found = []
        for _, share in self.frames(self.standardised(tokens)[None], grid):
            checkpoint()
            found.append(share[0].argmax(0))
        return torch.stack(found).numpy()

    def save(self, path: Path) -> None:
        """Write the weights and sizes as safetensors."""
        about = {_ABOUT: json.dumps(asdict(self.settings))}
        with atomic_write(path) as part:
            save_file(self.state_dict(), part, about)

    @classmethod
    def load(cls, path: Path) -> Slots:
        """Read a file of `save`. Raise InputError for any other."""
        try:
            with safe_open(path, "pt") as file:
                settings = SlotSettings(**json.loads((file.metadata() or {})[_ABOUT]))
                weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            model = cls(settings)
            model.load_state_dict(weights)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise InputError(
                f"{path.name!r} holds no slots; train them with python -m experiments.slots."
            ) from error
        return model.eval()


def _places(grid: tuple[int, int]) -> Tensor:
    """Return where patches lie, (N, 4): down, right, and what is left of both; 0 … 1."""
    down, right = torch.meshgrid(
        *((torch.arange(side) + 0.5) / side for side in grid), indexing="ij"
    )
    return torch.stack((down, right, 1 - down, 1 - right), -1).flatten(0, 1)
