"""Queries and keys of a backbone for all clips that a correlator learns from and is measured on."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bavos_core import Settings, backbones
from bavos_core.backbones import Backbone
from bavos_core.settings import Compute
from bavos_io.opening import open_clip
from bavos_lab.training.data import CachedClip

from .common import GRID, SINGLE, STAND_IN, STEP, davis_frames, parser_of

TRAIN_GRID = (12, 24)
HELD_OUT = 7  # every 7th training clip


def learner_parser(doc: str) -> argparse.ArgumentParser:
    """Return a parser with the options that `load` needs, and --out."""
    parser = parser_of(doc, davis=True)
    parser.add_argument("--clips", type=Path, required=True, metavar="DIR", help="to learn from")
    parser.add_argument("--cache", type=Path, required=True, metavar="DIR", help="of features")
    parser.add_argument("--backbone", default="bundled-vits14", help=f"or {STAND_IN}")
    return parser


@dataclass(frozen=True)
class Data:
    """Queries and keys of the backbone, (T, N, 2C) float16, for all clips."""

    heads: int
    train: list[CachedClip]  # on TRAIN_GRID
    held_out: list[Tensor]  # on GRID, every 6th frame of each clip, at most 8
    dev: dict[str, list[Tensor]]  # on GRID, for each set of frames
    truth: dict[str, list[np.ndarray]]  # (T, H, W) bool


def load(options: argparse.Namespace) -> Data:
    """Compute the features of all clips, or take them from the cache."""
    backbone: Any = backbones.load(options.backbone, weights=options.weights)
    cache = options.cache / options.backbone
    cache.mkdir(parents=True, exist_ok=True)
    train, held_out, dev, truth = [], [], {}, {}
    for number, path in enumerate(sorted(options.clips.iterdir()), 1):
        clip = open_clip(path)
        away = number % HELD_OUT == 0
        chosen = range(len(clip.times))[::6][:8] if away else range(len(clip.times))
        grid = GRID if away else TRAIN_GRID
        file = cache / f"{'held-out' if away else 'train'}-{path.name}.pt"
        features = kept(file, lambda c=clip, i=chosen, g=grid: encoded(c.read(i), g, backbone))
        if away:
            held_out.append(features)
        else:
            train.append(CachedClip(path.name, TRAIN_GRID, features))
    for name in SINGLE:
        sets = [davis_frames(options.davis, name, start) for start in range(STEP)]
        truth[name] = [true for _, true in sets]
        dev[name] = [kept(cache / f"dev-{name}-{i}.pt", lambda f=f: encoded(f, GRID, backbone))
                     for i, (f, _) in enumerate(sets)]  # fmt: skip
    return Data(backbone.model.blocks[0].attn.num_heads, train, held_out, dev, truth)


def kept(file: Path, make: Callable[[], Tensor]) -> Tensor:
    """Return the tensor of a file, which is made first if it is not there."""
    if not file.exists():
        torch.save(make(), file)
    return torch.load(file)


def encoded(frames: Any, grid: tuple[int, int], backbone: Backbone) -> Tensor:
    """Return queries and keys (T, N, 2C) float16 of frames (H, W, 3) each."""
    compute, found = Compute.choose(Settings()), []
    for frame in frames:
        features = backbone.encode(backbones.to_images(frame[None], grid, backbone.patch), compute)
        sides = (side.transpose(1, 2).flatten(2) for side in (features.queries, features.keys))
        found.append(torch.cat(list(sides), -1).half())
    return torch.cat(found)
