"""Hand-crafted patch descriptors without weights: colour, texture and gradients at several scales.

T frames, h×w patch grid, N = h·w patches, C channels. Computed for the whole clip at once, since
channels are weighted by how much they vary over it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from bavos_core.backbones.base import FRAMES_AT_ONCE_ON_CPU, Features
from bavos_core.settings import AttentionSource, Compute
from bavos_io.stopping import checkpoint

_ORIENTATIONS = 8
_TEXTURE_SIGMAS = (0.7, 1.4, 2.8, 5.6)  # pixels
_COLOUR_CONTEXT = (0.0, 1.0, 2.0)  # patches: the colour of a patch and of its surroundings
_TEXTURE_CONTEXT = (0.7, 1.5)  # patches
_COMPONENTS = 16  # principal components kept
_CONTRAST_WEIGHT = 0.5  # of the border contrast, relative to components of unit length
_PLACE_WEIGHT = 0.3  # of the position in the frame
_BORDER = 2  # patches: width of the frame's border
_NEIGHBOURS = 20  # border patches that a patch is compared with
_FRAMEWISE_SCALE = 4.0  # a choice that shows compact regions; none is trained


@dataclass(frozen=True)
class Descriptors:
    """A backbone without weights and without labels, for a quick look and for tests."""

    patch: int = 8
    source: AttentionSource = "key-similarity"
    framewise: bool = False
    note: str = (
        "The descriptors are hand-crafted and nothing is learned; "
        "a DINO backbone finds objects far better."
    )

    @torch.inference_mode()
    def encode(self, images: Tensor, compute: Compute) -> Features:
        """Encode images (T, 3, h·8, w·8) float32 RGB in 0 … 1 as one head of C = 24 channels."""
        maps = combine(*map(torch.cat, zip(*self._maps(images.to(compute.device)), strict=True)))
        keys = maps.flatten(2).mT.unsqueeze(1)  # (T, 1, N, C)
        return Features(keys, keys, (maps.shape[2], maps.shape[3]), scale=_FRAMEWISE_SCALE)

    def _maps(self, images: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield the maps of a few frames after the other."""
        for some in images.split(FRAMES_AT_ONCE_ON_CPU):
            checkpoint()
            yield patch_maps(some, self.patch)

    def to(self, _device: torch.device) -> Descriptors:
        """Return itself: there are no weights to move."""
        return self


def patch_maps(images: Tensor, patch: int) -> tuple[Tensor, Tensor, Tensor]:
    """Describe images (T, 3, h·patch, w·patch) float32 RGB in 0 … 1 on the patch grid.

    Return colour, L*a*b* / 100 (T, 9, h, w); logarithms of texture energies (T, 8, h, w); square
    roots of gradient magnitudes (T, 16, h, w).
    """
    lab = rgb_to_lab(images)
    lightness = lab[:, :1]
    bands = F.avg_pool2d(_texture_bands(lightness), patch).clamp_min(1e-4).log()
    gradients = F.avg_pool2d(_oriented_gradients(lightness), patch)
    return (
        _with_context(F.avg_pool2d(lab, patch), _COLOUR_CONTEXT),
        _with_context(bands, _TEXTURE_CONTEXT),
        _with_context(gradients, _TEXTURE_CONTEXT).clamp_min(0).sqrt(),
    )


def combine(colour: Tensor, texture: Tensor, gradients: Tensor) -> Tensor:
    """Combine a clip's maps to (T, 24, h, w): components, border contrast, place and padding.

    Half whitening (components divided by the square root of their deviation) keeps a few strong
    channels, mostly colour, from dominating. Contrast with the frame's border is the classic cue
    that separates objects from the background.
    """
    maps = torch.cat(
        [_standardised(colour), 0.5 * _standardised(texture), 0.5 * _standardised(gradients)], dim=1
    )
    components = _half_whitened(maps)
    components = components / components.pow(2).sum(1).mean().sqrt().clamp_min(1e-6)
    contrast = blur(border_contrast(components).clamp_min(1e-4).log(), 1.0)
    contrast = (contrast - contrast.mean()) / contrast.std(correction=0).clamp_min(1e-6)
    place = _places(maps)
    used = components.shape[1] + contrast.shape[1] + place.shape[1]
    padding = maps.new_zeros(len(maps), -used % 8, *maps.shape[2:])  # the correlator has 8 heads
    return torch.cat(
        [components, _CONTRAST_WEIGHT * contrast, _PLACE_WEIGHT * place, padding], dim=1
    )


def border_contrast(maps: Tensor) -> Tensor:
    """Return each patch's mean distance to its nearest border patches, (T, 1, h, w)."""
    height, width = maps.shape[2:]
    inner = torch.zeros(height, width, dtype=torch.bool, device=maps.device)
    inner[_BORDER : height - _BORDER, _BORDER : width - _BORDER] = True
    patches = maps.flatten(2).mT  # (T, N, C)
    border = patches[:, ~inner.flatten()]
    nearest = torch.cdist(patches, border).topk(
        min(_NEIGHBOURS, border.shape[1]), dim=2, largest=False
    )
    return nearest.values.mean(2).unflatten(1, (1, height, width))


def rgb_to_lab(images: Tensor) -> Tensor:
    """Convert sRGB (T, 3, H, W) in 0 … 1 to CIE L*a*b* under D65, all channels divided by 100."""
    linear = torch.where(images > 0.04045, ((images + 0.055) / 1.055) ** 2.4, images / 12.92)
    to_xyz = images.new_tensor(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    white = to_xyz.sum(1, keepdim=True)
    xyz = torch.einsum("ij,tjhw->tihw", to_xyz / white, linear)
    f = torch.where(xyz > 0.008856, xyz.clamp_min(1e-8) ** (1 / 3), 7.787 * xyz + 16 / 116)
    x, y, z = f.unbind(1)
    return torch.stack([1.16 * y - 0.16, 5 * (x - y), 2 * (y - z)], dim=1)


def blur(maps: Tensor, sigma: float) -> Tensor:
    """Blur (T, C, H, W) by a Gaussian with edges repeated; sigma in pixels of the map, 0: none."""
    if sigma == 0:
        return maps
    radius = max(1, round(3 * sigma))
    offsets = torch.arange(-radius, radius + 1, device=maps.device)
    kernel = torch.exp(-(offsets**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).expand(maps.shape[1], 1, -1)
    maps = F.pad(maps, (radius,) * 4, mode="replicate")
    maps = F.conv2d(maps, kernel.unsqueeze(2), groups=maps.shape[1])
    return F.conv2d(maps, kernel.unsqueeze(3), groups=maps.shape[1])


def _texture_bands(lightness: Tensor) -> Tensor:
    """Return the energy of the lightness per octave, (T, 4, H, W)."""
    levels = [lightness, *(blur(lightness, sigma) for sigma in _TEXTURE_SIGMAS)]
    fine, coarse = torch.cat(levels[:-1], 1), torch.cat(levels[1:], 1)
    return (fine - coarse).abs()


def _oriented_gradients(lightness: Tensor) -> Tensor:
    """Distribute the gradient magnitude over eight unsigned orientations, (T, 8, H, W)."""
    across = F.pad(lightness[..., 2:] - lightness[..., :-2], (1, 1))
    down = F.pad(lightness[..., 2:, :] - lightness[..., :-2, :], (0, 0, 1, 1))
    angle = torch.atan2(down, across) % math.pi
    centres = torch.arange(_ORIENTATIONS, device=angle.device) * (math.pi / _ORIENTATIONS)
    apart = (angle - centres.view(-1, 1, 1)).abs()
    apart = torch.minimum(apart, math.pi - apart)
    share = F.relu(1 - apart * _ORIENTATIONS / math.pi)
    return torch.hypot(across, down) * share


def _with_context(maps: Tensor, sigmas: tuple[float, ...]) -> Tensor:
    return torch.cat([blur(maps, sigma) for sigma in sigmas], dim=1)


def _standardised(maps: Tensor) -> Tensor:
    """Give all channels mean 0 and equal variance over the clip; the variances sum to 1."""
    centred = maps - maps.mean((0, 2, 3), keepdim=True)
    deviation = centred.pow(2).mean((0, 2, 3), keepdim=True).sqrt()
    return centred / (deviation + 1e-3) / maps.shape[1] ** 0.5


def _half_whitened(maps: Tensor) -> Tensor:
    """Return principal components (T, 16, h, w), each divided by the root of its deviation."""
    patches = maps.flatten(2).mT  # (T, N, ·)
    flat = patches.flatten(0, 1)
    variances, axes = torch.linalg.eigh(flat.T @ flat / len(flat))
    order = torch.arange(len(variances), device=maps.device).flip(0)[:_COMPONENTS]
    scaled = patches @ axes[:, order] / variances[order].clamp_min(1e-8) ** 0.25
    return scaled.mT.unflatten(2, maps.shape[2:])


def _places(maps: Tensor) -> Tensor:
    """Return the vertical and horizontal position of every patch, -1 … 1: (T, 2, h, w)."""
    height, width = maps.shape[2:]
    down, across = torch.meshgrid(
        torch.linspace(-1, 1, height, device=maps.device),
        torch.linspace(-1, 1, width, device=maps.device),
        indexing="ij",
    )
    return torch.stack([down, across]).expand(len(maps), -1, -1, -1)
