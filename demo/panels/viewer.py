"""The large frame: time, granularity, and how objects are painted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from bavos_core import Segmentation, render
from bavos_core.export import OPACITY

from .. import strings
from ..edits import Edits
from ..images import ObjectsLook, marked
from ..store import Result
from .events import DEVICE, LATEST, PRIVATE, QUICK, Components, Listener, Values, politely

if TYPE_CHECKING:
    from ..page import Page


@dataclass(frozen=True)
class Viewer:
    """The components of the viewer, and the state of what it shows."""

    key: gr.State  # id of the result in the store
    edits: gr.State  # edits.Edits
    queries: gr.State  # tuple of images.Query: the clicked points
    position: gr.Slider
    frame: gr.Image
    compared: gr.ImageSlider
    clusters: gr.Slider
    view: gr.Radio
    style: gr.Radio
    background: gr.Checkbox
    opacity: gr.Slider

    @classmethod
    def lay_out(cls) -> Viewer:
        """Create time, frame, granularity and the look of objects, from top to bottom."""
        look: dict[str, Any] = {"interactive": False, "format": "jpeg"}
        position = gr.Slider(0, 1, value=0, step=1, label=strings.TIME, elem_id="position")
        frame = gr.Image(
            label="Objects: click a patch", buttons=["fullscreen"], elem_id="frame", **look
        )
        compared = gr.ImageSlider(
            label="Original and objects", visible=False, buttons=[], elem_id="compare-frame", **look
        )
        clusters = gr.Slider(1, 2, value=1, step=1, label=strings.GRANULARITY, elem_id="clusters")
        view = gr.Radio(list(strings.VIEW.items()), value="objects", label="Show", elem_id="view")
        styles = list(strings.STYLES.items())
        style = gr.Radio(styles, value="both", label=strings.STYLE, elem_id="style")
        with gr.Row():
            background = gr.Checkbox(False, label=strings.BACKGROUND, elem_id="background")
            opacity = gr.Slider(0, 1, value=OPACITY, step=0.05, label="Opacity", elem_id="opacity")
        return cls(
            key=gr.State(""),
            edits=gr.State(Edits()),
            queries=gr.State(()),
            position=position,
            frame=frame,
            compared=compared,
            clusters=clusters,
            view=view,
            style=style,
            background=background,
            opacity=opacity,
        )

    @property
    def cut_inputs(self) -> Components:
        """Inputs of a handler that needs the cut."""
        return {self.key, self.clusters, self.edits}

    @property
    def look_inputs(self) -> Components:
        """Inputs of `look`, and of the cut that is painted."""
        return {*self.cut_inputs, self.background, self.opacity, self.style}

    def look(self, values: Values) -> ObjectsLook:
        """Return how objects are painted."""
        return ObjectsLook(
            background=values[self.background],
            opacity=values[self.opacity],
            style=values[self.style],
            edits=values[self.edits],
        )

    @property
    def result_outputs(self) -> list[Any]:
        """The components that `show` fills."""
        return [self.key, self.edits, self.position, self.clusters]

    def show(self, result: Result, cut: Segmentation) -> Values:
        """Return the values for a new result."""
        last = len(result.analysis.frames) - 1
        parts = max(min(result.analysis.tree.leaves, render.MAX_PARTS), cut.clusters, 2)
        return {
            self.key: result.id,
            self.edits: Edits(),
            self.position: gr.Slider(
                minimum=0, maximum=max(last, 1), value=last // 2, interactive=last > 0
            ),
            self.clusters: gr.Slider(minimum=1, maximum=parts, value=cut.clusters),
        }


@dataclass(frozen=True)
class ViewerEvents:
    """Events of the viewer: sliders repaint the frame at once, the video when they are released."""

    page: Page

    def connect(self) -> None:
        """Register the listeners."""
        v = self.page.viewer
        looks = [v.position.input, v.clusters.input, v.view.input, v.opacity.input]
        looks += [v.background.input, v.style.input, v.edits.change]
        gr.on(looks, **self.painting, **LATEST)
        gr.on([v.clusters.input, v.edits.change], **self.page.describing, **LATEST)
        released = [v.clusters.release, v.opacity.release]
        released += [v.background.input, v.style.input, v.edits.change]
        gr.on(released, **self.video_painting, **LATEST)

    @property
    def painting(self) -> dict[str, Any]:
        """The listener that paints the frame."""
        v = self.page.viewer
        return {
            "fn": self.paint,
            "inputs": {*v.look_inputs, v.position, v.view, v.queries},
            "outputs": [v.frame, v.compared],
            **QUICK,
        }

    @property
    def video_painting(self) -> dict[str, Any]:
        """The listener that paints the overlay video."""
        return {
            "fn": self.repaint_video,
            "inputs": self.page.viewer.look_inputs,
            "outputs": [self.page.run.overlay],
            **PRIVATE,
            **DEVICE,
        }

    def paint_after(self, event: Listener) -> Any:
        """Paint the frame after an event; return the new event."""
        return event(**self.painting)

    @politely
    def paint(self, values: Values) -> Values:
        """Paint the frame as requested, in the large picture or in the one that compares."""
        v, service = self.page.viewer, self.page.service
        key, position, view = values[v.key], int(values[v.position]), values[v.view]
        if not key:
            return {v.frame: None, v.compared: None}
        original = painted = service.original(key, position)
        if view != "original":
            painted = service.frame(key, position, int(values[v.clusters]), v.look(values))
        # As updates, not components, which would write the pictures to files twice.
        if view == "compare":
            both = gr.update(value=(original, painted), visible=True)
            return {v.frame: gr.update(visible=False), v.compared: both}
        shrunk = len(painted) / service.store.get(key).analysis.size[0]
        painted = marked(painted, position, values[v.queries], shrunk=shrunk)
        return {
            v.frame: gr.update(value=painted, visible=True),
            v.compared: gr.update(visible=False),
        }

    @politely
    def repaint_video(self, values: Values) -> Values:
        """Paint the overlay video at another granularity, with other edits, or in another look."""
        v, service = self.page.viewer, self.page.service
        look = v.look(values)
        result, cut = service.cut(values[v.key], int(values[v.clusters]), look.edits)
        return {self.page.run.overlay: service.files.overlay(result, cut, look=look)}
