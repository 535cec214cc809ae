"""The page: where its panels stand, and the events that concern several of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from . import html, images, recipe, strings
from .api import add_api
from .drawing import tree_picture
from .panels.adapting import Adapting, AdaptingEvents
from .panels.attention import Attention, AttentionEvents
from .panels.downloads import Downloads, DownloadsEvents
from .panels.events import DEVICE, QUICK, Listener, Values, hidden, politely
from .panels.hierarchy import Hierarchy, HierarchyEvents
from .panels.objects import Objects, ObjectsEvents
from .panels.start import Inputs, Run, StartEvents
from .panels.viewer import Viewer, ViewerEvents
from .service import Service
from .store import Result


def build(service: Service) -> gr.Blocks:
    """Build the whole page."""
    with gr.Blocks(title="Bavos", analytics_enabled=False) as blocks:
        page = Page.lay_out(service)
        add_api(service, DEVICE)  # before the listeners, which must not take its names
        page.connect(blocks)
    blocks.queue(max_size=service.settings.queue_size)
    return blocks


@dataclass(frozen=True)
class Page:
    """All panels of the page."""

    service: Service
    inputs: Inputs
    run: Run
    results: gr.Column  # hidden until there is a result; holds the panels below
    viewer: Viewer
    attention: Attention
    objects: Objects
    hierarchy: Hierarchy
    adapting: Adapting
    downloads: Downloads

    @classmethod
    def lay_out(cls, service: Service) -> Page:
        """Create all components: inputs on the left, videos on the right, results below."""
        gr.HTML(strings.HEADER, padding=False)
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                inputs = Inputs.lay_out(service)
            with gr.Column(scale=3):
                run = Run.lay_out(service)
        with gr.Column(visible=False) as results, gr.Row():
            with gr.Column(scale=1, min_width=320, elem_id="viewer"):
                viewer = Viewer.lay_out()
            with gr.Column(scale=1, min_width=320), gr.Tabs():
                with gr.Tab("Attention"):
                    attention = Attention.lay_out()
                with gr.Tab("Objects"):
                    objects = Objects.lay_out()
                with gr.Tab("Hierarchy"):
                    hierarchy = Hierarchy.lay_out()
                with gr.Tab("Adapt"):
                    adapting = Adapting.lay_out(service.settings)
                with gr.Tab("Download"):
                    downloads = Downloads.lay_out()
        gr.Markdown(strings.footer(service.settings), elem_classes="small")
        return cls(
            service=service,
            inputs=inputs,
            run=run,
            results=results,
            viewer=viewer,
            attention=attention,
            objects=objects,
            hierarchy=hierarchy,
            adapting=adapting,
            downloads=downloads,
        )

    def connect(self, blocks: gr.Blocks) -> None:
        """Register the listeners of all panels."""
        start = StartEvents(self)
        start.connect()
        self.viewer_events.connect()
        ObjectsEvents(self).connect()
        HierarchyEvents(self).connect()
        AttentionEvents(self).connect()
        AdaptingEvents(self).connect()
        DownloadsEvents(self).connect()
        blocks.unload(start.leave)
        start.connect_load(blocks)

    @property
    def viewer_events(self) -> ViewerEvents:
        """Events of the viewer, which those of other panels continue with."""
        return ViewerEvents(self)

    # ---- a new result --------------------------------------------------------------------------

    @property
    def result_outputs(self) -> list[Any]:
        """The components that `show` fills."""
        panels = (self.viewer, self.attention, self.adapting)
        filled = [component for panel in panels for component in panel.result_outputs]
        return [self.run.overlay, self.run.notice, self.results, *filled]

    def show(self, result: Result, overlay: Path) -> Values:
        """Return the values of all components that depend on the result."""
        cut = result.analysis.segment()
        return {
            self.run.overlay: overlay,
            self.run.notice: strings.report(result, cut),
            self.results: gr.Column(visible=True),
            **self.viewer.show(result, cut),
            **self.attention.show(result),
            **self.adapting.show(result),
        }

    @property
    def reset_outputs(self) -> list[Any]:
        """The components that `reset` fills."""
        return [
            self.viewer.queries,
            self.attention.weight,
            self.adapting.status,
            self.adapting.losses,
            self.adapting.seen,
            self.hierarchy.node_tiles,
            self.hierarchy.levels,
        ]

    @politely
    def reset(self, key: str) -> Values:
        """Select a point in the largest object, and remove what belongs to the previous clip."""
        analysis = self.service.store.get(key).analysis
        query = images.telling_point(analysis, (len(analysis.frames) - 1) // 2)
        return {
            self.viewer.queries: (query,),
            self.attention.weight: strings.WEIGH,
            self.adapting.status: strings.ADAPT,
            self.adapting.losses: hidden(),
            self.adapting.seen: hidden(),
            self.hierarchy.node_tiles: hidden(),
            self.hierarchy.levels: hidden(),
        }

    # ---- a new cut -----------------------------------------------------------------------------

    @property
    def describing(self) -> dict[str, Any]:
        """The listener that describes the cut in all panels."""
        return {
            "fn": self.describe,
            "inputs": self.viewer.cut_inputs,
            "outputs": [
                self.run.notice,
                self.objects.list,
                self.hierarchy.tree,
                self.downloads.code,
                self.downloads.files,
            ],
            **QUICK,
        }

    @politely
    def describe(self, values: Values, request: gr.Request) -> Values:
        """Show report, objects, hierarchy and code of the cut; hide the outdated downloads."""
        v, edits = self.viewer, values[self.viewer.edits]
        if not values[v.key]:
            panels = {self.objects.list: None, self.hierarchy.tree: None, self.downloads.code: None}
            return {**panels, self.downloads.files: hidden()}
        result, cut = self.service.cut(values[v.key], int(values[v.clusters]), edits)
        thumbnails = {i: images.object_thumbnail(result.analysis, cut, i) for i in cut.present}
        address = str(request.headers.get("origin", ""))
        return {
            self.run.notice: strings.report(result, cut),
            self.objects.list: html.object_list(cut, edits, thumbnails),
            self.hierarchy.tree: tree_picture(
                result.analysis.tree, cut, images.node_thumbnails(result.analysis, cut)
            ),
            self.downloads.code: recipe.code(result, cut, edits, address),
            self.downloads.files: hidden(),
        }

    # ---- chains of events ----------------------------------------------------------------------

    def show_result(self, event: Any) -> Any:
        """Paint the frame and describe the cut after an event; return the last event."""
        return self.viewer_events.paint_after(event.success).then(**self.describing)

    def show_attention(self, event: Listener) -> None:
        """Show everything about the clicked patches after an event."""
        AttentionEvents(self).show_after(event)
