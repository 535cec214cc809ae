"""requirements.lock: what requirements.txt allows, pinned with hashes, and no host."""

import re
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
PINS = dict(re.findall(r"^([\w.-]+)==(\S+) \\$", LOCK, re.MULTILINE))
WANTED = [
    Requirement(line)
    for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]


def test_it_pins_all_that_is_wanted_within_the_bounds() -> None:
    assert len(WANTED) > 10
    outside = [
        str(wanted)
        for wanted in WANTED
        if PINS.get(canonicalize_name(wanted.name)) not in wanted.specifier
    ]
    assert outside == []


def test_every_pin_has_hashes_and_nothing_else_is_in_it() -> None:
    pin = (
        r"[\w.-]+==\S+ \\\n(?: {4}--hash=sha256:[0-9a-f]{64} \\\n)* {4}--hash=sha256:[0-9a-f]{64}\n"
    )
    assert re.fullmatch(f"(?:{pin})+", LOCK)
    assert len(PINS) > 50


def test_it_names_no_host() -> None:
    assert not re.search(r"://|index|@|\bwww\b", LOCK)


def test_torch_is_the_build_for_gpus_of_the_usual_index() -> None:
    assert "+" not in PINS["torch"]
    assert "triton" in PINS
    assert any(name.startswith("nvidia-cudnn") for name in PINS)
