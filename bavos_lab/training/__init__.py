"""Training the temporal correlator (paper, section 3.2 and training details)."""

from bavos_core.correlator import TrainedCorrelator, read_correlator

from .adapt import ADAPT, adapt, adapting
from .blocks import frozen_copy
from .data import TrainingData, load_clips
from .files import write_correlator
from .settings import TrainSettings
from .trainer import Step, TrainResult, train

__all__ = [
    "ADAPT",
    "Step",
    "TrainResult",
    "TrainSettings",
    "TrainedCorrelator",
    "TrainingData",
    "adapt",
    "adapting",
    "frozen_copy",
    "load_clips",
    "read_correlator",
    "train",
    "write_correlator",
]
