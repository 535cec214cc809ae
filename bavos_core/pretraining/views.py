"""Views of pictures: random crops, mirrored, recoloured and blurred, made on the device.

B views, S×S stored pixels, s×s pixels of a view. All chance is drawn with NumPy beforehand, so a
view depends on the seed and the step alone, not on the device.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .pictures import Pictures
from .settings import PretrainSettings

LARGE = (0.3, 1.0)  # share of the picture that a view covers
SMALL = (0.05, 0.3)

_GREY = 0.1  # how often a view loses its colour
_BLUR = 0.3  # how often it is blurred
_BLUR_SIGMA = (0.3, 1.2)  # pixels of the view
_HUE = 0.3  # radians, at full strength
_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True, eq=False)
class Plan:
    """What is to be cut from which picture, and how it is changed."""

    picture: np.ndarray  # (B,) int64
    places: np.ndarray  # (B, 2, 3) float32: from a view's to a picture's places, both -1 … 1
    colours: np.ndarray  # (B, 3, 3) float32: what RGB is multiplied with
    contrast: np.ndarray  # (B,) float32
    sigma: np.ndarray  # (B,) float32 pixels, 0 for no blur


def draw_pictures(
    pictures: Pictures, rng: np.random.Generator, settings: PretrainSettings
) -> tuple[np.ndarray, np.ndarray]:
    """The pictures of one step's first and second views, (batch,) int64 each."""
    clips, photographs = pictures.of_clips, pictures.photographs
    share = 0.0 if not len(clips) else 1.0 if not len(photographs) else settings.clip_share
    from_clips = round(share * settings.batch)
    one = np.concatenate([
        rng.choice(clips, from_clips) if from_clips else clips[:0],
        rng.choice(photographs, settings.batch - from_clips)
        if from_clips < settings.batch else photographs[:0],
    ])  # fmt: skip
    other = one + rng.integers(-settings.gap, settings.gap + 1, len(one))
    return one, np.clip(other, pictures.first[one], pictures.last[one])


def draw_plan(
    picture: np.ndarray,
    aspects: np.ndarray,
    area: tuple[float, float],
    rng: np.random.Generator,
    colour: float,
) -> Plan:
    """One random view of each picture (B,). area: least and greatest share of it to cover."""
    count = len(picture)
    sigma = rng.uniform(*_BLUR_SIGMA, count) * (rng.random(count) < _BLUR)
    return Plan(
        picture,
        _draw_places(aspects[picture], area, rng),
        _draw_colours(count, rng, colour),
        rng.uniform(1 - colour, 1 + colour, count).astype(np.float32),
        sigma.astype(np.float32),
    )


def _draw_places(
    aspects: np.ndarray, area: tuple[float, float], rng: np.random.Generator
) -> np.ndarray:
    """Boxes of 3:4 to 4:3 within pictures, every other one mirrored: (B, 2, 3) float32."""
    count = len(aspects)
    share = rng.uniform(*area, count) * aspects  # of a picture of height 1
    shape = np.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3), count))
    size = np.stack([np.sqrt(share * shape) / aspects, np.sqrt(share / shape)], 1).clip(max=1)
    middle = rng.uniform(-1, 1, (count, 2)) * (1 - size)
    places = np.zeros((count, 2, 3), np.float32)
    places[:, 0, 0] = size[:, 0] * rng.choice([-1, 1], count)
    places[:, 1, 1] = size[:, 1]
    places[:, :, 2] = middle
    return places


def _draw_colours(count: int, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Brightness, saturation and hue as one matrix for each view: (count, 3, 3) float32."""
    luma = np.tile(np.array(_LUMA), (3, 1))  # turns a colour to its grey
    bright = rng.uniform(1 - strength, 1 + strength, (count, 1, 1))
    saturation = rng.uniform(1 - strength, 1 + strength, (count, 1, 1))
    saturation *= rng.random((count, 1, 1)) >= _GREY * (strength > 0)
    turned = _turned(rng.uniform(-_HUE, _HUE, count) * strength)
    return (bright * (luma + saturation * (np.eye(3) - luma) @ turned)).astype(np.float32)


def _turned(angle: np.ndarray) -> np.ndarray:
    """Rotations (B, 3, 3) of colours about the axis of greys."""
    cosine, sine = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None] / math.sqrt(3)
    across = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    return cosine * np.eye(3) + sine * across + (1 - cosine) / 3


def make_views(pixels: Tensor, plan: Plan, side: int, device: torch.device) -> Tensor:
    """Carry out a plan: pixels (n, 3, S, S) uint8 → (B, 3, side, side) float32 in 0 … 1."""
    chosen = pixels[torch.from_numpy(plan.picture).to(pixels.device)].to(device)
    images = cut(chosen.float() / 255, _on(plan.places, device), side)
    images = recoloured(images, _on(plan.colours, device), _on(plan.contrast, device))
    return blurred(images, _on(plan.sigma, device))


def cut(images: Tensor, places: Tensor, side: int) -> Tensor:
    """images (B, 3, S, S), places (B, 2, 3) → (B, 3, side, side).

    Sampled twice as finely as needed and averaged, so that shrinking makes no false patterns.
    """
    fine = [len(images), 3, 2 * side, 2 * side]
    grid = F.affine_grid(places, fine, align_corners=False)
    sampled = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    return F.avg_pool2d(sampled, 2)


def recoloured(images: Tensor, colours: Tensor, contrast: Tensor) -> Tensor:
    """images (B, 3, s, s) in 0 … 1, colours (B, 3, 3), contrast (B,) about the mean."""
    images = torch.einsum("bij,bjhw->bihw", colours, images)
    mean = images.mean((1, 2, 3), keepdim=True)
    return (mean + contrast.view(-1, 1, 1, 1) * (images - mean)).clamp(0, 1)


def blurred(images: Tensor, sigma: Tensor) -> Tensor:
    """images (B, 3, s, s), each blurred by its own sigma (B,) in pixels; 0 leaves it as it is."""
    chosen = sigma > 0
    if not chosen.any():
        return images
    radius = math.ceil(3 * _BLUR_SIGMA[1])
    offsets = torch.arange(-radius, radius + 1, device=images.device)
    kernel = torch.exp(-(offsets**2) / (2 * sigma[chosen, None] ** 2))
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(3, 0)  # (3·b, 2·radius+1)
    some = F.pad(images[chosen], (radius,) * 4, mode="replicate").flatten(0, 1)[None]
    some = F.conv2d(some, kernel[:, None, :, None], groups=len(kernel))
    some = F.conv2d(some, kernel[:, None, None], groups=len(kernel))
    out = images.clone()
    out[chosen] = some[0].unflatten(0, (-1, 3))
    return out


def _on(values: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(values).to(device)
