"""Bavos: objects of a video from the attention of a Vision Transformer.

A thin library for the method of "Betrayed by Attention" (Ding et al., ECCV 2024).

>>> import bavos_core
>>> analysis = bavos_core.analyse("clip.mp4")
>>> labels = analysis.segment(tau=1.0).labels  # (T, h, w)
>>> heat = analysis.attend(frame=0, y=120, x=200)  # (T, h, w)
"""

import os

# Before torch: its threads wait for each other by spinning, which starves whatever shares the
# cores (the video encoder, a web server, a second user). Beside one busy process on two cores,
# clustering took 35 s spinning and 8 s sleeping. A value that is set already stays.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from .analysis import Analysis
from .edits import Edit
from .errors import BackboneUnavailable, Cancelled, InputError
from .pipeline import analyse, recluster
from .segmentation import Segmentation
from .settings import Settings
from .tree import ClusterTree
from .video import Limits, open_clip

__version__ = "0.2.0"

__all__ = [
    "Analysis",
    "BackboneUnavailable",
    "Cancelled",
    "ClusterTree",
    "Edit",
    "InputError",
    "Limits",
    "Segmentation",
    "Settings",
    "analyse",
    "open_clip",
    "recluster",
]
