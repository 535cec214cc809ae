"""Whole runs: what they write, how they stop, and that they go on as if nothing had happened."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from bavos_core import backbones
from bavos_core.backbones.builtin import Builtin
from bavos_core.backbones.weights import read_metadata, write_tensors
from bavos_core.errors import Cancelled, InputError
from bavos_core.pretraining import Pictures, PretrainResult, RunSettings, Step, pretrain
from bavos_core.pretraining.checkpoint import checkpoint_folder, load_checkpoint, save_checkpoint
from bavos_core.pretraining.distillation import Distillation
from bavos_core.pretraining.network import new_network
from bavos_core.settings import Compute
from bavos_core.training.run import log_path

from .helpers import PAIRS, TINY


def stop_after(steps: int):
    def progress(step: Step) -> None:
        if step.step == steps:
            raise Cancelled

    return progress


def log_of(out: Path) -> list[dict[str, str]]:
    """The rows of the log, without the one column that no two runs share."""
    with log_path(out).open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def state_of(out: Path) -> dict[str, torch.Tensor]:
    """Everything in the last checkpoint."""
    (step,) = checkpoint_folder(out).iterdir()
    return {k: v for piece in step.iterdir() for k, v in load_file(piece).items()}


def run_of(settings: RunSettings, pictures: Pictures, folder: Path) -> tuple[Path, PretrainResult]:
    """A run of eight steps in one go, and where it was written."""
    out = folder / "vit.safetensors"
    return out, pretrain(pictures, settings, out=out)


@pytest.fixture(scope="module")
def unbroken(
    pictures: Pictures, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, PretrainResult]:
    """A Vision Transformer's."""
    return run_of(TINY, pictures, tmp_path_factory.mktemp("unbroken"))


@pytest.fixture(scope="module")
def unbroken_pairs(
    pictures: Pictures, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, PretrainResult]:
    """That of the built-in backbone's network."""
    return run_of(PAIRS, pictures, tmp_path_factory.mktemp("pairs"))


@pytest.mark.parametrize("broken_at", [1, 3, 5])
@pytest.mark.parametrize(("whole", "settings"), [("unbroken", TINY), ("unbroken_pairs", PAIRS)])
def test_a_run_that_was_stopped_arrives_at_the_very_same_numbers(
    whole: str,
    settings: RunSettings,
    broken_at: int,
    pictures: Pictures,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    unbroken = request.getfixturevalue(whole)
    out = tmp_path / "vit.safetensors"
    first = pretrain(pictures, settings, out=out, progress=stop_after(broken_at))
    assert (first.steps, first.stopped) == (broken_at, True)
    second = pretrain(pictures, out=out, resume=checkpoint_folder(out))
    assert (second.steps, second.samples, second.stopped) == (8, 32, False)
    assert log_of(out) == log_of(unbroken[0])
    told = ["views", "patches", "spread"] if settings is TINY else ["pairs", "found"]
    assert list(log_of(out)[0]) == ["step", *told, "lr", "j"]
    found, wanted = state_of(out), state_of(unbroken[0])
    assert found.keys() == wanted.keys()
    assert [name for name in wanted if not torch.equal(found[name], wanted[name])] == []


def test_the_file_is_the_teacher_and_serves_as_a_backbone(
    unbroken: tuple[Path, PretrainResult], pictures: Pictures
) -> None:
    out, result = unbroken
    teacher = load_checkpoint(checkpoint_folder(out), pictures).teacher
    backbone = backbones.load("own-vit", weights=out)
    assert (backbone.patch, backbone.layer) == (4, 1)
    images = torch.rand(2, 3, 8, 12, generator=torch.Generator().manual_seed(0))
    found = backbone.encode(images, Compute(torch.device("cpu"), "fp32"))
    seen: list[torch.Tensor] = []
    hook = teacher.vit.blocks[1].attn.qkv.register_forward_hook(lambda *a: seen.append(a[2]))
    with torch.no_grad():
        teacher(images)
    hook.remove()
    assert torch.allclose(found.tokens, seen[0][:, 1:, 16:32], atol=2e-3)  # float16 in the file
    about = read_metadata(out)
    assert (about["steps"], about["samples"]) == (str(result.steps), "32")


def test_the_file_of_pairs_is_what_the_builtin_backbone_reads(
    unbroken_pairs: tuple[Path, PretrainResult], pictures: Pictures
) -> None:
    out, _ = unbroken_pairs
    learned = load_checkpoint(checkpoint_folder(out), pictures).backbone()
    images = torch.rand(2, 3, 40, 48, generator=torch.Generator().manual_seed(0))
    compute = Compute(torch.device("cpu"), "fp32")
    found, wanted = (b.encode(images, compute).tokens for b in (Builtin.load(out), learned))
    assert torch.allclose(found, wanted, atol=2e-2)  # float16 in the file
    assert not torch.allclose(found, Builtin.load().encode(images, compute).tokens, atol=2e-2)


def test_checkpoints_come_in_pieces_that_can_be_moved(pictures: Pictures, tmp_path: Path) -> None:
    wide = replace(TINY, width=256, heads=4, depth=2, steps=1)
    out = tmp_path / "vit.safetensors"
    pretrain(pictures, wide, out=out)
    (step,) = checkpoint_folder(out).iterdir()
    sizes = [piece.stat().st_size for piece in step.iterdir()]
    assert len(sizes) > 1
    assert max(sizes) <= 16_000_000
    wanted = Distillation(wide)
    wanted.take_step(pictures)
    found = load_checkpoint(checkpoint_folder(out), pictures).student.state_dict()
    assert all(torch.equal(v, found[k]) for k, v in wanted.student.state_dict().items())


def test_a_checkpoint_replaces_one_of_its_own_step_and_keeps_the_last_j(
    pictures: Pictures, tmp_path: Path
) -> None:
    learner = Distillation(TINY)
    for j in (0.5, 0.25):
        learner.j = j
        save_checkpoint(tmp_path, learner, pictures)
        assert load_checkpoint(tmp_path, pictures).j == j
        assert [path.name for path in tmp_path.iterdir()] == ["step-000000"]


def test_resuming_refuses_other_pictures_and_what_is_no_checkpoint(
    unbroken: tuple[Path, PretrainResult], pictures: Pictures, tmp_path: Path
) -> None:
    folder = checkpoint_folder(unbroken[0])
    other = replace(pictures, aspects=pictures.aspects * 2)
    with pytest.raises(InputError, match=r"made from other pictures; resume with the same ones"):
        load_checkpoint(folder, other)
    with pytest.raises(InputError, match=r"is no checkpoint; give the folder"):
        load_checkpoint(tmp_path, pictures)
    (tmp_path / "step-000001").mkdir()
    write_tensors(tmp_path / "step-000001" / "000.safetensors", {"a": torch.zeros(1)}, {})
    with pytest.raises(InputError, match=r"is no checkpoint of pretraining"):
        load_checkpoint(tmp_path, pictures)


def test_a_checkpoint_that_lacks_tensors_is_refused(
    unbroken: tuple[Path, PretrainResult], pictures: Pictures, tmp_path: Path
) -> None:
    (step,) = checkpoint_folder(unbroken[0]).iterdir()
    copy = tmp_path / step.name
    copy.mkdir()
    tensors, about = state_of(unbroken[0]), read_metadata(step / "000.safetensors")
    del tensors["teacher.vit.pos_embed"]
    write_tensors(copy / "000.safetensors", tensors, about)
    with pytest.raises(InputError, match=r"not whole, teacher.vit.pos_embed being missing"):
        load_checkpoint(tmp_path, pictures)


def test_the_same_seed_makes_the_same_network_and_leaves_the_generator_alone() -> None:
    torch.manual_seed(5)
    wanted = torch.rand(1)
    torch.manual_seed(5)
    one, other = (new_network(TINY).state_dict() for _ in range(2))
    assert torch.equal(torch.rand(1), wanted)
    assert all(torch.equal(one[name], other[name]) for name in one)
    third = new_network(replace(TINY, seed=1)).state_dict()
    assert not torch.equal(one["hidden"], third["hidden"])
