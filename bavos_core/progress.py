"""How far a piece of work is: the one type of progress callback, and the stages it names."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum


class Stage(str, Enum):
    """A stage of the work; its value is what people read."""

    DOWNLOAD = "download"
    DECODE = "decode"
    FEATURES = "features"
    CLUSTERING = "attention and clustering"
    INSTANCES = "instances"
    MASKS = "masks and video"
    HEATMAP = "heatmap video"

    def __str__(self) -> str:
        return self.value


Progress = Callable[[Stage, float], None]  # stage, share of it done 0 … 1; what it raises stops all


def silent(_stage: Stage, _share: float) -> None:
    """Report nothing."""
