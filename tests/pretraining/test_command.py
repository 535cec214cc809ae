"""The command: what it writes and says, and how it goes on."""

import argparse
import json
from dataclasses import fields
from pathlib import Path

import pytest

from bavos_core import backbones
from bavos_core.backbones.builtin import Builtin
from bavos_core.cli import build_parser, main
from bavos_core.errors import InputError
from bavos_core.pretraining import PretrainSettings
from bavos_core.pretraining.checkpoint import checkpoint_folder
from bavos_core.pretraining.command import run_pretrain

from .helpers import TINY

SMALL = [
    text
    for field in fields(TINY)
    if getattr(TINY, field.name) != field.default
    for text in (f"--{field.name.replace('_', '-')}", str(getattr(TINY, field.name)))
]


def parsed(sources: list[Path], out: Path, *more: object) -> argparse.Namespace:
    return build_parser().parse_args(
        ["pretrain", *map(str, sources), "--out", str(out), *map(str, more)]
    )


def test_a_run_tells_in_one_line_what_it_did(
    sources: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "vit.safetensors"
    assert main(["pretrain", *map(str, sources), "--out", str(out), *SMALL]) == 0
    told = capsys.readouterr()
    document = json.loads(told.out)
    assert (document["steps"], document["samples"], document["stopped"]) == (8, 32, False)
    assert told.err == "14 pictures, 8 of them frames of clips; 0 MiB of memory.\n"
    assert backbones.load("own-vit", weights=out).patch == 4


def test_resuming_takes_the_checkpoints_settings_and_no_others(
    sources: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "vit.safetensors"
    assert run_pretrain(parsed(sources, out, *SMALL)) == 0
    resume = ("--resume", checkpoint_folder(out))
    assert run_pretrain(parsed(sources, out, *resume, "--width", "16")) == 0
    with pytest.raises(InputError, match=r"made with --width 16, not 32; leave the option out\."):
        run_pretrain(parsed(sources, out, *resume, "--width", "32"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"view": 60}, "View is 60; give a multiple of the patch, 8."),
        ({"heads": 5}, "5 heads do not share 192 channels; give a divisor."),
        ({"masked": 1.5}, "Masked is 1.5; give a share from 0 to 1."),
        ({"steps": 0}, "Steps is 0; give 1 or more."),
        ({"lr": 0.0}, "Lr is 0.0; give a number above 0."),
        ({"device": "tpu"}, "Device is 'tpu'; choose auto or cpu or cuda."),
        ({"small_views": -1}, "Small_views is -1; give 0 or more."),
    ],
)
def test_settings_that_cannot_be_are_refused(given: dict, message: str) -> None:
    with pytest.raises(InputError) as caught:
        PretrainSettings(**given)
    assert str(caught.value) == message


def test_settings_survive_json() -> None:
    assert PretrainSettings.from_dict(json.loads(json.dumps(TINY.to_dict()))) == TINY


def test_the_network_of_the_builtin_backbone_has_a_command_of_its_own(
    sources: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "builtin.safetensors"
    options = [*map(str, sources), "--out", str(out)]
    small = ("--side", "32", "--grid", "4", "--crop", "3", "--steps", "3", "--batch", "4")
    assert main(["pretrain-builtin", *options, *small, "--device", "cpu"]) == 0
    assert json.loads(capsys.readouterr().out)["samples"] == 12
    Builtin.load(out)
    resume = ["--resume", str(checkpoint_folder(out))]
    assert main(["pretrain", *options, *resume, "--heads", "3"]) == 2
    assert "is of another recipe; use its own command." in capsys.readouterr().err
    with pytest.raises(SystemExit):  # an option of the other recipe
        main(["pretrain-builtin", *options, "--heads", "3"])
