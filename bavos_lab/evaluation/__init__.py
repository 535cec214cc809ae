"""Evaluate masks on the standard benchmarks, under named protocols.

>>> from bavos_lab.evaluation import DATASETS, Run, SavedMasks, evaluate
>>> sequences = DATASETS["davis-2016"].sequences(root)
>>> run = Run(out, "DAVIS-2016", sequences, SavedMasks(masks), ("official",))
>>> results = evaluate(run)
"""

from .datasets import DATASETS, Dataset, Selection
from .predictions import Pipeline, Predictions, SavedMasks
from .protocols import PROTOCOLS, Protocol, Score
from .runner import Run, evaluate
from .sequences import Annotation, Truth, VideoSequence

__all__ = [
    "DATASETS",
    "PROTOCOLS",
    "Annotation",
    "Dataset",
    "Pipeline",
    "Predictions",
    "Protocol",
    "Run",
    "SavedMasks",
    "Score",
    "Selection",
    "Truth",
    "VideoSequence",
    "evaluate",
]
