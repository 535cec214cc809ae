"""Training the correlator on the clip: steps, losses, attention during training; before, after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr
import pandas as pd

from bavos_core import Analysis, Cancelled, InputError
from bavos_lab.training import Step

from .. import images, strings
from ..checks import one_of, whole
from ..images import Query
from ..runs import Kind, StopFlag
from ..settings import DemoSettings
from ..store import GONE, Result
from .downloads import key_of
from .events import LATEST, PRIVATE, QUICK, Values, hidden, politely, shown
from .viewer import WITH_STATE

if TYPE_CHECKING:
    from ..page import Page

LOOK_EVERY = 5  # steps between updates of losses and attention


@dataclass(frozen=True)
class Adapting:
    """The components of the panel."""

    status: gr.HTML
    steps: gr.Slider
    run: gr.Button
    stop: gr.Button
    which: gr.Radio
    seen: gr.Image
    losses: gr.LinePlot

    @classmethod
    def lay_out(cls, settings: DemoSettings) -> Adapting:
        """Create steps and buttons, and attention and losses below."""
        status = gr.HTML(strings.ADAPT, elem_id="adapt-status")
        with gr.Row(equal_height=True):
            steps = gr.Slider(
                1, settings.max_steps, value=min(100, settings.max_steps), step=1,
                label=strings.STEPS, elem_id="steps",
            )  # fmt: skip
            run = gr.Button("Adapt to this clip", variant="primary", elem_id="adapt")
            stop = gr.Button("Stop", elem_id="stop", interactive=False, min_width=80)
        which = gr.Radio(
            list(strings.VERSIONS.items()), value="after", label=strings.VERSIONS_LABEL,
            visible=False, elem_id="versions",
        )  # fmt: skip
        with gr.Row():
            seen = gr.Image(
                label=strings.ADAPTING_SEEN, visible=False, interactive=False, format="jpeg",
                buttons=[], elem_id="seen",
            )  # fmt: skip
            losses = gr.LinePlot(
                x="step", y="value", color="loss", title="Losses", height=260, visible=False,
                elem_id="losses",
            )  # fmt: skip
        return cls(status, steps, run, stop, which, seen, losses)

    @property
    def result_outputs(self) -> list[Any]:
        """The components that `show` fills."""
        return [self.status, self.which, self.seen, self.losses]

    def show(self, result: Result) -> Values:
        """Return the values for a new result."""
        return {
            self.status: strings.ADAPT,
            self.which: gr.Radio(value="after", visible=result.before is not None),
            self.seen: hidden(),
            self.losses: hidden(),
        }


@dataclass(frozen=True)
class AdaptingEvents:
    """Events of the panel."""

    page: Page

    def connect(self) -> None:
        """Register the listeners."""
        v, b = self.page.viewer, self.page.adapting
        ready = [b.run, b.stop]
        started = b.run.click(lambda: _buttons(busy=True), None, ready, **QUICK)
        done = started.then(
            self.adapt,
            [v.state, b.steps],
            self.page.result_outputs,
            js=WITH_STATE,
            show_progress="hidden",
            **PRIVATE,
        )
        done.then(lambda: _buttons(busy=False), None, ready, **QUICK)
        b.stop.click(self.stop, None, None, **QUICK)
        switched = [v.view, v.notice, b.status]
        b.which.input(self.switch, [v.state, b.which], switched, js=WITH_STATE, **QUICK, **LATEST)

    @politely
    def adapt(self, state: object, steps: float) -> Iterator[Values]:
        """Show losses and attention during training; at the end, the clip segmented again."""
        with self.page.service.jobs.flag(Kind.ADAPTING) as stop:
            try:
                yield from self._adapted(state, steps, stop)
            except Cancelled:
                yield {self.page.adapting.status: strings.ADAPT}

    def _adapted(self, state: object, steps: float, stop: StopFlag) -> Iterator[Values]:
        service = self.page.service
        wanted = whole(steps, strings.STEPS, 1, service.settings.max_steps)
        result = service.result(key_of(state))
        point = centre(result.analysis)
        losses: list[tuple[int, float, str]] = []
        seen = None
        with (
            service.store.room(result),  # its clip is needed after the training
            service.jobs.place() as place,
        ):
            for before in service.jobs.lane.wait(place):
                yield {self.page.adapting.status: strings.waiting(before)}
                stop.check()
            with service.jobs.flag(Kind.TRAINING) as enough:
                for step in service.adapt(result.id, wanted, enough, stop):
                    losses += losses_of(step)
                    if step.step % LOOK_EVERY == 0 or step.step in (1, step.steps):
                        seen = images.learned_frame(result.analysis, step.correlator, point)
                        yield self._progress(strings.learning(step), losses, seen)
            yield self._progress(strings.clustering(step), losses, seen)
            adapted = service.adapted(result.id, step.correlator, stop)
        filled = self._progress(strings.learned(step), losses, seen)
        yield {**self.page.show(adapted, keep=True), **filled}

    def _progress(self, status: str, losses: list[tuple[int, float, str]], seen: object) -> Values:
        b = self.page.adapting
        chart = pd.DataFrame(losses, columns=["step", "value", "loss"])
        return {b.status: status, b.losses: shown(chart), b.seen: shown(seen)}

    def stop(self) -> None:
        """End the training after its current step; cancel what comes before and after it."""
        jobs = self.page.service.jobs
        _ = jobs.cancel(Kind.TRAINING) or jobs.cancel(Kind.ADAPTING)

    @politely
    def switch(self, state: object, which: str) -> Values:
        """Show the result as it was before it was adapted, or after."""
        b, service = self.page.adapting, self.page.service
        said = strings.VERSION_SHOWN[one_of(which, "The version", strings.VERSION_SHOWN)]
        versions = versions_of(state)
        with service.jobs.briefly():
            result = service.store.visit(versions[which == "after"])
            seen = self.page.viewer.show(result, keep=True, versions=versions)
            return {**seen, b.status: said}


def _buttons(*, busy: bool) -> tuple[Any, Any]:
    """Return updates of the buttons that start and stop."""
    return gr.update(interactive=not busy), gr.update(interactive=busy)


def versions_of(state: object) -> tuple[str, str]:
    """Return the ids of a result before and after it was adapted; raise InputError for none."""
    found = state.get("versions") if isinstance(state, Mapping) else None
    if not isinstance(found, list) or list(map(type, found)) != [str, str]:
        raise InputError(GONE)
    return found[0], found[1]


def centre(analysis: Analysis) -> Query:
    """Return the centre of the middle frame: the point whose attention is shown."""
    height, width = analysis.size
    return (len(analysis.frames) - 1) // 2, height / 2, width / 2


def losses_of(step: Step) -> list[tuple[int, float, str]]:
    """Return the points of a step in the chart of losses."""
    return [(step.step, step.semantic, "semantic"), (step.step, step.motion, "motion")]
