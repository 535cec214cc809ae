"""Deinterlacing."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from typing import Any

import av


class Deinterlacer:
    """Turns interlaced frames into progressive ones; leaves the others as they are."""

    def __init__(self) -> None:
        self._kind: tuple[int, int, str] | None = None
        self._graph: Any = None

    def add(self, frame: av.VideoFrame) -> Iterator[av.VideoFrame]:
        """Yield the frames that are complete; one frame late, since the next one is needed."""
        kind = frame.width, frame.height, frame.format.name
        if kind != self._kind:
            yield from self.rest()
            self._kind, self._graph = kind, _bwdif(frame)
        self._graph.push(frame)
        yield from self._pulled()

    def rest(self) -> Iterator[av.VideoFrame]:
        """Yield the frames that are left."""
        if self._graph:
            self._graph.push(None)
            yield from self._pulled()

    def _pulled(self) -> Iterator[av.VideoFrame]:
        with contextlib.suppress(BlockingIOError, EOFError):
            while True:
                yield self._graph.pull()


def _bwdif(frame: av.VideoFrame) -> Any:
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
    )
    filters = (
        source,
        graph.add("bwdif", "mode=send_frame:deint=interlaced"),
        graph.add("buffersink"),
    )
    for before, after in itertools.pairwise(filters):
        before.link_to(after)
    graph.configure()
    return graph
