"""All bytes that the viewer gets of a result: parts, and one HTML file with all of them.

>>> scene = bavos_lab.scene.Scene(analysis)
>>> scene.part("base"), scene.part("frame/12"), scene.part("attention/cross-frame")
>>> for name, part in scene.frames(clip): ...
"""

from .base import PREVIEW_SIDE, READ_SIDE, base_part
from .blocks import block_part, blocks
from .compact import attention_part
from .frames import frame_part
from .html import write_html
from .parts import pack, unpack
from .readings import readings_part
from .whole import Scene, depends_on_backbone

__all__ = [
    "PREVIEW_SIDE",
    "READ_SIDE",
    "Scene",
    "attention_part",
    "base_part",
    "block_part",
    "blocks",
    "depends_on_backbone",
    "frame_part",
    "pack",
    "readings_part",
    "unpack",
    "write_html",
]
