"""Tiny clips, a tiny backbone, tiny settings, and processes of our own."""

import os
import zipfile
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import torch
from PIL import Image
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from bavos_core.backbones import ViTBackbone
from bavos_core.correlator import TemporalCorrelator
from bavos_lab.training.settings import TrainSettings

ROOT = Path(__file__).resolve().parents[3]
SIZE = (48, 64)  # pixels of the clips

TINY = TrainSettings(
    backbone="descriptors",
    size=SIZE,  # 6×8 patches of 8 pixels, 24 channels
    device="cpu",
    columns=6,
    gap=2,
    anchors=4,
    steps=12,
    lr=1e-3,
    checkpoint_every=4,
    measure_every=3,
    holdout_every=3,
)


def pictures(count: int, *, seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A square that wanders over noise: (count, *size, 3) uint8."""
    rng = np.random.default_rng(seed)
    frames = np.repeat(rng.integers(0, 90, (1, *size, 3), np.uint8), count, axis=0)
    colour = rng.integers(120, 256, 3)
    for t, frame in enumerate(frames):
        frame[12:28, 4 + 3 * t : 20 + 3 * t] = colour
    return frames


def write_pictures(folder: Path, count: int, *, seed: int) -> None:
    folder.mkdir()
    for t, frame in enumerate(pictures(count, seed=seed)):
        Image.fromarray(frame).save(folder / f"{t:05d}.png")


def write_zip(path: Path, count: int, *, seed: int) -> None:
    loose = path.with_suffix(".loose")
    write_pictures(loose, count, seed=seed)
    with zipfile.ZipFile(path, "w") as archive:
        for frame in sorted(loose.iterdir()):
            archive.write(frame, frame.name)
            frame.unlink()
    loose.rmdir()


def write_mp4(path: Path, count: int, *, seed: int) -> None:
    iio.imwrite(path, pictures(count, seed=seed), fps=10, macro_block_size=1)


def tiny_backbone() -> ViTBackbone:
    """A ViT with 24 channels, patches of 8 pixels and random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = VisionTransformer(
            img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=3, num_classes=0
        ).eval()
    return ViTBackbone(model.requires_grad_(False), 1, (0.5,) * 3, (0.5,) * 3)


def lively_block(
    channels: int = 16, *, heads: int = 4, seed: int = 0, **dropout
) -> TemporalCorrelator:
    """A block whose weights are all far from 0, so that every one of them gets a gradient."""
    options = {"dropout": 0.0, "attention_dropout": 0.0} | dropout
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        block = TemporalCorrelator(channels, heads=heads, **options)
        for parameter in block.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    return block


def random_tokens(frames: int, patches: int, channels: int = 16, seed: int = 0) -> Tensor:
    """(frames, patches, channels) of about unit variance."""
    return torch.from_numpy(
        np.random.default_rng(seed).normal(size=(frames, patches, channels)).astype(np.float32)
    )


def weights_of(module: torch.nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    """Equal names and equal numbers, to the bit."""
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def quiet_environment(**more: str) -> dict[str, str]:
    """One thread, no network."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **more}
