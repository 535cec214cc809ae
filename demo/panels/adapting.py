"""Training the correlator on the clip: steps, losses, attention during training, and undo."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr
import pandas as pd

from bavos_core import Analysis
from bavos_lab.training import Step

from .. import images, strings
from ..images import Query
from ..settings import DemoSettings
from ..store import Result
from .events import DEVICE, PRIVATE, QUICK, Values, politely, shown

if TYPE_CHECKING:
    from ..page import Page

LOOK_EVERY = 5  # steps between updates of losses and attention


@dataclass(frozen=True)
class Adapting:
    """The components of the panel."""

    status: gr.Markdown
    steps: gr.Slider
    run: gr.Button
    stop: gr.Button
    undo: gr.Button
    seen: gr.Image
    losses: gr.LinePlot

    @classmethod
    def lay_out(cls, settings: DemoSettings) -> Adapting:
        """Create steps and buttons, and attention and losses below."""
        status = gr.Markdown(strings.ADAPT, elem_id="adapt-status")
        steps = gr.Slider(
            1, settings.max_steps, value=min(100, settings.max_steps), step=1,
            label=strings.STEPS, elem_id="steps",
        )  # fmt: skip
        with gr.Row():
            run = gr.Button("Adapt to this clip", variant="primary", elem_id="adapt")
            stop = gr.Button("Stop", elem_id="stop", min_width=80)
            undo = gr.Button("Undo", interactive=False, elem_id="undo", min_width=80)
        seen = gr.Image(
            label=strings.ADAPTING_SEEN, visible=False, interactive=False, format="jpeg",
            buttons=[], elem_id="seen",
        )  # fmt: skip
        losses = gr.LinePlot(
            x="step", y="value", color="loss", title="Losses", height=260, visible=False,
            elem_id="losses",
        )  # fmt: skip
        return cls(status, steps, run, stop, undo, seen, losses)

    @property
    def result_outputs(self) -> list[Any]:
        """The components that `show` fills."""
        return [self.undo]

    def show(self, result: Result) -> Values:
        """Return the values for a new result."""
        return {self.undo: gr.Button(interactive=result.before is not None)}


@dataclass(frozen=True)
class AdaptingEvents:
    """Events of the panel."""

    page: Page

    def connect(self) -> None:
        """Register the listeners."""
        v, b, shown_anew = self.page.viewer, self.page.adapting, self.page.result_outputs
        learned = b.run.click(
            self.adapt,
            {v.key, v.queries, v.position, b.steps},
            [b.status, b.losses, b.seen, *shown_anew],
            show_progress="hidden",
            **PRIVATE,
            **DEVICE,
        )
        b.stop.click(self.stop, v.key, None, **QUICK)
        undone = b.undo.click(self.undo, v.key, shown_anew, **PRIVATE, **DEVICE)
        for event in (learned, undone):
            self.page.show_attention(self.page.show_result(event).success)

    @politely
    def adapt(self, values: Values) -> Iterator[Values]:
        """Show losses and attention during training; at the end, the clip segmented again."""
        v, b, service = self.page.viewer, self.page.adapting, self.page.service
        key, queries = values[v.key], values[v.queries]
        result = service.store.get(key)
        point = queries[-1] if queries else centre(result.analysis, int(values[v.position]))
        losses: list[tuple[int, float, str]] = []
        seen = None
        with service.store.room(result):  # its clip is needed after the training
            for step in service.adapt(key, int(values[b.steps])):
                losses += losses_of(step)
                if step.step % LOOK_EVERY == 0 or step.step in (1, step.steps):
                    seen = images.learned_frame(result.analysis, step.correlator, point)
                    yield self._progress(strings.learning(step), losses, seen)
            yield self._progress(strings.clustering(step), losses, seen)
            adapted, overlay = service.adapted(key, step.correlator)
        yield {b.status: strings.learned(step), **self.page.show(adapted, overlay)}

    def _progress(self, status: str, losses: list[tuple[int, float, str]], seen: object) -> Values:
        b = self.page.adapting
        chart = pd.DataFrame(losses, columns=["step", "value", "loss"])
        return {b.status: status, b.losses: shown(chart), b.seen: shown(seen)}

    def stop(self, key: str) -> None:
        """End the training after its current step."""
        if key:
            self.page.service.stop(key)

    @politely
    def undo(self, key: str) -> Values:
        """Show the result as it was before it was adapted."""
        return self.page.show(*self.page.service.undo(key))


def centre(analysis: Analysis, position: int) -> Query:
    """Return the centre of a frame: the point whose attention is shown if none was clicked."""
    height, width = analysis.size
    return position, height / 2, width / 2


def losses_of(step: Step) -> list[tuple[int, float, str]]:
    """Return the points of a step in the chart of losses."""
    return [(step.step, step.semantic, "semantic"), (step.step, step.motion, "motion")]
