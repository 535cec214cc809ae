"""Training a small Vision Transformer without labels: DINO's self-distillation, iBOT's masks."""

from .pictures import Pictures, load_pictures
from .settings import PretrainSettings
from .trainer import PretrainResult, Step, pretrain

__all__ = [
    "Pictures",
    "PretrainResult",
    "PretrainSettings",
    "Step",
    "load_pictures",
    "pretrain",
]
