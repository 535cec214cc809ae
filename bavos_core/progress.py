"""The progress callback that all costly calls take, and the stages that it names."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from bavos_io.stopping import checkpoint as checkpoint
from bavos_io.stopping import reporting as reporting


class Stage(str, Enum):
    """A stage of the work; its value is what people read."""

    DOWNLOAD = "download"
    DECODE = "decode"
    FEATURES = "features"
    CLUSTERING = "attention and clustering"
    INSTANCES = "instances"
    MASKS = "masks and video"
    HEATMAP = "heatmap video"
    CUT_OUTS = "cut-outs for editors"

    def __str__(self) -> str:
        return self.value


# Takes a stage and the share of it that is done, 0 … 1. An exception that it raises stops the work.
Progress = Callable[[Stage, float], None]


def silent(_stage: Stage, _share: float) -> None:
    """Report nothing."""


def part_of(progress: Progress, begin: float, end: float) -> Progress:
    """Return a callback whose shares 0 … 1 are reported as begin … end of the same stage."""
    return lambda stage, share: progress(stage, begin + (end - begin) * share)
