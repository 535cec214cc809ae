"""Bavos: objects of a video from the attention of a Vision Transformer.

A thin library for the method of "Betrayed by Attention" (Ding et al., ECCV 2024).

>>> import bavos_core
>>> analysis = bavos_core.analyse("clip.mp4")
>>> labels = analysis.segment(tau=1.0).labels  # (T, h, w)
>>> heat = analysis.attend(sample_index=0, y=120, x=200)  # (T, h, w)

Names are loaded when they are first used, so importing the package loads neither torch nor Pillow.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bavos_io.limits import Limits
    from bavos_io.opening import open_clip

    from .analysis import Analysis
    from .edits import Edit
    from .errors import BackboneUnavailable, Cancelled, InputError
    from .pipeline import analyse, recluster
    from .segmentation import Segmentation
    from .settings import Settings
    from .tree import ClusterTree

__version__ = "0.2.0"

__all__ = [
    "Analysis", "BackboneUnavailable", "Cancelled", "ClusterTree", "Edit", "InputError", "Limits",
    "Segmentation", "Settings", "analyse", "open_clip", "recluster",
]  # fmt: skip

_MODULES = {
    ".analysis": ("Analysis",),
    ".edits": ("Edit",),
    ".errors": ("BackboneUnavailable", "Cancelled", "InputError"),
    ".pipeline": ("analyse", "recluster"),
    ".segmentation": ("Segmentation",),
    ".settings": ("Settings",),
    ".tree": ("ClusterTree",),
    "bavos_io.limits": ("Limits",),
    "bavos_io.opening": ("open_clip",),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(module, __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
