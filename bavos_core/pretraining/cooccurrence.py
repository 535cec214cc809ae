"""Training the built-in backbone's network: patches near each other are to be alike, others not.

B pictures, P pairs of patches a picture, h×w patches of a crop, E channels of the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..backbones import Backbone
from ..backbones.builtin import Builtin
from ..backbones.cooccurrence import MEASURED, Cooccurrence, measured_maps, related
from ..backbones.descriptors import patch_maps
from ..errors import InputError
from ..limits import MIB
from ..training.data import sample_generator
from .learner import Learner, Prepared
from .pictures import Pictures
from .settings import CooccurrenceSettings

_AT_ONCE = 64  # pictures that are measured together
_LONGER = 4 / 3  # the longer side of a picture that is no square, over the shorter
_SQUARE = (0.87, 1.15)  # aspects in between are squares
_SAMPLE = 600  # pictures that the network's input is standardised by
_LEAST_DEVIATION = 1e-3

Shelf = Tensor  # (n, 33, H, W) float16: what is measured of pictures of one shape


@dataclass(frozen=True)
class StepLosses:
    """What one step saw."""

    pairs: float  # cross-entropy: one of a pair is to be told among all others
    found: float  # share of pairs whose other half was the most alike


@dataclass(frozen=True, eq=False)
class Batch:
    """All that chance decides in one step."""

    shelf: int
    pictures: np.ndarray  # (B,) int64
    rows: slice  # of patches
    columns: slice
    factor: np.ndarray  # (B,) float32
    first: np.ndarray  # (B, P, 2) int64: row and column within the crop
    second: np.ndarray  # (B, P, 2) int64: at most `reach` away


class CooccurrenceLearner(Learner[Sequence[Shelf]]):
    """The network of the built-in backbone while it learns."""

    recipe = "cooccurrence"
    settings: CooccurrenceSettings
    told = StepLosses
    minimised = 1

    def __init__(self, settings: CooccurrenceSettings):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.network = Cooccurrence()
        super().__init__(settings)

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The one network."""
        return {"network": self.network}

    def material(self, pictures: Pictures, progress: Prepared) -> Sequence[Shelf]:
        """What is measured of all pictures; before the first step the network's input follows."""
        shelves = measure_pictures(pictures, self.settings, progress)
        if self.step == 0:
            self._standardise(shelves)
        return shelves

    def _standardise(self, shelves: Sequence[Shelf]) -> None:
        count = -(-_SAMPLE // len(shelves))
        inputs = [related(shelf[:count].float()).transpose(0, 1).flatten(1) for shelf in shelves]
        std, mean = torch.std_mean(torch.cat(inputs, 1), 1)
        self.network.mean.copy_(mean[:, None, None])
        self.network.std.copy_(std[:, None, None] + _LEAST_DEVIATION)

    def losses(self, material: Sequence[Shelf]) -> Tensor:
        """Cross-entropy of pairs, share of them that are found: (2,)."""
        batch = draw_batch([shelf.shape for shelf in material], self.step, self.settings)
        factor, first, second = (
            torch.from_numpy(drawn).to(self.compute.device)
            for drawn in (batch.factor, batch.first, batch.second)
        )
        measured = material[batch.shelf][torch.from_numpy(batch.pictures)]
        measured = measured[:, :, batch.rows, batch.columns]
        maps = measured.to(self.compute.device).float() * factor.view(-1, 1, 1, 1)
        logits = pair_logits(self.network(maps), first, second, self.settings)
        wanted = torch.arange(len(logits), device=logits.device)
        found = (logits.argmax(1) == wanted).float().mean()
        return torch.stack([F.cross_entropy(logits, wanted), found])

    def backbone(self) -> Backbone:
        """The network within the built-in backbone; it goes on changing."""
        return Builtin(self.network)

    def file(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """What `Builtin.load` reads, as float16."""
        tensors = {name: tensor.half() for name, tensor in self.network.state_dict().items()}
        return tensors, {"format": "bavos-builtin-1"}


def measure_pictures(
    pictures: Pictures, settings: CooccurrenceSettings, progress: Prepared
) -> list[Shelf]:
    """What is measured of all pictures, in one of three shapes: upright, square, wide.

    Raises InputError when it takes more memory than pictures may.
    """
    short, long = settings.grid, round(settings.grid * _LONGER)
    if len(pictures) * MEASURED * short * long * 2 > settings.cache_mib * MIB:
        raise InputError(
            f"What is measured of these pictures takes more than the {settings.cache_mib:,} MiB of "
            "memory allowed; allow more with --cache-mib, or give fewer pictures."
        )
    kind = np.digitize(pictures.aspects, _SQUARE)
    shelves, done = [], 0
    for number, grid in enumerate(((long, short), (short, short), (short, long))):
        size = (grid[0] * Builtin.patch, grid[1] * Builtin.patch)
        chosen = torch.from_numpy(np.flatnonzero(kind == number))
        measured = []
        for start in range(0, len(chosen), _AT_ONCE):
            pixels = pictures.pixels[chosen[start : start + _AT_ONCE]]
            images = F.interpolate(pixels.float() / 255, size, mode="bilinear", antialias=True)
            measured.append(measured_maps(patch_maps(images, Builtin.patch)).half())
            done += len(pixels)
            progress(done / len(pictures))
        if measured:
            shelves.append(torch.cat(measured))
    return shelves


def draw_batch(shapes: Sequence[Sequence[int]], step: int, settings: CooccurrenceSettings) -> Batch:
    """What a step learns from: it follows from the seed and the step alone.

    shapes: (n, 33, H, W) of every shelf.
    """
    rng = sample_generator(settings.seed, step, 0)
    counts = np.array([shape[0] for shape in shapes], float)
    shelf = int(rng.choice(len(shapes), p=counts / counts.sum()))
    number, _, height, width = shapes[shelf]
    crop = [int(rng.integers(min(settings.crop, side), side + 1)) for side in (height, width)]
    start = [int(rng.integers(side - kept + 1)) for side, kept in zip((height, width), crop)]
    first = rng.integers(0, crop, (settings.batch, settings.pairs, 2))
    away = rng.integers(-settings.reach, settings.reach + 1, first.shape)
    return Batch(
        shelf,
        rng.integers(0, number, settings.batch),
        slice(start[0], start[0] + crop[0]),
        slice(start[1], start[1] + crop[1]),
        (1 + settings.brightness * rng.standard_normal(settings.batch)).astype(np.float32),
        first,
        np.clip(first + away, 0, np.array(crop) - 1),
    )


def pair_logits(
    alike: Tensor, first: Tensor, second: Tensor, settings: CooccurrenceSettings
) -> Tensor:
    """How alike the first of every pair is to the second of every pair: (B·P, B·P).

    alike (B, E, h, w), first and second (B, P, 2). Places of one picture that are near, but not of
    one pair, are left out: they need not be different.
    """
    one, other = (_at(alike, places).flatten(0, 1) for places in (first, second))
    logits = one @ other.T / settings.temperature
    near = torch.cdist(first.float(), second.float()) < settings.apart  # (B, P, P)
    left_out = torch.block_diag(*near).bool()
    left_out.fill_diagonal_(False)
    return logits.masked_fill(left_out, -torch.inf)


def _at(maps: Tensor, places: Tensor) -> Tensor:
    """Channels of patches: maps (B, E, h, w), places (B, P, 2) → (B, P, E)."""
    index = places[..., 0] * maps.shape[3] + places[..., 1]
    return maps.flatten(2).gather(2, index[:, None].expand(-1, maps.shape[1], -1)).mT
