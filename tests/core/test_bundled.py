"""The backbone that comes along: small files, whole or refused, timm's network, named honestly."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from bavos_core import InputError, Settings, analyse, backbones, cli
from bavos_core.backbones.bundled import FOLDER, INDEX, bundled_vit, read_bundled
from bavos_core.settings import Compute

from .helpers import check_message, make_video, noise_clip

CPU = Compute(torch.device("cpu"), "fp32")
SHARDS = sorted(FOLDER.glob("*.safetensors"))
LABELS = "tuned on saliency labels"


def images(frames: int, grid: tuple[int, int], seed: int = 0) -> Tensor:
    """(frames, 3, height, width) in 0 … 1, of so many patches."""
    values = np.random.default_rng(seed).random((frames, 3, grid[0] * 14, grid[1] * 14))
    return torch.from_numpy(values).float()


# ---- the files ----------------------------------------------------------------------------------


def test_shards_are_below_10_mb_and_all_together_below_22_mb() -> None:
    sizes = [path.stat().st_size for path in SHARDS]
    assert sizes
    assert max(sizes) < 10_000_000
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 22_000_000


def test_the_index_names_exactly_the_tensors_in_the_shards() -> None:
    index = json.loads((FOLDER / INDEX).read_text(encoding="utf-8"))
    tensors = {path.name: load_file(path) for path in SHARDS}
    found = {name: shard for shard, part in tensors.items() for name in part}
    assert index["weight_map"] == found
    assert len(found) == sum(map(len, tensors.values()))  # none is in two shards
    size = sum(tensor.nbytes for part in tensors.values() for tensor in part.values())
    assert index["metadata"]["total_size"] == size


def test_matrices_are_bytes_and_each_has_its_scales() -> None:
    tensors = {name: tensor for path in SHARDS for name, tensor in load_file(path).items()}
    matrices = {name for name, tensor in tensors.items() if tensor.dtype == torch.int8}
    assert {f"{name}.scale" for name in matrices} == {n for n in tensors if n.endswith(".scale")}
    assert len(matrices) == 1 + 12 * 4 - 3  # the patches', and four a block but for the last


def test_rows_of_bytes_times_their_scales_are_restored_exactly(tmp_path) -> None:
    tensors = {
        "a": torch.tensor([[127, -127, 0], [1, 2, -3]], dtype=torch.int8),
        "a.scale": torch.tensor([0.5, 0.25]),
        "b": torch.tensor([[[[2]], [[-4]]]], dtype=torch.int8),
        "b.scale": torch.tensor([0.125]),
        "c": torch.tensor([0.1, 0.2]).half(),
    }
    write_folder(tmp_path, {"x.safetensors": tensors})
    found = read_bundled(tmp_path)
    assert set(found) == {"a", "b", "c"}
    assert {tensor.dtype for tensor in found.values()} == {torch.float32}
    assert found["a"].tolist() == [[63.5, -63.5, 0], [0.25, 0.5, -0.75]]
    assert found["b"].tolist() == [[[[0.25]], [[-0.5]]]]
    assert torch.equal(found["c"], tensors["c"].float())


def write_folder(folder: Path, shards: dict[str, dict[str, Tensor]]) -> None:
    """Shards and the index that fits them."""
    for shard, tensors in shards.items():
        save_file(tensors, folder / shard)
    weight_map = {name: shard for shard, tensors in shards.items() for name in tensors}
    (folder / INDEX).write_text(json.dumps({"weight_map": weight_map}), encoding="utf-8")


# ---- damaged files ------------------------------------------------------------------------------


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the files to damage."""
    return Path(shutil.copytree(FOLDER, tmp_path / "bundled"))


def without_a_shard(folder: Path) -> None:
    (folder / SHARDS[1].name).unlink()


def without_an_index(folder: Path) -> None:
    (folder / INDEX).unlink()


def without_anything(folder: Path) -> None:
    shutil.rmtree(folder)


def with_a_truncated_shard(folder: Path) -> None:
    path = folder / SHARDS[-1].name
    path.write_bytes(path.read_bytes()[:-1000])


def with_an_empty_shard(folder: Path) -> None:
    (folder / SHARDS[0].name).write_bytes(b"")


def with_a_pointer_of_git_lfs(folder: Path) -> None:
    (folder / SHARDS[0].name).write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 8976224\n"
    )


def with_half_an_index(folder: Path) -> None:
    (folder / INDEX).write_text((folder / INDEX).read_text(encoding="utf-8")[:500])


def with_an_index_that_is_a_list(folder: Path) -> None:
    (folder / INDEX).write_text("[]")


def with_an_index_of_no_tensors(folder: Path) -> None:
    (folder / INDEX).write_text('{"weight_map": []}')


def with_a_tensor_indexed_wrongly(folder: Path) -> None:
    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    name, shard = next(iter(index["weight_map"].items()))
    index["weight_map"][name] = next(s.name for s in SHARDS if s.name != shard)
    (folder / INDEX).write_text(json.dumps(index))


def with_an_absent_shard_in_the_index(folder: Path) -> None:
    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    index["weight_map"]["norm.weight"] = "model-00004-of-00004.safetensors"
    (folder / INDEX).write_text(json.dumps(index))


def without(name: str, *, indexed: bool) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        path = folder / index["weight_map"][name]
        tensors = {k: v.clone() for k, v in load_file(path).items() if k != name}
        save_file(tensors, path)
        if not indexed:
            del index["weight_map"][name]
            (folder / INDEX).write_text(json.dumps(index))

    damage.__name__ = f"without_{name}_but_in_the_index" if indexed else f"without_{name}"
    return damage


@pytest.mark.parametrize(
    "damage",
    [
        without_a_shard, without_an_index, without_anything, with_a_truncated_shard,
        with_an_empty_shard, with_a_pointer_of_git_lfs, with_half_an_index,
        with_an_index_that_is_a_list, with_an_index_of_no_tensors, with_a_tensor_indexed_wrongly,
        with_an_absent_shard_in_the_index,
        without("blocks.3.norm1.bias", indexed=True),
        without("blocks.3.norm1.bias", indexed=False),
        without("blocks.11.attn.qkv.weight.scale", indexed=True),
    ],
    ids=lambda damage: damage.__name__,
)  # fmt: skip
def test_damaged_files_are_refused_in_one_sentence_that_says_what_to_do(copy, damage) -> None:
    damage(copy)
    with pytest.raises(InputError) as caught:
        bundled_vit(copy)
    check_message(caught.value, "missing or damaged", "install Bavos again", "--backbone desc")
    assert str(caught.value)[0].isupper()


def test_a_whole_copy_is_read_from_wherever_it_lies(copy) -> None:
    found, expected = bundled_vit(copy).state_dict(), bundled_vit().state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())


# ---- the network --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bundled() -> backbones.ViTBackbone:
    return backbones.load("bundled-vits14")


def test_it_is_a_frozen_vit_of_timm_with_patches_of_14_pixels(bundled) -> None:
    assert isinstance(bundled.model, VisionTransformer)
    assert bundled.patch == 14
    assert bundled.layer == 10
    assert not bundled.model.training
    assert not any(p.requires_grad for p in bundled.model.parameters())
    assert {p.dtype for p in bundled.model.parameters()} == {torch.float32}


@pytest.mark.parametrize(("frames", "grid"), [(1, (1, 1)), (2, (3, 5)), (5, (2, 1)), (1, (1, 13))])
def test_features_are_finite_on_any_grid(bundled, frames, grid) -> None:
    features = bundled.encode(images(frames, grid), CPU)
    assert features.grid == grid
    assert features.keys.shape == features.queries.shape == (frames, 6, grid[0] * grid[1], 64)
    assert features.channels == 384
    assert features.tokens.isfinite().all()
    assert features.queries.isfinite().all()


@pytest.mark.parametrize("colour", [0.0, 1.0])
def test_features_are_finite_on_frames_of_one_colour(bundled, colour) -> None:
    assert bundled.encode(torch.full((1, 3, 42, 70), colour), CPU).tokens.isfinite().all()


def test_every_block_can_be_chosen_and_each_gives_other_keys(bundled) -> None:
    batch = images(1, (2, 3))
    keys = [replace(bundled, layer=layer).encode(batch, CPU).keys for layer in range(12)]
    assert all(each.isfinite().all() for each in keys)
    assert len({tuple(each.flatten()[:5].tolist()) for each in keys}) == 12
    assert torch.equal(keys[10], bundled.encode(batch, CPU).keys)


@pytest.mark.parametrize("layer", [12, -1])
def test_a_block_that_it_does_not_have_is_refused(layer) -> None:
    with pytest.raises(InputError) as caught:
        backbones.load("bundled-vits14", layer=layer)
    check_message(caught.value, f"block {layer}", "0 to 11")


def test_keys_are_those_of_timms_own_forward_pass_of_the_complete_network() -> None:
    tensors = read_bundled(FOLDER)
    tensors["pos_embed"] = tensors["pos_embed"][:, :26]  # a grid of 5×5: nothing is resampled
    complete = timm.create_model("vit_small_patch14_dinov2", img_size=70, num_classes=0).eval()
    missing, unexpected = complete.load_state_dict(tensors, strict=False)
    assert unexpected == []
    assert all(name.startswith(("blocks.11.", "norm.")) for name in missing)
    seen: dict[int, Tensor] = {}
    for layer in (10, 11):
        complete.blocks[layer].attn.qkv.register_forward_hook(
            lambda _module, _given, qkv, layer=layer: seen.update({layer: qkv})
        )
    batch = images(2, (5, 5))
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).view(2, 3, 1, 1)
    with torch.inference_mode():
        complete((batch - mean) / std)
    for layer in (10, 11):
        ours = backbones.load("bundled-vits14", layer=layer)
        ours.model.pos_embed = torch.nn.Parameter(tensors["pos_embed"], requires_grad=False)
        queries, keys, _ = seen[layer][:, 1:].unflatten(-1, (3, 6, 64)).unbind(2)
        found = ours.encode(batch, CPU)
        torch.testing.assert_close(found.keys, keys.transpose(1, 2), rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(found.queries, queries.transpose(1, 2), rtol=1e-3, atol=1e-3)


# ---- its names, and what is said of it ----------------------------------------------------------


def test_builtin_is_another_name_for_it(bundled) -> None:
    assert backbones.canonical("builtin") == "bundled-vits14"
    assert backbones.resolve("builtin") == backbones.resolve("bundled-vits14")
    other, batch = backbones.load("builtin"), images(1, (3, 5))
    assert (other.layer, other.note) == (bundled.layer, bundled.note)
    assert torch.equal(other.encode(batch, CPU).keys, bundled.encode(batch, CPU).keys)


@pytest.mark.parametrize("name", ["builtin", "bundled-vits14"])
def test_it_takes_no_weights(name, tmp_path) -> None:
    with pytest.raises(InputError) as caught:
        backbones.load(name, weights=tmp_path / "x.pth")
    check_message(caught.value, "bundled-vits14", "no weights file")


def test_its_note_says_that_its_results_are_not_label_free(bundled) -> None:
    assert LABELS in bundled.note
    assert "not label-free" in bundled.note


def test_its_description_says_what_it_was_tuned_on_and_others_do_not() -> None:
    said = {name: backbones.describe(name) for name in (*backbones.names(), "builtin")}
    assert said["bundled-vits14"] == f"bundled-vits14 ({LABELS})"
    assert said["builtin"] == f"builtin ({LABELS})"
    assert all(text == n for n, text in said.items() if n not in ("bundled-vits14", "builtin"))


def test_the_help_of_segment_says_it(capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "9999")  # argparse breaks lines at hyphens
    with pytest.raises(SystemExit):
        cli.main(["segment", "--help"])
    assert f"bundled-vits14 ({LABELS})" in capsys.readouterr().out


def test_the_summary_warns_of_it(tmp_path, capsys) -> None:
    clip = make_video(tmp_path / "clip.mp4", "-pix_fmt", "yuv420p")
    options = ("--backbone", "builtin", "--frames", "2", "--size", "42x56", "--device", "cpu")
    assert cli.main(["segment", str(clip), "--out", str(tmp_path / "out"), *options]) == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    assert summary["settings"]["backbone"] == "bundled-vits14"
    assert any(LABELS in warning for warning in summary["warnings"])
    assert LABELS in capsys.readouterr().err


def test_it_is_clustered_by_its_own_attention_across_frames() -> None:
    assert backbones.load("bundled-vits14").source == "cross-frame"
    assert analyse(noise_clip(2, (28, 42)), Settings(backbone="builtin")).source == "cross-frame"
