"""State dicts come in from every known layout, are checked tensor by tensor, and never run code."""

import argparse
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from bavos_core import InputError
from bavos_core.backbones.weights import encoder_tensors, load_checked
from bavos_core.correlator import TemporalCorrelator, read_correlator, untrained
from bavos_io.weights import read_tensors

from .helpers import check_message, tiny_vit, whole_pass


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    """What the files hold; models are loaded from other random weights."""
    return {k: v.clone() for k, v in tiny_vit(seed=1).state_dict().items()}


def prefixed(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def save(checkpoint: object, path: Path) -> Path:
    """A .safetensors or PyTorch file."""
    if path.suffix == ".safetensors":
        save_file(checkpoint, path)
    else:
        torch.save(checkpoint, path)
    return path


def check_loads(path: Path, expected: dict[str, Tensor]) -> None:
    """The file fills a model that held other values."""
    model = tiny_vit(seed=2)
    load_checked(model, encoder_tensors(read_tensors(path)), path.name)
    assert model.state_dict().keys() == expected.keys()
    assert all(torch.equal(tensor, expected[k]) for k, tensor in model.state_dict().items())


# ---- layouts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["pth", "pt", "bin", "safetensors"])
def test_timms_own_layout_is_loaded(suffix, tensors, tmp_path) -> None:
    check_loads(save(tensors, tmp_path / f"timm.{suffix}"), tensors)


@pytest.mark.parametrize("prefix", ["module.", "backbone.", "module.backbone.", "encoder."])
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_prefixes_of_wrappers_are_taken_off(prefix, suffix, tensors, tmp_path) -> None:
    check_loads(save(prefixed(tensors, prefix), tmp_path / f"wrapped.{suffix}"), tensors)


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict", "teacher"])
def test_a_state_dict_inside_a_checkpoint_is_found(key, tensors, tmp_path) -> None:
    check_loads(save({key: tensors, "epoch": 3}, tmp_path / "checkpoint.pth"), tensors)


def dinos_full_checkpoint(tensors: dict[str, Tensor], **more: object) -> dict[str, object]:
    """As DINO's training writes it: the student is another model than the teacher."""
    head = {"head.mlp.0.weight": torch.zeros(4, 24), "head.last_layer.weight_v": torch.zeros(9, 4)}
    student = prefixed(tiny_vit(seed=5).state_dict(), "module.backbone.")
    return {
        "student": student | prefixed(head, "module."),
        "teacher": prefixed(tensors, "backbone.") | head,
        "optimizer": torch.optim.AdamW(tiny_vit().requires_grad_(True).parameters()).state_dict(),
        "epoch": 100,
        "dino_loss": {"center": torch.zeros(1, 9)},
        **more,
    }


def test_the_teacher_of_dinos_full_checkpoint_is_loaded_without_its_head(tensors, tmp_path):
    path = save(dinos_full_checkpoint(tensors), tmp_path / "dino_full.pth")
    check_loads(path, tensors)


def test_the_training_options_in_dinos_full_checkpoint_do_no_harm(tensors, tmp_path) -> None:
    options = argparse.Namespace(arch="vit_small", lr=5e-4, local_crops_scale=(0.05, 0.4))
    check_loads(save(dinos_full_checkpoint(tensors, args=options), tmp_path / "d.pth"), tensors)


def with_older_numpy_names(path: Path) -> None:
    """Rewrite a PyTorch file as NumPy 1 would have had it written."""
    with zipfile.ZipFile(path) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    with zipfile.ZipFile(path, "w") as file:
        for name, content in parts.items():
            file.writestr(name, content.replace(b"numpy._core.", b"numpy.core."))


@pytest.mark.parametrize("older", [False, True])
def test_numpys_numbers_in_dinos_full_checkpoint_do_no_harm(older, tensors, tmp_path) -> None:
    checkpoint = dinos_full_checkpoint(tensors, loss=np.float32(2.5))
    checkpoint["optimizer"]["param_groups"][0]["lr"] = np.linspace(0, 1, 5)[3]  # as DINO sets it
    path = save(checkpoint, tmp_path / "dino_full.pth")
    if older:
        with_older_numpy_names(path)
    check_loads(path, tensors)


def test_both_parts_of_the_references_checkpoint_are_loaded(tensors, tmp_path) -> None:
    ours = untrained(24, seed=4)
    parts = prefixed(tensors, "encoder.") | prefixed(ours.state_dict(), "temporal_transformer.0.")
    optimizer = torch.optim.AdamW(ours.parameters())
    whole_pass(ours, torch.zeros(1, 2, 24))[0].sum().backward()
    optimizer.step()
    parts |= prefixed(ours.state_dict(), "temporal_transformer.0.")  # after the step
    checkpoint = {
        "iteration": 60000,
        "model_state_dict": parts,
        "optimizer_state_dict": optimizer.state_dict(),
        "loss": torch.tensor(0.3),
    }
    path = save(checkpoint, tmp_path / "checkpoint_dino-s-8.pth")
    check_loads(path, tensors)
    block = read_correlator(path).block
    assert all(torch.equal(v, ours.state_dict()[k]) for k, v in block.state_dict().items())


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_a_file_that_holds_only_a_block_is_loaded(suffix, tmp_path) -> None:
    expected = untrained(24, seed=4).state_dict()
    path = save(dict(expected), tmp_path / f"block.{suffix}")
    block = read_correlator(path).block
    assert all(torch.equal(v, expected[k]) for k, v in block.state_dict().items())


@pytest.mark.parametrize("name", ["weights", "wrong.pth"])
def test_safetensors_are_known_by_what_is_in_them(name, tensors, tmp_path) -> None:
    save_file(tensors, tmp_path / name)
    check_loads(tmp_path / name, tensors)


def test_half_precision_weights_become_float32(tensors, tmp_path) -> None:
    half = {k: v.half() for k, v in tensors.items()}
    path = save(half, tmp_path / "half.safetensors")
    check_loads(path, {k: v.float() for k, v in half.items()})


# ---- what does not fit --------------------------------------------------------------------------


def test_a_missing_tensor_is_an_error_that_names_it_and_changes_nothing(tensors, tmp_path) -> None:
    some = {k: v for k, v in tensors.items() if k != "blocks.1.attn.qkv.weight"}
    path = save(some, tmp_path / "some.pth")
    model = tiny_vit(seed=2)
    with pytest.raises(InputError) as caught:
        load_checked(model, encoder_tensors(read_tensors(path)), path.name)
    check_message(caught.value, "some.pth", "1 of", "blocks.1.attn.qkv.weight")
    before = tiny_vit(seed=2).state_dict()
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_many_missing_tensors_are_counted_and_the_first_is_named(tensors) -> None:
    some = {k: v for k, v in tensors.items() if not k.startswith("blocks.")}
    with pytest.raises(InputError) as caught:
        load_checked(tiny_vit(), some, "some.pth")
    missing = [k for k in tiny_vit().state_dict() if k.startswith("blocks.")]
    check_message(caught.value, f"{len(missing)} of {len(tensors)}", missing[0])
    assert missing[10] not in str(caught.value)


def test_a_tensor_of_another_shape_is_an_error_that_names_it_and_both_shapes(tensors) -> None:
    with pytest.raises(InputError) as caught:
        load_checked(tiny_vit(), tensors | {"pos_embed": torch.zeros(1, 50, 24)}, "other.pth")
    check_message(caught.value, "other.pth", "pos_embed", "(1, 50, 24)", "(1, 17, 24)")


def test_a_model_of_another_width_does_not_fit(tensors) -> None:
    with pytest.raises(InputError) as caught:
        load_checked(tiny_vit(embed_dim=48), tensors, "narrow.pth")
    check_message(caught.value, "narrow.pth", "cls_token", "and ")


def test_unexpected_tensors_do_no_harm(tensors) -> None:
    more = tensors | {"head.weight": torch.zeros(2), "fc.bias": torch.zeros(3)}
    model = tiny_vit(seed=2)
    load_checked(model, more, "more.pth")
    assert all(torch.equal(tensor, tensors[k]) for k, tensor in model.state_dict().items())


def lacking(tensors: dict[str, Tensor], *names: str) -> dict[str, Tensor]:
    return {k: v for k, v in tensors.items() if k not in names}


@pytest.mark.parametrize("layout", ["timm", "DINO's full", "the reference's"])
def test_a_partial_file_of_any_layout_is_refused_by_name(layout, tensors, tmp_path) -> None:
    lost = ("pos_embed", "blocks.2.mlp.fc1.bias")
    some = lacking(tensors, *lost)
    checkpoint = {
        "timm": some,
        "DINO's full": dinos_full_checkpoint(some),  # the student in it is whole
        "the reference's": {"model_state_dict": prefixed(some, "encoder.")},
    }[layout]
    path = save(checkpoint, tmp_path / "some.pth")
    with pytest.raises(InputError) as caught:
        load_checked(tiny_vit(), encoder_tensors(read_tensors(path)), path.name)
    check_message(caught.value, "some.pth", f"2 of {len(tensors)}", f"({', '.join(lost)})")


def test_a_block_file_is_no_encoder(tmp_path) -> None:
    block = prefixed(untrained(24, seed=4).state_dict(), "temporal_transformer.0.")
    path = save(block, tmp_path / "block.safetensors")
    with pytest.raises(InputError) as caught:
        load_checked(tiny_vit(), encoder_tensors(read_tensors(path)), path.name)
    check_message(caught.value, "block.safetensors", "(cls_token, pos_embed")


def test_an_encoder_file_is_no_block(tensors) -> None:
    with pytest.raises(InputError) as caught:
        load_checked(TemporalCorrelator(24), tensors, "vit.pth")
    check_message(caught.value, "vit.pth", "attn.qkv.weight")


# ---- files that are refused ---------------------------------------------------------------------


class Bomb:
    """Unpickling this would create a file."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self) -> tuple:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("writer", [torch.save, lambda o, p: p.write_bytes(pickle.dumps(o))])
@pytest.mark.parametrize("name", ["bomb.pth", "bomb.bin", "bomb.ckpt"])
def test_code_in_a_checkpoint_is_refused_and_not_run(writer, name, tensors, tmp_path) -> None:
    mark = tmp_path / "it-ran"
    writer({"state_dict": tensors, "extra": Bomb(mark)}, tmp_path / name)
    with pytest.raises(InputError) as caught:
        read_tensors(tmp_path / name)
    check_message(caught.value, name)
    assert not mark.exists()


def test_code_among_the_training_options_is_refused_and_not_run(tensors, tmp_path) -> None:
    options = argparse.Namespace(arch=Bomb(tmp_path / "it-ran"))
    path = save(dinos_full_checkpoint(tensors, args=options), tmp_path / "bomb.pth")
    with pytest.raises(InputError) as caught:
        read_tensors(path)
    check_message(caught.value, "bomb.pth", "more than tensors")
    assert not (tmp_path / "it-ran").exists()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("name", ["cut.pth", "cut.safetensors"])
def test_a_file_that_is_cut_short_is_refused(name, tensors, tmp_path) -> None:
    cut(save(tensors, tmp_path / name))
    with pytest.raises(InputError) as caught:
        read_tensors(tmp_path / name)
    check_message(caught.value, name)


@pytest.mark.parametrize("content", [b"", b"\x00", b"<html>404 Not Found</html>", b"\x80\x02."])
@pytest.mark.parametrize("name", ["x.pth", "x.safetensors"])
def test_other_bytes_are_refused(name, content, tmp_path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_tensors(tmp_path / name)
    check_message(caught.value, name)


@pytest.mark.parametrize("checkpoint", [[1, 2], torch.zeros(3), 7, "text"], ids=str)
def test_a_file_without_a_state_dict_is_refused(checkpoint, tmp_path) -> None:
    with pytest.raises(InputError) as caught:
        read_tensors(save(checkpoint, tmp_path / "other.pth"))
    check_message(caught.value, "other.pth", "state dict")


def test_a_path_that_is_no_file_is_refused(tmp_path) -> None:
    for path in (tmp_path / "absent.pth", tmp_path):
        with pytest.raises(InputError) as caught:
            read_tensors(path)
        check_message(caught.value, path.name)
