"""Files of trained blocks: ours and the reference's, whole, partial and damaged."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from bavos_core.correlator import TrainedCorrelator, read_correlator
from bavos_core.errors import InputError
from bavos_io.weights import read_metadata
from bavos_lab.training.files import write_correlator
from tests.lab.training.helpers import assert_same, lively_block, weights_of

NAMES = {
    "norm1.weight", "norm1.bias", "attn.qkv.weight", "attn.proj.weight", "attn.proj.bias",
    "norm2.weight", "norm2.bias", "mlp.fc1.weight", "mlp.fc1.bias", "mlp.fc2.weight",
    "mlp.fc2.bias",
}  # fmt: skip


@pytest.fixture
def trained() -> TrainedCorrelator:
    return TrainedCorrelator(
        lively_block(16, heads=4), torch.arange(16.0), torch.arange(1.0, 17.0), {"backbone": "x"}
    )


@pytest.fixture
def written(trained: TrainedCorrelator, tmp_path: Path) -> Path:
    path = tmp_path / "block.safetensors"
    write_correlator(path, trained)
    return path


def test_the_file_has_the_references_names(written: Path) -> None:
    expected = {f"temporal_transformer.0.{name}" for name in NAMES}
    assert set(load_file(written)) == expected | {"features.mean", "features.std"}


def test_what_is_written_is_read(trained: TrainedCorrelator, written: Path) -> None:
    found = read_correlator(written)
    assert_same(weights_of(found.block), weights_of(trained.block))
    assert torch.equal(found.mean, trained.mean)
    assert torch.equal(found.std, trained.std)
    assert found.about == {"backbone": "x", "format": "bavos-correlator-1", "heads": "4"}
    assert found.block.attn.heads == 4
    assert not found.block.training
    assert not any(parameter.requires_grad for parameter in found.block.parameters())
    assert [path.name for path in written.parent.iterdir()] == ["block.safetensors"]


def test_a_reference_checkpoint_is_read(tmp_path: Path) -> None:
    weights = weights_of(lively_block(16, heads=8))
    state = {f"temporal_transformer.0.{name}": tensor for name, tensor in weights.items()}
    state["encoder.cls_token"] = torch.zeros(1, 1, 16)
    torch.save({"iteration": 3, "model_state_dict": state, "loss": torch.tensor(1.0)},
               tmp_path / "checkpoint_dino-s-8.pth")  # fmt: skip
    found = read_correlator(tmp_path / "checkpoint_dino-s-8.pth")
    assert_same(weights_of(found.block), weights)
    assert torch.equal(found.mean, torch.zeros(16))  # its features enter as they are
    assert torch.equal(found.std, torch.ones(16))


@pytest.mark.parametrize(
    ("lost", "complaint"),
    [
        ("temporal_transformer.0.norm1.weight", "1 of 11 tensors are missing .norm1.weight."),
        ("temporal_transformer.0.mlp.fc2.bias", "1 of 11 tensors are missing .mlp.fc2.bias."),
        ("features.mean", "features.mean and features.std must hold 16 numbers"),
        ("features.std", "features.mean and features.std must hold 16 numbers"),
    ],
)
def test_partial_files_are_refused_by_name(written: Path, lost: str, complaint: str) -> None:
    tensors = load_file(written)
    del tensors[lost]
    save_file(tensors, written, metadata=read_metadata(written))
    with pytest.raises(InputError, match=complaint):
        read_correlator(written)


def test_a_partial_block_in_a_reference_checkpoint_is_refused_by_name(tmp_path: Path) -> None:
    state = {f"encoder.{name}": torch.zeros(2) for name in ("cls_token", "norm.weight")}
    path = tmp_path / "checkpoint_dino-s-8.pth"
    torch.save({"iteration": 3, "model_state_dict": state}, path)
    with pytest.raises(InputError, match=r"11 of 11 tensors are missing .norm1.weight, norm1.bias"):
        read_correlator(path)
    block = weights_of(lively_block(16, heads=8))
    state |= {f"temporal_transformer.0.{k}": v for k, v in block.items() if "mlp" not in k}
    torch.save({"iteration": 3, "model_state_dict": state}, path)
    with pytest.raises(InputError, match=r"4 of 11 tensors are missing .mlp.fc1.weight, mlp.fc1"):
        read_correlator(path)


def test_a_file_of_ours_is_read_whatever_its_name(
    trained: TrainedCorrelator, tmp_path: Path
) -> None:
    write_correlator(tmp_path / "block", trained)
    assert read_correlator(tmp_path / "block").metadata == trained.metadata


def test_wrong_files_are_refused(written: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    save_file({"conv.weight": torch.zeros(3)}, other)
    with pytest.raises(InputError, match=r"11 of 11 tensors are missing .norm1.weight, norm1.bias"):
        read_correlator(other)
    tensors, about = load_file(written), read_metadata(written)
    save_file({**tensors, "features.std": torch.zeros(16)}, other, metadata=about)
    with pytest.raises(InputError, match="those of the latter above 0"):
        read_correlator(other)
    save_file({**tensors, "features.mean": torch.zeros(3)}, other, metadata=about)
    with pytest.raises(InputError, match="must hold 16 numbers"):
        read_correlator(other)
    save_file(tensors, other, metadata={**about, "heads": "5"})
    with pytest.raises(InputError, match="16 channels do not fit 5 heads"):
        read_correlator(other)


def test_damaged_and_absent_files_are_refused(written: Path, tmp_path: Path) -> None:
    half = tmp_path / "half.safetensors"
    half.write_bytes(written.read_bytes()[:1000])
    for read in (read_correlator, read_metadata):
        with pytest.raises(InputError, match="no readable"):
            read(half)
        with pytest.raises(InputError, match=r"There is no file 'none.safetensors'"):
            read(tmp_path / "none.safetensors")


def test_a_failed_write_leaves_the_old_file(written: Path, trained: TrainedCorrelator) -> None:
    before = written.read_bytes()
    bad = TrainedCorrelator(trained.block, trained.mean, trained.std, {"steps": 3})  # not a string
    with pytest.raises(Exception, match="str"):
        write_correlator(written, bad)
    assert written.read_bytes() == before
    assert [path.name for path in written.parent.iterdir()] == ["block.safetensors"]


def test_a_correlator_on_another_device_is_a_copy_and_the_first_stays_where_it_was(
    trained: TrainedCorrelator,
) -> None:
    elsewhere = trained.to(torch.device("meta"))
    assert {p.device.type for p in elsewhere.block.parameters()} == {"meta"}
    assert elsewhere.mean.device.type == elsewhere.std.device.type == "meta"
    assert {p.device.type for p in trained.block.parameters()} == {"cpu"}
    assert trained.mean.device.type == "cpu"
