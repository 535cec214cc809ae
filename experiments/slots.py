"""Train slot attention on the features of unlabelled clips.

    python -m experiments.slots --clips TRAIN_DIR --out slots.safetensors

`bavos evaluate --grouping slots --slots slots.safetensors` then compares it with attention.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bavos_lab.grouping.slots import Slots, SlotSettings
from bavos_lab.training import TrainSettings, load_clips
from bavos_lab.training.data import TrainingClip, statistics

from .common import parser_of

_EVERY = 100  # steps between lines
_GAP = 4  # frames between the two of a pair, at most


def draw(clips: list[TrainingClip], chance: np.random.Generator, batch: int) -> Tensor:
    """Return the features (B, 2, N, C) of pairs of frames, a few frames apart."""
    pairs = []
    for _ in range(batch):
        clip = clips[int(chance.integers(len(clips)))]
        apart = int(chance.integers(1, min(_GAP, len(clip) - 1) + 1))
        first = int(chance.integers(len(clip) - apart))
        pairs.append(clip.tokens([first, first + apart]))
    return torch.stack(pairs)


def train(clips: list[TrainingClip], *, steps: int, batch: int, rate: float) -> Slots:
    """Return slots that were trained on the clips; print the loss now and then."""
    torch.manual_seed(0)
    chance, start = np.random.default_rng(0), time.perf_counter()
    mean, std = statistics(clips, "channel")
    model = Slots(SlotSettings(channels=len(mean)))
    model.mean.copy_(mean), model.std.copy_(std)
    optimiser = torch.optim.Adam(model.parameters(), rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, steps, pct_start=0.1)
    for step in range(1, steps + 1):
        loss = model.loss(draw(clips, chance, batch), clips[0].grid)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % _EVERY == 0:
            print(f"{step},{loss.item():.4f},{time.perf_counter() - start:.0f}", flush=True)
    return model


def main() -> None:
    """Read the clips, train, and write the slots."""
    parser = parser_of(__doc__, out=False)
    parser.add_argument("--clips", type=Path, required=True, metavar="DIR")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.safetensors")
    parser.add_argument("--backbone", default="bundled-vits14")
    parser.add_argument("--weights", type=Path, metavar="FILE")
    parser.add_argument("--layer", type=int, metavar="N")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rate", type=float, default=4e-4)
    options = parser.parse_args()
    settings = TrainSettings(
        backbone=options.backbone, weights=options.weights, layer=options.layer
    )
    clips = list(load_clips(options.clips, settings).clips)
    print("step,loss,seconds")
    train(clips, steps=options.steps, batch=options.batch, rate=options.rate).save(options.out)


if __name__ == "__main__":
    main()
