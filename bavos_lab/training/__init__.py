"""Training the temporal correlator (paper, section 3.2 and training details)."""

from bavos_core.trained import TrainedBlock, read_trained, write_trained

from .adapt import ADAPT, adapt, adapting
from .data import TrainingData, load_clips
from .settings import TrainSettings
from .trainer import Step, TrainResult, train

__all__ = [
    "ADAPT",
    "Step",
    "TrainResult",
    "TrainSettings",
    "TrainedBlock",
    "TrainingData",
    "adapt",
    "adapting",
    "load_clips",
    "read_trained",
    "train",
    "write_trained",
]
