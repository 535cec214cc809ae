"""Options of the command line that stand for fields of `Settings`."""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields, replace
from functools import partial
from typing import Any, TypeVar

from . import backbones
from .download import file_or_url, local_file
from .progress import Progress, Stage
from .settings import EncoderSettings, Settings

BACKBONE_HELP = (
    f"{', '.join(map(backbones.describe, backbones.names()))}, or any ViT of timm; auto is "
    f"{backbones.PAPER}, the paper's, where its weights can be had, else {backbones.BUNDLED}"
)
SomeSettings = TypeVar("SomeSettings", bound=EncoderSettings)


def add_settings(parser: argparse._ActionsContainer) -> None:
    """An option for every field but the seed; what is not given is absent from the result."""
    default = Settings()

    def add(name: str, **options: Any) -> None:
        parser.add_argument(name, default=argparse.SUPPRESS, **options)

    add("--backbone", metavar="NAME", help=f"{BACKBONE_HELP} (default: {default.backbone})")
    add("--weights", type=file_or_url, metavar="FILE|URL", help="weights of the backbone")
    add("--layer", type=int, metavar="L", help="block whose keys are used, from 0")
    add("--correlator", metavar="FILE|URL|cross-frame|keys|untrained",
        help="attention to cluster, or a trained block; default: by backbone")  # fmt: skip
    add("--tau", type=float, help=f"granularity ({default.tau})")
    add("--exact", action="store_true", help="the paper's procedure to the letter")
    add("--frames", type=int, metavar="N", help="analysed (24 on CPU, 80 on CUDA)")
    add("--size", type=size, metavar="HxW", help="pixels fed to the backbone")
    add("--patches", type=int, metavar="N",
        help=f"about as many a frame has, without a --size ({default.patches})")  # fmt: skip
    add("--key-ratio", type=int, metavar="R", help="every R-th is a key frame")
    add("--refine", action=argparse.BooleanOptionalAction, help="edge-refine masks")
    add("--device", choices=("auto", "cpu", "cuda"))
    add("--precision", choices=("fp32", "bf16"))


def given_settings(options: argparse.Namespace) -> dict[str, Any]:
    """The fields of Settings that were given, and their values."""
    names = {field.name for field in fields(Settings)}
    return {name: value for name, value in vars(options).items() if name in names}


def with_known_backbone(settings: SomeSettings) -> SomeSettings:
    """Return settings with `auto` or an alias replaced by the backbone that it stands for.

    A note on stderr says why, where that is a substitute.
    """
    name, substitute = backbones.resolve(settings.backbone, weights=settings.weights)
    if substitute:
        print(f"Note: {substitute}", file=sys.stderr)
    return replace(settings, backbone=name)


def fetch(settings: Settings, progress: Progress) -> None:
    """Bring weights and blocks that are URLs to this machine, showing how far that is."""
    for source in (settings.weights, settings.correlator):
        if source:
            local_file(source, progress=partial(progress, Stage.DOWNLOAD))


def size(text: str) -> tuple[int, int]:
    """Height and width from "192x384", for argparse."""
    try:
        height, width = (int(part) for part in text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write 192x384") from None
    return height, width
