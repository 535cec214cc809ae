"""Settings on the command line, shared by the commands of the lab."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TypeVar

from bavos_core import backbones
from bavos_core.settings import EncoderSettings

SomeSettings = TypeVar("SomeSettings", bound=EncoderSettings)


def with_known_backbone(settings: SomeSettings) -> SomeSettings:
    """Return settings with `auto` or an alias replaced by the backbone that it stands for.

    Print a note to stderr if it is a substitute.
    """
    name, substitute = backbones.resolve(settings.backbone, weights=settings.weights)
    if substitute:
        print(f"Note: {substitute}", file=sys.stderr)
    return replace(settings, backbone=name)
