"""What several test files need: golden data, tiny models, tiny clips, and plain computations."""

import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import torch
from numpy.typing import ArrayLike
from timm.models.vision_transformer import VisionTransformer

from bavos_core.attention import AttentionRows

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
TINY = {"backbone": "builtin", "size": (48, 64), "device": "cpu"}  # 6×8 patches of 8 pixels


def golden(name: str) -> dict[str, np.ndarray]:
    """All arrays of one file of the reference code's inputs and outputs."""
    with np.load(GOLDEN / f"{name}.npz") as file:
        return dict(file)


def golden_weights(arrays: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """Its weights, under the reference's names."""
    return {k[2:]: torch.from_numpy(v) for k, v in arrays.items() if k.startswith("w:")}


def tiny_vit(seed: int = 0, **options) -> VisionTransformer:
    """A ViT of three blocks, with random weights everywhere: none is left at 0 or 1."""
    options = {"embed_dim": 24, "num_heads": 3, "num_classes": 0} | options
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = VisionTransformer(img_size=32, patch_size=8, depth=3, **options).eval()
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return model.requires_grad_(False)


def noise_clip(frames: int, size: tuple[int, int], seed: int = 0) -> np.ndarray:
    """(frames, *size, 3) uint8 noise."""
    return np.random.default_rng(seed).integers(0, 256, (frames, *size, 3), np.uint8)


def random_rows(
    rng: np.random.Generator, *, frames=3, keys=1, heads=2, patches=8, channels=6, scale=1.0
) -> AttentionRows:
    """Attention of random queries and keys; `scale` says how peaked."""
    queries = rng.normal(size=(frames, heads, patches, channels))
    key = rng.normal(size=(keys, heads, patches, channels))
    return AttentionRows(_float(queries), _float(key), scale)


def rows_of(probabilities: ArrayLike, *, frames: int, keys: int) -> AttentionRows:
    """Attention whose rows are just these: (frames·N, keys·N), zeros allowed."""
    p = np.asarray(probabilities, np.float64)
    queries = np.log(np.maximum(p, 1e-300)).reshape(frames, 1, -1, p.shape[1])
    identity = np.eye(p.shape[1]).reshape(keys, -1, 1, p.shape[1]).swapaxes(1, 2)
    return AttentionRows(_float(queries), _float(identity), 1.0)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Over the last axis, in float64."""
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def plain_attention(queries: ArrayLike, keys: ArrayLike, scale: float) -> np.ndarray:
    """(T, H, N, d) and (K, H, N, d) → per head (H, T·N, K·N) float64, written in one line."""
    queries, keys = np.asarray(queries, np.float64), np.asarray(keys, np.float64)
    logits = scale * np.einsum("thnd,khmd->htnkm", queries, keys)
    return softmax(logits.reshape(queries.shape[1], queries.shape[0] * queries.shape[2], -1))


def plain_kl(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Symmetric KL over the last axis, in float64; 0 counts as the smallest normal float32."""
    tiny = np.finfo(np.float32).tiny
    p, q = np.asarray(p, np.float64), np.asarray(q, np.float64)
    return ((p - q) * (np.log(np.maximum(p, tiny)) - np.log(np.maximum(q, tiny)))).sum(-1)


def same_partition(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two labellings group alike, whatever the numbers."""
    pairs = set(zip(np.ravel(first).tolist(), np.ravel(second).tolist(), strict=True))
    return len(pairs) == len(np.unique(first)) == len(np.unique(second))


def ffmpeg(*arguments: object) -> None:
    """Run the ffmpeg that imageio-ffmpeg ships."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *map(str, arguments)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=60)


def make_video(path: Path, *encoding: object, frames=5, more_inputs: tuple = ()) -> Path:
    """ffmpeg's moving test picture, 48×64 at 10 a second; `encoding` are options for the output."""
    source = ("-f", "lavfi", "-i", "testsrc=size=64x48:rate=10", *more_inputs)
    ffmpeg(*source, "-frames:v", frames, *encoding, path)
    return path


def encode(path: Path, frames: np.ndarray, *encoding: object, rate=10) -> Path:
    """These frames (F, H, W, 3) as a video, nearly without loss."""
    raw = path.with_name("raw.rgb")
    raw.write_bytes(frames.tobytes())
    size = f"{frames.shape[2]}x{frames.shape[1]}"
    layout = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", rate)
    options = encoding or ("-pix_fmt", "yuv444p", "-crf", 4)
    ffmpeg(*layout, "-i", raw, *options, path)
    raw.unlink()
    return path


def check_message(error: BaseException, *parts: str) -> None:
    """A message for a person: one line, a full stop, no traceback, and the words it must have."""
    message = str(error)
    assert "\n" not in message
    assert "Traceback" not in message
    assert "Error:" not in message
    assert message.endswith(".")
    assert len(message) < 250
    for part in parts:
        assert part in message


def _float(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.float32))
