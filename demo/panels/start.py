"""Upload, examples and settings; the videos; starting and cancelling a run."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from bavos_core import backbones, open_clip
from bavos_io.clip import IMAGE_SUFFIXES, VIDEO_SUFFIXES, Clip
from bavos_io.decoding import VideoClip

from .. import strings
from ..clips import Clips, Part
from ..examples import EXAMPLES, example_path
from ..presets import PRESETS, usual_preset
from ..service import Service
from .events import DEVICE, IN_ORDER, PRIVATE, QUICK, Values, politely

if TYPE_CHECKING:
    from ..page import Page

FILE_TYPES = [*VIDEO_SUFFIXES, *IMAGE_SUFFIXES, ".zip"]


@dataclass(frozen=True)
class Inputs:
    """The left column."""

    clip: gr.File
    about: gr.Markdown
    start: gr.Slider
    end: gr.Slider  # 0 stands for the end of the clip
    gallery: gr.Gallery
    backbone: gr.Dropdown

    @classmethod
    def lay_out(cls, service: Service) -> Inputs:
        """Create upload, examples and settings."""
        settings = service.settings
        clip = gr.File(label="Your clip", file_types=FILE_TYPES, height=150, elem_id="clip")
        about = gr.Markdown(strings.limits(settings), elem_classes="small")
        hidden: dict[str, Any] = {"step": 0.1, "visible": False}
        start = gr.Slider(0, 0.1, 0, label=strings.PART_START, elem_id="part-start", **hidden)
        end = gr.Slider(0, 0.1, 0, label=strings.PART_END, elem_id="part-end", **hidden)
        gallery = gr.Gallery(
            gallery_pictures(), label="Or try an example", columns=2, height="auto",
            allow_preview=False, interactive=False, buttons=[], object_fit="cover",
            elem_id="examples",
        )  # fmt: skip
        with gr.Accordion("Settings", open=False):
            backbone = gr.Dropdown(
                strings.backbone_choices(),
                value=backbones.canonical(settings.backbone),
                label="Backbone",
                info=strings.BACKBONE,
            )
        return cls(clip, about, start, end, gallery, backbone)

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
        start, end = values[self.start], values[self.end]
        return start, end if end and end < clips.open(values[self.clip]).end else None


@dataclass(frozen=True)
class Run:
    """The videos, the quality, the buttons, and the notice about the result."""

    original: gr.Video
    overlay: gr.Video
    preset: gr.Radio
    run: gr.Button
    cancel: gr.Button
    notice: gr.Markdown

    @classmethod
    def lay_out(cls, service: Service) -> Run:
        """Create original and overlay side by side, and quality and buttons below."""
        look: dict[str, Any] = {"height": 300, "loop": True, "interactive": False}
        with gr.Row():
            original = gr.Video(label="Original", buttons=[], elem_id="original", **look)
            overlay = gr.Video(label="Objects", buttons=["download"], elem_id="overlay", **look)
        with gr.Row():
            preset = gr.Radio(
                strings.presets(service.pace, service.settings),
                value=usual_preset(),
                label=strings.PRESET,
                info=strings.PRESET_INFO,
                elem_id="preset",
                scale=5,
            )
            with gr.Column(scale=1, min_width=120):
                run = gr.Button("Segment", variant="primary", elem_id="segment")
                cancel = gr.Button("Cancel", elem_id="cancel")
        notice = gr.Markdown(strings.START, elem_id="notice")
        return cls(original, overlay, preset, run, cancel, notice)


@dataclass(frozen=True)
class StartEvents:
    """Events from the choice of a clip to its result."""

    page: Page

    def connect(self) -> None:
        """Register the listeners."""
        inputs, run = self.page.inputs, self.page.run
        inputs.clip.change(
            self.show_clip,
            inputs.clip,
            [run.original, inputs.about, inputs.start, inputs.end],
            show_progress_on=run.original,
            **PRIVATE,
        )
        changed = [inputs.clip.upload, inputs.clip.clear]
        gr.on(changed, self.new_clip, inputs.clip, self._clip_outputs, **QUICK)
        segment: dict[str, Any] = {
            "fn": self.segment,
            "inputs": {inputs.clip, inputs.backbone, inputs.start, inputs.end, run.preset},
            "outputs": self.page.result_outputs,
            "show_progress_on": run.overlay,
            **PRIVATE,
            **DEVICE,
        }
        chosen = [inputs.clip, inputs.start, inputs.end, run.overlay]
        example = inputs.gallery.select(self.take_example, None, chosen, **IN_ORDER)
        again = {**segment, "trigger_mode": "multiple"}  # for the example that was clicked last
        runs = [run.run.click(**segment), example.success(**again)]
        for done in runs:
            fresh = done.success(
                self.page.reset, self.page.viewer.key, self.page.reset_outputs, **QUICK
            )
            painted = self.page.show_result(fresh)
            painted.then(self.qualities, None, run.preset, **QUICK)
            self.page.show_attention(painted.success)
        run.cancel.click(self.cancel, None, None, cancels=runs, **QUICK)

    def connect_load(self, blocks: gr.Blocks) -> None:
        """Register what happens when the page is opened."""
        inputs = self.page.inputs
        outputs = [inputs.clip, inputs.backbone, self.page.run.preset]
        blocks.load(self.from_address, None, outputs, **QUICK)

    @politely
    def show_clip(self, path: str | None) -> Values:
        """Show the original video and a sentence about the clip."""
        inputs, run, service = self.page.inputs, self.page.run, self.page.service
        if not path:
            about = strings.limits(service.settings)
            return {run.original: None, inputs.about: about, **inputs.whole()}
        video, clip = service.files.preview(path)
        about = strings.about(clip, service.settings)
        return {run.original: video, inputs.about: about, **inputs.whole(clip)}

    @property
    def _clip_outputs(self) -> list[Any]:
        inputs, run = self.page.inputs, self.page.run
        return [run.overlay, self.page.results, run.notice, inputs.start, inputs.end]

    def new_clip(self, path: str | None) -> Values:
        """Hide the result of the previous clip and say what to do with the new one."""
        return {
            self.page.run.overlay: None,
            self.page.results: gr.Column(visible=False),
            self.page.run.notice: strings.READY if path else strings.START,
            **self.page.inputs.whole(),
        }

    def take_example(self, event: gr.SelectData, request: gr.Request) -> Values:
        """Take the example that was clicked, and cancel the current run."""
        self.page.service.runs.cancel(str(request.session_hash))
        inputs, clip = self.page.inputs, example_path(examples()[event.index]["name"])
        return {inputs.clip: str(clip), self.page.run.overlay: None, **inputs.whole()}

    def from_address(self, request: gr.Request) -> Values:
        """Take clip, backbone and quality from the address of the page."""
        service, asked = self.page.service, dict(request.query_params)
        known = backbones.canonical(asked.get("backbone", "")) in backbones.names()
        backbone = asked["backbone"] if known else service.settings.backbone
        preset = asked["preset"] if asked.get("preset") in PRESETS else usual_preset()
        qualities = strings.presets(service.pace, service.settings)
        values: Values = {
            self.page.inputs.backbone: backbones.canonical(backbone),
            self.page.run.preset: gr.Radio(qualities, value=preset),
        }
        # Without an example the clip is left alone: one may have been uploaded by now.
        if asked.get("example") in [example["name"] for example in examples()]:
            values[self.page.inputs.clip] = str(example_path(asked["example"]))
        return values

    @politely
    def segment(self, values: Values, request: gr.Request, progress: Any = gr.Progress()) -> Values:
        """Segment the clip and show the result."""
        inputs, service = self.page.inputs, self.page.service
        with service.runs.cancellable(str(request.session_hash)) as stop:
            result, overlay = service.segment(
                values[inputs.clip],
                values[inputs.backbone],
                PRESETS[values[self.page.run.preset]],
                stop.raising(progress),
                part=inputs.part(values, service.clips),
            )
        return self.page.show(result, overlay)

    def cancel(self, request: gr.Request) -> None:
        """Cancel the run of this session; Gradio removes runs that are still in the queue."""
        if self.page.service.runs.cancel(str(request.session_hash)):
            gr.Info(strings.CANCELLED, duration=5, title="Stopped")

    def leave(self, request: gr.Request) -> None:
        """Cancel the run and delete the results of a visitor who closed the page."""
        self.page.service.leave(str(request.session_hash))

    def qualities(self) -> Any:
        """Return the presets with the seconds expected after the last run."""
        return gr.Radio(strings.presets(self.page.service.pace, self.page.service.settings))


def examples() -> list[dict[str, Any]]:
    """Return name, title, size and frames of every example."""
    listed: list[dict[str, Any]] = json.loads(
        (EXAMPLES / "examples.json").read_text(encoding="utf-8")
    )
    return listed


def gallery_pictures() -> list[tuple[np.ndarray, str]]:
    """Return a frame (H, W, 3) uint8 and the title of every example."""
    pictures = []
    for example in examples():
        clip = open_clip(Path(example_path(example["name"])))
        frame = next(iter(clip.read([len(clip.times) // 3])))
        pictures.append((frame, str(example["title"])))
    return pictures
