"""The head of the page: upload, examples, quality and settings; starting and cancelling a run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from bavos_core import InputError, backbones
from bavos_io.clip import IMAGE_SUFFIXES, VIDEO_SUFFIXES, Clip
from bavos_io.decoding import VideoClip

from .. import strings
from ..checks import number, one_of, text
from ..clips import MOST_SECONDS, Clips, Part
from ..examples import ARRIVES, example_path, listed, thumbnail
from ..presets import PRESETS, Preset, usual_preset
from ..runs import Kind
from ..service import Service
from .events import EVERY, LATEST, PRIVATE, QUICK, Values, politely, script, text_of

if TYPE_CHECKING:
    from ..page import Page

FILE_TYPES = [*VIDEO_SUFFIXES, *IMAGE_SUFFIXES, ".zip"]


@dataclass(frozen=True)
class Start:
    """The components of the head."""

    clip: gr.File
    examples: gr.HTML
    preset: gr.Radio
    run: gr.Button
    cancel: gr.Button
    start: gr.Slider
    end: gr.Slider  # 0 stands for the end of the clip
    backbone: gr.Dropdown

    @classmethod
    def lay_out(cls, service: Service) -> Start:
        """Create name, upload, examples, quality and buttons from left to right."""
        settings = service.settings
        with gr.Row(elem_id="head", equal_height=False):
            gr.HTML(strings.HEADER, elem_id="title", padding=False, min_width=260)
            with gr.Column(min_width=180, elem_id="upload"):
                clip = gr.File(label="Your clip", file_types=FILE_TYPES, height=92, elem_id="clip")
            examples = gr.HTML(
                strip(), elem_id="examples", js_on_load=script("strip.js"), padding=False
            )
            with gr.Column(min_width=300, elem_id="choices"):
                preset = gr.Radio(
                    strings.presets(settings),
                    value=usual_preset(),
                    label=strings.PRESET,
                    elem_id="preset",
                )
                with gr.Row(elem_id="buttons"):
                    run = gr.Button(
                        "Segment", variant="primary", elem_id="segment", interactive=False,
                        min_width=90, size="sm",
                    )  # fmt: skip
                    cancel = gr.Button(
                        "Cancel", elem_id="cancel", interactive=False, min_width=70, size="sm"
                    )
                    with gr.Accordion("Settings", open=False, elem_id="settings"):
                        start, end, backbone = _lay_out_settings(service)
        return cls(clip, examples, preset, run, cancel, start, end, backbone)

    def whole(self, clip: Clip | None = None) -> Values:
        """Return values that choose a whole clip; the sliders are hidden unless it is a video."""
        if not isinstance(clip, VideoClip):
            return {
                self.start: gr.Slider(value=0, visible=False),
                self.end: gr.Slider(value=0, visible=False),
            }
        last = math.ceil(10 * clip.end) / 10
        return {
            self.start: gr.Slider(maximum=last, value=0, visible=True),
            self.end: gr.Slider(maximum=last, value=last, visible=True),
        }

    def part(self, values: Values, clips: Clips) -> Part:
        """Return the part of the clip that is chosen."""
        start = number(values[self.start], strings.PART_START, 0, MOST_SECONDS)
        end = number(values[self.end], strings.PART_END, 0, MOST_SECONDS)
        return start, end if end and end < clips.open(values[self.clip]).end else None

    def network(self, values: Values) -> str:
        """Return the backbone that is chosen."""
        return text(values[self.backbone], "The backbone")

    def quality(self, values: Values) -> Preset:
        """Return the frames and patches that are chosen."""
        return PRESETS[one_of(values[self.preset], "The quality", PRESETS)]


def _lay_out_settings(service: Service) -> tuple[gr.Slider, gr.Slider, gr.Dropdown]:
    gr.Markdown(strings.limits(service.settings), elem_classes="small")
    hidden: dict[str, Any] = {"step": 0.1, "visible": False}
    # On the page they end with the clip. Gradio may have forgotten that; what is behind its end is
    # found out when it is opened.
    most = service.settings.max_seconds + 1
    start = gr.Slider(0, most, 0, label=strings.PART_START, elem_id="part-start", **hidden)
    end = gr.Slider(0, most, 0, label=strings.PART_END, elem_id="part-end", **hidden)
    backbone = gr.Dropdown(
        strings.backbone_choices(),
        value=backbones.canonical(service.settings.backbone),
        label="Backbone",
        info=strings.BACKBONE,
        elem_id="backbone",
    )
    return start, end, backbone


def strip() -> str:
    """Return the examples as buttons in HTML."""
    buttons = (
        f'<button type="button" data-example="{escape(example["name"])}">'
        f'<img src="{thumbnail(example["name"])}" alt="" width="96" height="54">'
        f"<span>{escape(example['title'])}</span></button>"
        for example in listed()
    )
    return (
        f'<div role="group" aria-label="Examples" data-arrives="{ARRIVES}">{"".join(buttons)}</div>'
    )


@dataclass(frozen=True)
class StartEvents:
    """Events from the choice of a clip to its result."""

    page: Page

    def connect(self) -> None:
        """Register the listeners."""
        s, v = self.page.start, self.page.viewer
        about = [v.notice, s.run, s.start, s.end]
        gr.on(
            [s.clip.upload, s.clip.clear], self.chosen, s.clip, [v.notice, s.run], **QUICK, **LATEST
        )
        again = [s.clip.upload, s.clip.clear, s.preset.input, s.backbone.input]
        gr.on(again, self.describe, {s.clip, s.preset, s.backbone}, about, **QUICK, **LATEST)
        taken = s.examples.select(
            self.take_example, None, [s.clip, s.start, s.end], **QUICK, **EVERY
        )
        ready = [s.run, s.cancel]
        segment: dict[str, Any] = {
            "fn": self.segment,
            "inputs": {s.clip, s.backbone, s.start, s.end, s.preset},
            "outputs": self.page.result_outputs,
            "show_progress_on": v.view,
            **PRIVATE,
            **EVERY,
        }
        begun = [
            s.run.click(lambda: _buttons(busy=True), None, ready, **QUICK),
            taken.success(lambda: _buttons(busy=True), None, ready, **QUICK),
        ]
        # An example that is clicked while another one runs replaces it.
        runs = [event.then(**segment) for event in begun]
        for done in runs:
            done.then(lambda clip: _buttons(busy=False, clip=clip), s.clip, ready, **QUICK)
        s.cancel.click(self.cancel, s.clip, ready, cancels=runs, **QUICK)

    def connect_load(self, blocks: gr.Blocks) -> None:
        """Register what happens when the page is opened and closed."""
        s = self.page.start
        blocks.load(self.from_address, None, [s.backbone, s.preset], **QUICK)
        blocks.unload(self.leave)

    def chosen(self, path: str | None) -> Values:
        """Say what to do with the clip that was chosen."""
        said = strings.READY if path else strings.START
        return {
            self.page.viewer.notice: said,
            self.page.start.run: gr.Button(interactive=bool(path)),
        }

    @politely
    def describe(self, values: Values) -> Values:
        """Say how long the clip is and how long a run with it takes."""
        s, service = self.page.start, self.page.service
        path = values[s.clip]
        if not path:
            return s.whole()
        with service.jobs.briefly():
            clip = service.clips.open(path)
            preset = s.quality(values).within(service.settings)
            seconds = service.expected(path, s.network(values), preset)
            said = strings.about(clip, seconds, service.settings.run_seconds)
            return {self.page.viewer.notice: said, **s.whole(clip)}

    @politely
    def take_example(self, event: gr.EventData) -> Values:
        """Take the example that was clicked, and cancel the current run."""
        name = text_of(event._data, "name")
        if name not in [example["name"] for example in listed()]:
            raise InputError(strings.NO_SUCH_EXAMPLE)
        self.page.service.jobs.cancel(Kind.SEGMENTING)
        return {self.page.start.clip: str(example_path(name)), **self.page.start.whole()}

    def from_address(self, request: gr.Request) -> Values:
        """Take backbone and quality from the address of the page."""
        asked = dict(request.query_params)
        known = backbones.canonical(asked.get("backbone", "")) in backbones.names()
        backbone = asked["backbone"] if known else self.page.service.settings.backbone
        preset = asked["preset"] if asked.get("preset") in PRESETS else usual_preset()
        s = self.page.start
        return {s.backbone: backbones.canonical(backbone), s.preset: preset}

    @politely
    def segment(self, values: Values, progress: Any = gr.Progress()) -> Values:
        """Segment the clip and show the result."""
        s, service = self.page.start, self.page.service
        with service.jobs.cancellable(Kind.SEGMENTING) as stop:
            result = service.segment(
                values[s.clip],
                s.network(values),
                s.quality(values).within(service.settings),
                stop.raising(progress),
                part=s.part(values, service.clips),
            )
        return self.page.show(result)

    def cancel(self, clip: str | None) -> Values:
        """Cancel the run of this session, also while it waits."""
        self.page.service.jobs.cancel(Kind.SEGMENTING)
        run, cancel = _buttons(busy=False, clip=clip)
        return {self.page.start.run: run, self.page.start.cancel: cancel}

    def leave(self, request: gr.Request) -> None:
        """Cancel the run and let go of the results of a visitor who closed the page."""
        self.page.service.leave(str(request.session_hash))


def _buttons(*, busy: bool, clip: str | None = "") -> tuple[Any, Any]:
    """Return updates of Segment and Cancel, which are enabled when they do something."""
    return gr.update(interactive=not busy and bool(clip)), gr.update(interactive=busy)
