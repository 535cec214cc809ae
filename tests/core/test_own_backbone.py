"""Networks that the project trained itself: their file says their shape, or is refused."""

from pathlib import Path

import pytest
import torch

from bavos_core import InputError, backbones
from bavos_core.backbones.own import OWN_FORMAT, Shape
from bavos_core.backbones.weights import write_tensors
from bavos_core.settings import Compute

SHAPE = {"view": "16", "patch": "4", "width": "12", "depth": "2", "heads": "3"}


def write_own(path: Path, **changes: str) -> Path:
    network = Shape(view=16, patch=4, width=12, depth=2, heads=3).network()
    tensors = {name: tensor.half() for name, tensor in network.state_dict().items()}
    write_tensors(path, tensors, {"format": OWN_FORMAT, **SHAPE, **changes})
    return path


def test_a_network_of_any_shape_is_read_by_what_its_file_says(tmp_path: Path) -> None:
    backbone = backbones.load("own-vit", weights=write_own(tmp_path / "vit.safetensors"))
    found = backbone.encode(torch.rand(1, 3, 8, 20), Compute(torch.device("cpu"), "fp32"))
    assert found.grid == (2, 5)
    assert found.keys.shape == (1, 3, 10, 4)  # heads, patches, channels of a head
    first = backbones.load("own-vit", weights=tmp_path / "vit.safetensors", layer=0)
    assert first.layer == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "another"}, {"width": ""}, {"depth": "two"}, {"heads": "5"}, {"patch": "3"},
        {"view": "99999"}, {"width": "-12"}, {"depth": "0"},
    ],
    ids=str,
)  # fmt: skip
def test_a_file_that_does_not_say_its_shape_is_refused(
    changes: dict[str, str], tmp_path: Path
) -> None:
    path = write_own(tmp_path / "vit.safetensors", **changes)
    with pytest.raises(InputError, match=r"vit.safetensors is no network that pretrain wrote"):
        backbones.load("own-vit", weights=path)


def test_a_file_whose_tensors_are_of_another_shape_is_refused(tmp_path: Path) -> None:
    path = write_own(tmp_path / "vit.safetensors", depth="3")
    with pytest.raises(InputError, match=r"vit.safetensors does not fit: 12 of 42 tensors are"):
        backbones.load("own-vit", weights=path)


def test_it_needs_a_file() -> None:
    with pytest.raises(InputError, match=r"give its file with --weights FILE\."):
        backbones.load("own-vit")
