"""Training without labels: a small Vision Transformer, and the built-in backbone's network."""

from .pictures import Pictures, load_pictures
from .settings import CooccurrenceSettings, PretrainSettings, RunSettings
from .trainer import PretrainResult, Step, pretrain

__all__ = [
    "CooccurrenceSettings",
    "Pictures",
    "PretrainResult",
    "PretrainSettings",
    "RunSettings",
    "Step",
    "load_pictures",
    "pretrain",
]
