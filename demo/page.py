"""The page: where its panels stand, and what a new result changes in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from . import strings
from .api import add_api
from .inputs import CheckedBlocks
from .panels.adapting import Adapting, AdaptingEvents
from .panels.downloads import Downloads, DownloadsEvents
from .panels.events import Values
from .panels.start import Start, StartEvents
from .panels.viewer import Viewer, ViewerEvents
from .service import Service
from .store import Result


def build(service: Service) -> gr.Blocks:
    """Build the whole page."""
    with CheckedBlocks(title="Bavos", analytics_enabled=False, fill_width=True) as blocks:
        page = Page.lay_out(service)
        add_api(service)  # before the listeners, which must not take its names
        page.connect(blocks)
    # Gradio's queue only hands on: who waits for whom is decided by the turns of the service.
    blocks.queue(max_size=None, default_concurrency_limit=None)
    return blocks


@dataclass(frozen=True)
class Page:
    """All panels of the page."""

    service: Service
    start: Start
    viewer: Viewer
    adapting: Adapting
    downloads: Downloads

    @classmethod
    def lay_out(cls, service: Service) -> Page:
        """Create all components: the head, the viewer below it, and the rest below that."""
        start = Start.lay_out(service)
        viewer = Viewer.lay_out()
        with gr.Accordion("Take home: files, code", open=False, elem_id="take-home"):
            downloads = Downloads.lay_out()
        with gr.Accordion("Adapt the correlator to this clip", open=False, elem_id="adapting"):
            adapting = Adapting.lay_out(service.settings)
        gr.Markdown(strings.footer(service.settings), elem_classes="small")
        return cls(service, start, viewer, adapting, downloads)

    def connect(self, blocks: gr.Blocks) -> None:
        """Register the listeners of all panels."""
        start = StartEvents(self)
        start.connect()
        start.connect_load(blocks)
        ViewerEvents(self).connect(blocks)
        DownloadsEvents(self).connect()
        AdaptingEvents(self).connect()

    @property
    def result_outputs(self) -> list[Any]:
        """The components that `show` fills."""
        d = self.downloads
        viewer = [self.viewer.view, self.viewer.notice]
        return [*viewer, *self.adapting.result_outputs, d.files, d.about]

    def show(self, result: Result, **how: Any) -> Values:
        """Return the values of all components that depend on the result. how: see `Viewer.show`."""
        return {
            **self.viewer.show(result, **how),
            **self.adapting.show(result),
            **self.downloads.show(),
        }
