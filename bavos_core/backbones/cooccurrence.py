"""A small network that tells which patches occur together, on top of hand-made descriptors.

Patches that are found near each other in pictures are more likely parts of one thing than others
(Isola et al., "Learning visual groups from co-occurrences in space and time", 2015). The network
turns what is measured of a patch into a few channels in which such patches are alike.

T frames, h×w patch grid.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .descriptors import BORDER, PatchMaps, blur

MEASURED = 33  # channels of `measured_maps`
CHANNELS = 16  # that the network gives
_HIDDEN = 128
_RELATIONS = 5  # views of each measured channel: itself, three comparisons, the frame's deviation
_WIDE = 3.0  # patches: what counts as the surroundings
_LEAST_DEVIATION = 0.05
_FARTHEST = 5.0  # deviations: where inputs are cut off


class Cooccurrence(nn.Module):
    """Measured maps (T, 33, h, w) → (T, 16, h, w), of length 1 in every patch."""

    mean: Tensor  # of the inputs, over photographs
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        inputs = MEASURED * _RELATIONS
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, _HIDDEN, 1), nn.GELU(),
            nn.Conv2d(_HIDDEN, _HIDDEN, 3, padding=1, groups=_HIDDEN, padding_mode="replicate"),
            nn.Conv2d(_HIDDEN, _HIDDEN, 1), nn.GELU(),
            nn.Conv2d(_HIDDEN, _HIDDEN, 1), nn.GELU(),
            nn.Conv2d(_HIDDEN, CHANNELS, 1),
        )  # fmt: skip
        self.register_buffer("mean", torch.zeros(inputs, 1, 1))
        self.register_buffer("std", torch.ones(inputs, 1, 1))

    def forward(self, maps: Tensor) -> Tensor:
        """maps (T, 33, h, w) float32 of `measured_maps` → (T, 16, h, w)."""
        inputs = (related(maps) - self.mean) / self.std
        return F.normalize(self.layers(inputs.clamp(-_FARTHEST, _FARTHEST)), dim=1)


def measured_maps(measured: PatchMaps) -> Tensor:
    """All that is measured, brought to about one size: (T, 33, h, w) float32."""
    return torch.cat(
        [2 * measured.colour, 1 + 0.3 * measured.texture, 2 * measured.gradients], dim=1
    )


def related(maps: Tensor) -> Tensor:
    """Channels and how they compare to the frame, to its border and to the surroundings.

    maps (T, C, h, w) → (T, 5·C, h, w): where a patch stands in its own picture says more than its
    colour does.
    """
    mean = maps.mean((2, 3), keepdim=True)
    deviation = maps.std((2, 3), keepdim=True, correction=0)
    compared = [
        (maps - other) / (deviation + _LEAST_DEVIATION)
        for other in (mean, _border_mean(maps), blur(maps, _WIDE))
    ]
    return torch.cat([maps, *compared, deviation.expand_as(maps)], dim=1)


def _border_mean(maps: Tensor) -> Tensor:
    sides = (
        maps[:, :, :BORDER], maps[:, :, -BORDER:],
        maps[..., :BORDER], maps[..., -BORDER:],
    )  # fmt: skip
    return torch.cat([side.flatten(2) for side in sides], dim=2).mean(2)[..., None, None]
