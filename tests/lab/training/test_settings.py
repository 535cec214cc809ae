"""Settings are checked when they are made and survive a file."""

import json
from pathlib import Path

import pytest
import torch

from bavos_core.errors import InputError
from bavos_core.settings import Compute
from bavos_lab.training.settings import TrainSettings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("init", "zeros"), ("standardise", "none"), ("weighting", "all"), ("device", "tpu"),
        ("precision", "fp16"), ("frames", 0), ("gap", 0), ("clip_frames", 0), ("cache_mib", 0),
        ("heads", 0), ("anchors", 0), ("steps", 0), ("batch", 0), ("checkpoint_every", 0),
        ("measure_every", -1), ("holdout_every", -1), ("weight_decay", -0.1), ("seed", -1),
        ("dropout", 1.0), ("attention_dropout", -0.1), ("lr", 0.0), ("lr", float("inf")),
        ("gain", float("nan")), ("final_lr", 1.1), ("columns", 0), ("size", (0, 64)),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(InputError, match=f"(?i)^{name} is .*; (give|choose) "):
        TrainSettings(**{name: value})


def test_settings_survive_json() -> None:
    settings = TrainSettings(weights=Path("w.pth"), size=(64, 96), columns=None, lr=3e-4)
    assert TrainSettings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings
    plain = TrainSettings(size=None)
    assert TrainSettings.from_dict(json.loads(json.dumps(plain.to_dict()))) == plain


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(InputError, match="Unknown settings: colour"):
        TrainSettings.from_dict({"colour": 1})


def test_the_block_computes_in_bfloat16_on_cuda_only_unless_told() -> None:
    cpu, cuda = (Compute(torch.device(kind), "fp32") for kind in ("cpu", "cuda"))
    assert TrainSettings().block_type(cpu) == torch.float32
    assert TrainSettings().block_type(cuda) == torch.bfloat16
    assert TrainSettings(precision="bf16").block_type(cpu) == torch.bfloat16
