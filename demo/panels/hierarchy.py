"""The tree of clusters, the patches of its branches, and its levels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import gradio as gr

from bavos_core import render

from .. import strings
from .events import PRIVATE, QUICK, Values, politely, script, shown

if TYPE_CHECKING:
    from ..page import Page


@dataclass(frozen=True)
class Hierarchy:
    """The components of the panel."""

    tree: gr.HTML
    node_tiles: gr.Gallery
    play: gr.Button
    levels: gr.Video

    @classmethod
    def lay_out(cls) -> Hierarchy:
        """Create the tree, the clicked branch over time, and the levels."""
        gr.Markdown(strings.TREE, elem_classes="small")
        tree = gr.HTML(elem_id="tree", js_on_load=script("tree.js"))
        node_tiles = gr.Gallery(
            columns=6, height="auto", object_fit="contain", interactive=False, visible=False,
            allow_preview=False, show_label=False, label="The branch over time", buttons=[],
            format="jpeg", elem_id="node-tiles",
        )  # fmt: skip
        play = gr.Button("Play the levels", elem_id="play")
        levels = gr.Video(
            label=strings.LEVELS, visible=False, autoplay=True, loop=True, interactive=False,
            buttons=["download"], elem_id="levels",
        )  # fmt: skip
        return cls(tree, node_tiles, play, levels)


@dataclass(frozen=True)
class HierarchyEvents:
    """Events of the tree; its dashed line and the granularity slider set the same value."""

    page: Page

    def connect(self) -> None:
        """Register the listeners."""
        v, h = self.page.viewer, self.page.hierarchy
        moved = h.tree.input(self.cut_at, {v.key}, [v.clusters], **QUICK)
        self.page.show_result(moved).then(**self.page.viewer_events.video_painting)
        h.tree.select(self.show_node, {v.key}, [h.node_tiles], **QUICK)
        h.play.click(self.play_levels, {v.key, v.position}, [h.levels], **PRIVATE)

    @politely
    def cut_at(self, values: Values, event: gr.EventData) -> Values:
        """Set the number of clusters at the τ that the dashed line was dragged to."""
        v = self.page.viewer
        tree = self.page.service.store.get(values[v.key]).analysis.tree
        clusters = tree.clusters_at(float(event._data["tau"]))
        return {v.clusters: max(1, min(clusters, render.MAX_PARTS))}

    @politely
    def show_node(self, values: Values, event: gr.EventData) -> Values:
        """Show the patches of the clicked branch in every analysed frame."""
        key, node = values[self.page.viewer.key], int(event._data["node"])
        return {self.page.hierarchy.node_tiles: shown(self.page.service.node(key, node))}

    @politely
    def play_levels(self, values: Values) -> Values:
        """Show the levels of the hierarchy on the current frame (paper, Fig. 5)."""
        v, service = self.page.viewer, self.page.service
        result = service.store.get(values[v.key])
        video = service.files.levels(result, int(values[v.position]))
        return {self.page.hierarchy.levels: shown(video)}
