"""The HTTP API: /segment, /cancel, /cut, /attend and /export, for gradio_client and scripts."""

from __future__ import annotations

from typing import Any

import gradio as gr

from bavos_core import Edit, InputError
from bavos_core.settings import GRID_PATCHES, SOURCES, AttentionSource

from . import images, strings
from .edits import Edits
from .handlers import politely
from .images import HeatLook, ObjectsLook
from .jobs import Jobs
from .presets import Preset

MOST_EDITS = 256  # a split takes a tenth of a second


class Api:
    """One method per endpoint. Numbers arrive as floats."""

    def __init__(self, jobs: Jobs):
        self.jobs = jobs

    @politely
    def segment(
        self, clip: str, backbone: str, frames: float, patches: float, request: gr.Request
    ) -> tuple[dict[str, Any], str]:
        """Find the objects of a clip, without labels or prompts.

        Args:
            clip: a video, a picture or a zip of frames
            backbone: auto, bundled-vits14 (tuned on saliency labels), dino-vits8 or another name
            frames: how many frames are analysed, spread evenly over the clip
            patches: about how many patches a frame is divided into

        Returns:
            a summary with the id of the result, and the clip with its objects coloured
        """
        with self.jobs.cancellable(str(request.session_hash)) as stop:
            chosen, report = Preset(int(frames), int(patches)), stop.raising(lambda *_: None)
            result, overlay = self.jobs.segment(clip, backbone, chosen, report)
        return strings.as_json(result), str(overlay)

    def cancel(self, request: gr.Request) -> None:
        """Stop what segment does for this client, which then ends with a notice."""
        self.jobs.cancel(str(request.session_hash))

    @politely
    def cut(
        self, result: str, clusters: float, frame: float, edits: list[dict[str, Any]]
    ) -> tuple[dict[str, Any], str]:
        """Cut the hierarchy of a result into a number of clusters, and edit them.

        Args:
            result: the id that segment gave
            clusters: how many clusters there shall be
            frame: position among the analysed frames, from 0
            edits: names, roles, merges and splits, each as bavos_core.Edit.to_dict gives it

        Returns:
            the clusters in numbers, and that frame with its objects coloured
        """
        made = checked_edits(edits)
        found, segmentation = self.jobs.cut(result, int(clusters), made)
        picture = self.jobs.frame(result, int(frame), int(clusters), ObjectsLook(edits=made))
        numbers = strings.cut_as_json(found, segmentation)
        return numbers, str(self.jobs.picture_file(found, picture))

    @politely
    def attend(
        self, result: str, frame: float, y: float, x: float, head: float, source: str
    ) -> tuple[dict[str, Any], str, str]:
        """Where the patch at a pixel attends, over space and time.

        Args:
            result: the id that segment gave
            frame: position of the patch's frame among the analysed frames, from 0
            y: pixels from the top of the frame
            x: pixels from its left
            head: one head, or -1 for the mean of all
            source: framewise, cross-frame, untrained, learned (with a trained block) or keys

        Returns:
            the row of attention (frames, rows, columns), the frame's heatmap and a video of all
        """
        query = (int(frame), y, x)
        look = HeatLook(checked_source(source), int(head) if head >= 0 else None)
        found, rows = self.jobs.attention(result, [query], look)
        picture = images.heat_frame(found.analysis, rows, int(frame), [query], look)
        video = self.jobs.heat_video(found, rows[0], query)
        return {"row": rows[0].tolist()}, str(self.jobs.picture_file(found, picture)), str(video)

    @politely
    def export(self, result: str, clusters: float, edits: list[dict[str, Any]]) -> list[str]:
        """All files of a result: overlay, masks, run-length codes, labels, hierarchy and summary.

        Args:
            result: the id that segment gave
            clusters: how many clusters there shall be
            edits: names, roles, merges and splits, each as bavos_core.Edit.to_dict gives it

        Returns:
            one zip of everything, then each file
        """
        paths = self.jobs.files(result, int(clusters), checked_edits(edits), lambda *_: None)
        return [str(path) for path in paths]


def checked_source(name: str) -> AttentionSource:
    """Raises InputError for a source that does not exist."""
    for source in SOURCES:
        if name == source:
            return source
    raise InputError(f"Unknown source {name!r}; choose {', '.join(SOURCES)}.")


def checked_edits(values: object) -> Edits:
    """Raises InputError for what is no list of edits."""
    if not isinstance(values, list):
        raise InputError(f"Edits are a list; got {values!r:.100}.")
    if len(values) > MOST_EDITS:
        raise InputError(f"There are {len(values)} edits; give at most {MOST_EDITS}.")
    return Edits(tuple(map(Edit.from_dict, values)))


def add_api(jobs: Jobs, device: dict[str, Any]) -> None:
    """Register the endpoints. Their components exist to carry names and types; none is shown."""
    api = Api(jobs)
    with gr.Row(visible=False):
        result = gr.Textbox(label="result")
        clip, backbone = gr.File(label="clip"), gr.Textbox("auto", label="backbone")
        frames, clusters = gr.Number(24, label="frames"), gr.Number(8, label="clusters")
        patches = gr.Number(GRID_PATCHES, label="patches")
        frame, head = gr.Number(0, label="frame"), gr.Number(-1, label="head")
        y, x = gr.Number(0, label="y"), gr.Number(0, label="x")
        source, edits = gr.Textbox("key-similarity", label="source"), gr.JSON([], label="edits")
        numbers, picture = gr.JSON(label="numbers"), gr.Image(format="png", label="picture")
        video, files = gr.Video(label="video"), gr.File(file_count="multiple", label="files")
        gr.Button().click(
            api.segment,
            [clip, backbone, frames, patches],
            [numbers, video],
            api_name="segment",
            **device,
        )
        gr.Button().click(api.cancel, api_name="cancel")
        gr.Button().click(
            api.cut, [result, clusters, frame, edits], [numbers, picture], api_name="cut"
        )
        gr.Button().click(
            api.attend,
            [result, frame, y, x, head, source],
            [numbers, picture, video],
            api_name="attend",
        )
        gr.Button().click(api.export, [result, clusters, edits], files, api_name="export", **device)
