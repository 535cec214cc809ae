"""The parts of a scene by their names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from bavos_core import Analysis, InputError
from bavos_core.backbones import Backbone
from bavos_core.export.masks import analysed_clip
from bavos_core.settings import AttentionSource
from bavos_io.clip import Clip, shortened
from bavos_io.stopping import checkpoint

from .base import READ_SIDE, base_part, part_source
from .blocks import Side, block_part
from .compact import attention_part
from .frames import frame_part
from .readings import readings_part

_BLOCK = re.compile(r"attention/block-([0-9]{1,3})-(attention|query|key|value)")


def depends_on_backbone(name: str) -> bool:
    """Return whether a scene makes this part with its backbone, if it has one."""
    return name == "base" or bool(_BLOCK.fullmatch(name))


@dataclass(frozen=True)
class Scene:
    """Makes the parts of an analysis. Edits do not change them: the viewer applies these.

    With the backbone there are also the parts `attention/block-5-query` and the like: see
    `block_part`.
    """

    analysis: Analysis
    backbone: Backbone | None = None

    @property
    def sources(self) -> tuple[AttentionSource, ...]:
        """Sources of attention that have a part; cross-frame's serves framewise as well."""
        return tuple(s for s in self.analysis.sources() if part_source(s) == s)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parts that need no clip, in the order in which a viewer wants them."""
        frames = self.analysis.analysed.tolist()
        middle = frames.pop(len(frames) // 2)
        return (
            "base",
            *(f"frame/{index}" for index in (middle, *frames)),
            *(f"attention/{source}" for source in self.sources),
            "readings",
        )

    def part(self, name: str) -> bytes:
        """Return a part that needs no clip. Raise InputError for one that does not exist."""
        if self.backbone and (asked := _BLOCK.fullmatch(name)):
            side = cast(Side, asked[2])
            return block_part(self.analysis, self.backbone, int(asked[1]), side)
        if name not in self.names:
            raise InputError(f"This result has no part {shortened(name)!r}.")
        kind, _, which = name.partition("/")
        match kind:
            case "base":
                return base_part(self.analysis, backbone=self.backbone)
            case "readings":
                return readings_part(self.analysis)
            case "attention":
                source = self.sources[[str(s) for s in self.sources].index(which)]
                return attention_part(self.analysis, source)
        sample = self.analysis.analysed.tolist().index(int(which))
        return frame_part(self.analysis, int(which), self.analysis.frames[sample])

    def frames(self, clip: Clip | None = None) -> Iterator[tuple[int, bytes]]:
        """Yield index and part of every frame of the clip, or of the analysed frames without it.

        The clip is read once.
        """
        analysis = self.analysis
        indices = range(len(analysis.times)) if clip else analysis.analysed.tolist()
        read = (clip or analysed_clip(analysis)).resized(READ_SIDE).read()
        for index, frame in zip(indices, read, strict=False):  # may be damaged
            checkpoint()
            yield index, frame_part(analysis, index, frame)
