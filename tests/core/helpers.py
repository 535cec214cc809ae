"""What several test files need: golden data, tiny models, tiny clips, and plain computations."""

import subprocess
import zipfile
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from numpy.typing import ArrayLike
from PIL import Image
from sklearn.metrics import adjusted_rand_score
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from bavos_core import Analysis, export, open_clip
from bavos_core.attention import AttentionRows
from bavos_core.clustering import Assignment
from bavos_core.correlator import TemporalCorrelator
from bavos_core.distances import LogRows
from bavos_core.hierarchy import build_tree
from bavos_core.tree import ClusterTree, row_weights

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
TINY = {"backbone": "descriptors", "size": (48, 64), "device": "cpu"}  # 6×8 patches of 8 pixels
SEEDS = range(12)
seeds = st.integers(0, 2**32 - 1)


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


def read_all(path: Path) -> np.ndarray:
    return np.stack(list(open_clip(path).read()))


def save_pictures(folder: Path, names: list[str], size=(20, 30)) -> None:
    """Pictures of grey levels 0, 10, 20, … under these names."""
    folder.mkdir(exist_ok=True)
    for i, name in enumerate(names):
        Image.fromarray(np.full((*size, 3), 10 * i, np.uint8)).save(folder / name)


def zip_folder(folder: Path, path: Path, inside: str = "") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, inside + file.name)
    return path


def random_rows(
    rng: np.random.Generator, *, frames=3, keys=1, heads=2, patches=8, channels=6, scale=1.0
) -> AttentionRows:
    """Attention of random queries and keys; `scale` says how peaked."""
    queries = rng.normal(size=(frames, heads, patches, channels))
    key = rng.normal(size=(keys, heads, patches, channels))
    return AttentionRows(_float(queries), _float(key), scale)


def rows_of(probabilities: ArrayLike, *, frames: int, keys: int) -> AttentionRows:
    """Attention whose rows are just these, zeros allowed: (frames·N, keys·N), or a head each."""
    p = np.asarray(probabilities, np.float64)
    p = p.reshape(-1, *p.shape[-2:])  # (H, T·N, M)
    heads, _, width = p.shape
    queries = np.log(np.maximum(p, 1e-300)).reshape(heads, frames, -1, width).swapaxes(0, 1)
    identity = np.eye(width).reshape(keys, 1, -1, width).repeat(heads, axis=1)
    return AttentionRows(_float(queries), _float(identity), 1.0)


def prototype_rows(rng: np.random.Generator, frames: int, patches: int, width: int) -> np.ndarray:
    """Rows near a few prototypes."""
    prototypes = rng.dirichlet(np.full(width, 0.5), 4)
    mixed = prototypes[rng.integers(0, 4, frames * patches)]
    noise = rng.dirichlet(np.ones(width), frames * patches)
    share = rng.choice([0.02, 0.1, 0.3])
    return (1 - share) * mixed + share * noise


def gradient_rows(rng: np.random.Generator, frames: int, patches: int, width: int) -> np.ndarray:
    """A slow walk from one distribution to another: no natural clusters, all depends on order."""
    first, last = rng.dirichlet(np.ones(width), 2)
    share = np.linspace(0, 1, frames * patches)[:, None]
    return (1 - share) * first + share * last


def random_case(seed: int) -> tuple[AttentionRows, float]:
    """A small clip of one kind or another, with one head or several, and a τ."""
    rng = np.random.default_rng(seed)
    frames, keys, patches = (int(rng.integers(1, most + 1)) for most in (7, 3, 8))
    tau = float(rng.choice([0.05, 0.25, 0.5, 1.0, 2.0]))
    heads = 1 if seed % 2 else int(rng.integers(2, 5))
    if seed % 3 == 0:
        scale = float(rng.choice([0.3, 0.7, 1.5]))
        case = random_rows(rng, frames=frames, keys=keys, heads=heads, patches=patches, scale=scale)
    else:
        kind = (gradient_rows, prototype_rows)[seed % 3 - 1]
        rows = kind(rng, frames, patches, keys * patches)
        powers = rows ** np.array([1, 0.6, 1.5, 2.0])[:heads, None, None]  # heads see alike things
        powers /= powers.sum(-1, keepdims=True)
        case = rows_of(powers, frames=frames, keys=keys)
    return case, tau


def assignment_of(labels: ArrayLike, mean_rows: ArrayLike) -> Assignment:
    """Patches (T, N) that lie in these clusters, whose mean rows are these (L, M)."""
    index = torch.tensor(np.asarray(labels, np.int64)).unsqueeze(2)
    return Assignment(index, torch.zeros(index.shape), _float(np.asarray(mean_rows)))


def tree_of(mean_rows: ArrayLike, sizes: ArrayLike) -> ClusterTree:
    """The tree of leaves with these mean rows (L, M) and sizes (L,), all patches in one frame."""
    labels = np.repeat(np.arange(len(np.asarray(sizes))), sizes)
    return build_tree(assignment_of(labels[None], mean_rows))


def node_row(tree: ClusterTree, node: int) -> np.ndarray:
    """The mean attention row of one node (M,), over all its patches; sums to 1."""
    below = tree.leaves_of(node)
    rows = tree.rows[below].astype(np.float64)
    mean = np.average(
        rows / rows.sum(1, keepdims=True), axis=0, weights=row_weights(tree.sizes)[below]
    )
    return mean.astype(np.float32)


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


def float64_rows(attention: AttentionRows) -> np.ndarray:
    """All its rows (T·N, M), mean over heads, in float64."""
    return plain_attention(attention.queries, attention.keys, attention.scale).mean(0)


def same_partition(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two labellings group alike, whatever the numbers."""
    pairs = set(zip(np.ravel(first).tolist(), np.ravel(second).tolist(), strict=True))
    return len(pairs) == len(np.unique(first)) == len(np.unique(second))


def refines(finer: np.ndarray, coarser: np.ndarray) -> bool:
    """Whether every group of one labelling lies within one group of the other."""
    pairs = set(zip(np.ravel(finer).tolist(), np.ravel(coarser).tolist(), strict=True))
    return len(pairs) == len(np.unique(finer))


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


def assert_sound(analysis: Analysis) -> None:
    """No NaN anywhere, and masks for every frame that was analysed."""
    cut = analysis.segment()
    frames = len(analysis.analysed)
    assert cut.labels.shape == (frames, *analysis.grid)
    assert set(np.unique(cut.labels)) <= set(range(cut.clusters))
    assert export.analysed_mask(analysis, cut, frames - 1).labels.max() < cut.clusters
    assert np.isfinite(analysis.tree.merges).all()
    for source in analysis.sources():
        heat = analysis.attend(frames - 1, *(side / 2 for side in analysis.size), source=source)
        assert heat.shape == (frames, *analysis.grid)
        assert np.isfinite(heat).all()
        assert heat.sum() == pytest.approx(1, abs=1e-4)


def same_share(first: np.ndarray, second: np.ndarray) -> float:
    """Adjusted Rand index of two labellings."""
    return adjusted_rand_score(first.ravel(), second.ravel())


def plain_unit(analysis: Analysis) -> np.ndarray:
    tokens = analysis.tokens.numpy().astype(np.float64)
    centred = tokens - tokens.mean((0, 1))
    return (centred / np.linalg.norm(centred, axis=-1, keepdims=True))[:, None]


def random_leaves(seed: int, *, largest: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """Mean rows (L, 10) float32 and sizes (L,) from 1 to `largest`."""
    rng = np.random.default_rng(seed)
    leaves = int(rng.integers(2, 25))
    rows = rng.dirichlet(np.full(10, 0.7), leaves) + 1e-3
    rows /= rows.sum(1, keepdims=True)
    return rows.astype(np.float32), rng.integers(1, largest + 1, leaves)


def leaves_below(merges: np.ndarray) -> list[set[int]]:
    """The leaves below every node."""
    below = [{leaf} for leaf in range(len(merges) + 1)]
    for first, second, *_ in merges:
        below.append(below[int(first)] | below[int(second)])
    return below


def clear_tau(distances: np.ndarray, share: float) -> float:
    """A τ under about this share of the distances, as far as can be from any of them."""
    ordered = np.sort(distances[np.triu_indices(len(distances), 1)])
    place = int(share * (len(ordered) - 1))
    around = ordered[max(0, place - 10) : place + 10]
    widest = np.diff(around).argmax() if len(around) > 1 else 0
    return float(np.mean(around[widest : widest + 2])) if len(around) > 1 else 1.0


def log_rows(rows: np.ndarray) -> LogRows:
    return LogRows.of(torch.tensor(rows).float())


def decode(path: Path) -> np.ndarray:
    """A video, read with nothing of ours: (F, H, W, 3) uint8."""
    stream = imageio_ffmpeg.read_frames(str(path), output_params=["-fps_mode", "passthrough"])
    width, height = next(stream)["size"]
    return np.stack([np.frombuffer(f, np.uint8).reshape(height, width, 3) for f in stream])


def _float(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.float32))


def whole_pass(block: TemporalCorrelator, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """The whole block on tokens (B, L, C): its output, and attention before dropout."""
    attn = block.attn
    queries, keys, values = attn.split(block.norm1(tokens))
    attention = (block.scale * queries @ keys.mT).softmax(-1)  # (B, H, L, L)
    mixed = (attn.attention_drop(attention) @ values).transpose(-3, -2).flatten(-2)
    tokens = tokens + attn.drop(attn.proj(mixed))
    return tokens + block.mlp(block.norm2(tokens)), attention


def random_images(frames: int, height: int, width: int, seed: int = 0) -> Tensor:
    """(frames, 3, height, width) in 0 … 1."""
    return torch.tensor(np.random.default_rng(seed).random((frames, 3, height, width))).float()


def watched_qkv(model: torch.nn.Module, layer: int, batch: Tensor) -> Tensor:
    """What timm's own forward pass computes in the `qkv` layer of one block."""
    seen: list[Tensor] = []
    hook = model.blocks[layer].attn.qkv.register_forward_hook(lambda *a: seen.append(a[2]))
    with torch.inference_mode():
        model.forward_features(batch)
    hook.remove()
    return seen[0]
