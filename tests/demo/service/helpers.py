"""Constants and functions that the tests of the service share."""

import pytest

from bavos_core import InputError
from demo.presets import Preset
from demo.service import Service
from demo.store import Result

FEW = Preset(3, 192)
FILES = {
    "bavos.zip", "overlay.mp4", "masks.zip", "masks.json", "labels.npz",
    "hierarchy.json", "hierarchy.svg", "summary.json",
}  # fmt: skip


def ignore(share: float, stage: str) -> None:
    """Take no notice of progress."""


def sentence(error: pytest.ExceptionInfo[InputError]) -> str:
    """What a person reads: one line that ends in a full stop."""
    message = str(error.value)
    assert message.endswith(".")
    assert "\n" not in message
    return message


def written_at(service: Service, result: Result) -> dict[str, int]:
    """When each file of a result was written."""
    with service.store.room(result) as folder:
        return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
