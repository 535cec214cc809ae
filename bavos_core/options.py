"""Command-line options for the fields of `Settings`."""

from __future__ import annotations

import argparse
import re
from dataclasses import fields
from functools import partial, reduce
from pathlib import Path
from typing import Any

from bavos_io.download import file_or_url, local_file

from . import backbones
from .progress import Progress, Stage
from .settings import Settings

BACKBONE_HELP = (
    f"{', '.join(map(backbones.describe, backbones.names()))}, or any ViT of timm; auto is "
    f"{backbones.PAPER}, the paper's, if its weights are available, else {backbones.BUNDLED}"
)
_TIME = r"(([0-9]{1,4}:)?[0-5]?[0-9]:[0-5]?[0-9]|[0-9]{1,6}:[0-5]?[0-9]|[0-9]{1,9})(\.[0-9]+)?"


def add_settings(parser: argparse._ActionsContainer) -> None:
    """Add an option for every field but the seed; those not given are absent from the result."""
    default = Settings()

    def add(name: str, **options: Any) -> None:
        parser.add_argument(name, default=argparse.SUPPRESS, **options)

    add("--backbone", metavar="NAME", help=f"{BACKBONE_HELP} (default: {default.backbone})")
    add("--weights", type=file_or_url, metavar="FILE|URL", help="weights of the backbone")
    add("--layer", type=int, metavar="L", help="block whose keys are used, from 0")
    add("--correlator", metavar="FILE|URL|cross-frame|key-similarity|untrained",
        help="attention to cluster, or a trained correlator")  # fmt: skip
    add("--tau", type=float, help=f"distance at which the hierarchy is cut ({default.tau})")
    add("--exact", action="store_true", help="follow the paper's procedure exactly")
    add("--frames", type=int, metavar="N", help="frames to analyse (24 on CPU, 80 on CUDA)")
    add("--size", type=size, metavar="HxW", help="pixels fed to the backbone")
    add("--patches", type=int, metavar="N",
        help=f"per frame, approximately, unless --size is given ({default.patches})")  # fmt: skip
    add("--key-ratio", type=int, metavar="R", help="every R-th analysed frame is a key frame")
    add("--refine", action=argparse.BooleanOptionalAction, help="refine masks along edges")
    add("--device", choices=("auto", "cpu", "cuda"))
    add("--precision", choices=("fp32", "bf16"))


def given_settings(options: argparse.Namespace) -> dict[str, Any]:
    """Return the fields of Settings that were given, with their values."""
    names = {field.name for field in fields(Settings)}
    return {name: value for name, value in vars(options).items() if name in names}


def fetch(settings: Settings, progress: Progress) -> None:
    """Download weights and correlators that are given as URLs."""
    for source in (settings.weights, settings.correlator):
        if source:
            local_file(source, progress=partial(progress, Stage.DOWNLOAD))


def size(text: str) -> tuple[int, int]:
    """Parse "192x384" to (height, width), for argparse."""
    try:
        height, width = (int(part) for part in text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size; write 192x384") from None
    return height, width


def clusters(text: str) -> tuple[int, ...]:
    """Parse "1,4", numbers as in the names of objects, to the clusters (0, 3), for argparse."""
    try:
        return tuple(int(part) - 1 for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers; write 1,4") from None


def path(text: str) -> Path:
    """Return a path, for argparse; no text would mean the present folder."""
    if not text:
        raise argparse.ArgumentTypeError("no path is given; write . for the present folder")
    return Path(text)


def seconds(text: str) -> float:
    """Parse "90.5", "1:30.5" or "0:01:30.5" to seconds, for argparse."""
    if not re.fullmatch(_TIME, text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time; write seconds, mm:ss or hh:mm:ss"
        )
    return reduce(lambda total, part: 60 * total + float(part), text.split(":"), 0.0)
