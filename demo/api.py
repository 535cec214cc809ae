"""The HTTP API and MCP tools: /segment, /cancel, /cut, /attend, /export and /html."""

from __future__ import annotations

from typing import Any

import gradio as gr

from bavos_core import InputError
from bavos_core.compat import current_source
from bavos_core.settings import GRID_PATCHES, SOURCES, AttentionSource
from bavos_io.errors import echo

from . import images
from .answers import as_json, attention_as_json, cut_as_json
from .checks import number, text, whole
from .clips import MOST_SECONDS, Part
from .edits import MOST_CLUSTERS, checked_edits
from .images import Query
from .panels.events import politely
from .presets import Preset
from .runs import Kind
from .service import Service
from .settings import DemoSettings
from .store import Result
from .turns import unheard

MOST_HEADS = 999  # that a head can be asked for; a source says how many it has


class Api:
    """One method per endpoint. Values arrive as JSON has them, so each is checked."""

    def __init__(self, service: Service):
        self.service = service

    @politely
    def segment(
        self,
        clip: str,
        backbone: str,
        frames: float,
        patches: float,
        start: float,
        end: float,
    ) -> tuple[dict[str, Any], str]:
        """Segment and track the objects in a clip, without labels or prompts.

        Example: segment(clip="dog.mp4", backbone="auto", frames=12, patches=648) takes seconds on
        a CPU. The returned id opens the result on the page as well: /?result=ID

        Args:
            clip: a video (mp4, mov, webm, mkv, gif, avi), a picture or a zip of frames
            backbone: auto, bundled-vits14 (tuned on saliency labels), dino-vits8 or another name
            frames: how many frames to analyse, evenly spaced over the clip, for example 24
            patches: approximate number of patches per frame, for example 1152
            start: second of a video at which to begin
            end: second at which to end, or 0 for the end of the video

        Returns:
            a summary with the id of the result, and the clip with its objects coloured
        """
        preset = checked_preset(frames, patches, self.service.settings)
        part, network = checked_part(start, end), text(backbone, "backbone")
        with self.service.jobs.cancellable(Kind.SEGMENTING) as stop:
            result, overlay = self.service.painted(
                clip, network, preset, stop.raising(unheard), part=part
            )
        return as_json(result), str(overlay)

    def cancel(self) -> None:
        """Cancel what is being done for this client; those calls then fail with "Cancelled."."""
        self.service.jobs.cancel()

    @politely
    def cut(
        self, result: str, n_clusters: float, sample_index: float, edits: list[dict[str, Any]]
    ) -> tuple[dict[str, Any], str]:
        """Cut the hierarchy of a result into a number of clusters, and apply edits.

        Example: cut(result=ID, n_clusters=8, sample_index=0, edits=[{"action": "merge",
        "cluster": 1, "value": 4}]) merges cluster 1 into 4. Other actions are "name" (value: the
        name), "role" (value: "object" or "background") and "split" (at: the number of clusters).

        Args:
            result: the id returned by segment
            n_clusters: number of clusters
            sample_index: index of an analysed frame, from 0
            edits: in order, each {"action", "cluster", "value", "at"} as of bavos_core.Edit.to_dict

        Returns:
            a description of the clusters, and that frame with its objects coloured
        """
        made, clusters = checked_edits(edits), checked_clusters(n_clusters)
        key = text(result, "result")
        with self.service.jobs.briefly():
            found, cut = self.service.cut(key, clusters, made)
            picture = self.service.frame(key, checked_sample(sample_index, found), clusters, made)
            return cut_as_json(found, cut), str(self.service.files.picture(found, picture))

    @politely
    def attend(
        self,
        result: str,
        sample_index: float,
        y: float,
        x: float,
        head: float,
        source: str,
        rows: bool,
    ) -> tuple[dict[str, Any], str, str]:
        """Return where the patch at a pixel attends, over space and time.

        Example: attend(result=ID, sample_index=0, y=120, x=200, head=-1, source="cross-frame").

        Args:
            result: the id returned by segment
            sample_index: index of the analysed frame that holds the patch, from 0
            y: pixels from the top of the frame
            x: pixels from the left of the frame
            head: one head, or -1 for the mean of all
            source: framewise, cross-frame, untrained, correlator (if trained) or key-similarity
            rows: also return the whole row of attention (frames, rows, columns), which is long

        Returns:
            the places that get most and the share of each analysed frame, the frame's heatmap and a
            heatmap video
        """
        query = checked_query(self.service.result(text(result, "result")), sample_index, y, x)
        one, asked = checked_head(head), checked_source(source)
        with self.service.jobs.briefly():
            found, row = self.service.attention(result, query, asked, one)
            heat = images.heat_frame(found.analysis, row, query)
            picture = self.service.files.picture(found, heat)
            video = self.service.files.heatmap(found, row, query)
            numbers = attention_as_json(found, row, rows=rows is True)
            return numbers, str(picture), str(video)

    @politely
    def export(self, result: str, n_clusters: float, edits: list[dict[str, Any]]) -> list[str]:
        """Write all files of a result: overlay, masks, RLE, labels, hierarchy and summary.

        Example: export(result=ID, n_clusters=8, edits=[{"action": "role", "cluster": 2,
        "value": "background"}]) leaves the object of cluster 2 out.

        Args:
            result: the id returned by segment
            n_clusters: number of clusters
            edits: in order, each {"action", "cluster", "value", "at"} as of bavos_core.Edit.to_dict

        Returns:
            one zip of everything, then each file
        """
        made, clusters = checked_edits(edits), checked_clusters(n_clusters)
        with self.service.jobs.cancellable(Kind.FILES) as stop:
            report = stop.raising(unheard)
            paths = self.service.downloads(text(result, "result"), clusters, made, report)
        return [str(path) for path in paths]

    @politely
    def html(self, result: str, n_clusters: float, edits: list[dict[str, Any]]) -> str:
        """Write a result as one HTML file: an interactive viewer that works without a network.

        Example: html(result=ID, n_clusters=8, edits=[]).

        Args:
            result: the id returned by segment
            n_clusters: number of clusters that it shows first
            edits: in order, each {"action", "cluster", "value", "at"} as of bavos_core.Edit.to_dict

        Returns:
            the HTML file, at most 8 MB
        """
        made = [edit.to_dict() for edit in checked_edits(edits)]
        state = {"n": checked_clusters(n_clusters), "edits": made}
        with self.service.jobs.cancellable(Kind.FILES) as stop:
            return str(self.service.html(text(result, "result"), state, stop.raising(unheard)))


def checked_preset(frames: object, patches: object, settings: DemoSettings) -> Preset:
    """Return the size of a run that is asked for."""
    most = settings.max_patches
    return Preset(whole(frames, "frames", 1, 10**6), whole(patches, "patches", 1, most))


def checked_part(start: object, end: object) -> Part:
    """Return the part of a clip that is asked for; end 0: the end of the clip."""
    begin = number(start, "start", 0, MOST_SECONDS)
    return begin, number(end, "end", 0, MOST_SECONDS) or None


def checked_clusters(value: object) -> int:
    """Return a number of clusters; a cut has at most as many as there are leaves."""
    return whole(value, "n_clusters", 1, MOST_CLUSTERS)


def checked_sample(value: object, result: Result) -> int:
    """Return the index of an analysed frame."""
    return whole(value, "sample_index", 0, len(result.analysis.frames) - 1)


def checked_query(result: Result, sample_index: object, y: object, x: object) -> Query:
    """Return a place in an analysed frame, in pixels."""
    height, width = result.analysis.size
    sample = checked_sample(sample_index, result)
    return sample, number(y, "y", 0, height), number(x, "x", 0, width)


def checked_head(value: object) -> int | None:
    """Return a head, or None for the mean of all, which -1 stands for."""
    head = whole(value, "head", -1, MOST_HEADS)
    return None if head < 0 else head


def checked_source(name: object) -> AttentionSource:
    """Return a source by its name, or by its name in version 0.1; raise InputError for others."""
    wanted = current_source(name) if isinstance(name, str) else ""
    for source in SOURCES:
        if wanted == source:
            return source
    raise InputError(f"source is {echo(name)}; choose {', '.join(SOURCES)}.")


def add_api(service: Service) -> None:
    """Register the endpoints; their hidden components define names and types of parameters."""
    api = Api(service)
    with gr.Row(visible=False):
        result = gr.Textbox(label="result")
        clip, backbone = gr.File(label="clip"), gr.Textbox("auto", label="backbone")
        frames, n_clusters = gr.Number(24, label="frames"), gr.Number(8, label="n_clusters")
        patches = gr.Number(GRID_PATCHES, label="patches")
        start, end = gr.Number(0, label="start"), gr.Number(0, label="end")
        sample_index, head = gr.Number(0, label="sample_index"), gr.Number(-1, label="head")
        y, x = gr.Number(0, label="y"), gr.Number(0, label="x")
        source, edits = gr.Textbox("key-similarity", label="source"), gr.JSON([], label="edits")
        numbers, picture = gr.JSON(label="numbers"), gr.Image(format="png", label="picture")
        video, files = gr.Video(label="video"), gr.File(file_count="multiple", label="files")
        segment_inputs = [clip, backbone, frames, patches, start, end]
        gr.Button().click(api.segment, segment_inputs, [numbers, video], api_name="segment")
        gr.Button().click(api.cancel, api_name="cancel")
        cut_inputs = [result, n_clusters, sample_index, edits]
        gr.Button().click(api.cut, cut_inputs, [numbers, picture], api_name="cut")
        attend_inputs = [result, sample_index, y, x, head, source, gr.Checkbox(label="rows")]
        gr.Button().click(api.attend, attend_inputs, [numbers, picture, video], api_name="attend")
        export_inputs = [result, n_clusters, edits]
        gr.Button().click(api.export, export_inputs, files, api_name="export")
        gr.Button().click(api.html, export_inputs, gr.File(label="html"), api_name="html")
