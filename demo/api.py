"""The HTTP API: /segment, /cut, /attend and /export, for gradio_client and scripts."""

from __future__ import annotations

from typing import Any

import gradio as gr
import numpy as np

from bavos_core import InputError
from bavos_core.export import OPACITY
from bavos_core.settings import SOURCES, Sources

from . import pictures, words
from .handlers import politely
from .jobs import Jobs


class Api:
    """One method per endpoint. Numbers arrive as floats."""

    def __init__(self, jobs: Jobs):
        self.jobs = jobs

    @politely
    def segment(self, clip: str, backbone: str, frames: float) -> tuple[dict[str, Any], str]:
        """Find the objects of a clip. Returns a summary with the result's id, and the overlay."""
        result, overlay = self.jobs.segment(clip, backbone, int(frames), lambda *_: None)
        return words.as_json(result), str(overlay)

    @politely
    def cut(self, result: str, clusters: float, frame: float) -> tuple[dict[str, Any], np.ndarray]:
        """Cut the hierarchy into a number of clusters. Returns them and one painted frame."""
        found, segmentation = self.jobs.cut(result, int(clusters))
        picture = self.jobs.frame(result, int(frame), int(clusters), False, OPACITY)
        numbers = {
            "tau": segmentation.tau,
            "clusters": segmentation.clusters,
            "background": segmentation.background.tolist(),
            "leaves": found.analysis.tree.leaves,
        }
        return numbers, picture

    @politely
    def attend(
        self, result: str, frame: float, y: float, x: float, head: float, source: str
    ) -> tuple[dict[str, Any], np.ndarray, str]:
        """Where the patch at pixel (y, x) attends: the row, the frame's heatmap and a video.

        head -1 is the mean of all heads.
        """
        query = (int(frame), y, x)
        found, row = self.jobs.attention(
            result, query, int(head) if head >= 0 else None, checked_source(source)
        )
        picture = pictures.heat_frame(found.analysis, row, int(frame), query)
        return {"row": row.tolist()}, picture, str(self.jobs.heat_video(found, row, query))

    @politely
    def export(self, result: str, clusters: float) -> list[str]:
        """All files: overlay, masks, RLE, labels, hierarchy and summary."""
        return [str(path) for path in self.jobs.files(result, int(clusters), None, lambda *_: None)]


def checked_source(name: str) -> Sources:
    """Raises InputError for a source that does not exist."""
    for source in SOURCES:
        if name == source:
            return source
    raise InputError(f"Unknown source {name!r}; choose {', '.join(SOURCES)}.")


def add_api(jobs: Jobs, device: dict[str, Any]) -> None:
    """Register the endpoints. Their components exist to carry names and types; none is shown."""
    api = Api(jobs)
    with gr.Row(visible=False):
        result = gr.Textbox(label="result")
        clip, backbone = gr.File(label="clip"), gr.Textbox("builtin", label="backbone")
        frames, clusters = gr.Number(24, label="frames"), gr.Number(8, label="clusters")
        frame, head = gr.Number(0, label="frame"), gr.Number(-1, label="head")
        y, x = gr.Number(0, label="y"), gr.Number(0, label="x")
        source = gr.Textbox("keys", label="source")
        numbers, picture = gr.JSON(label="numbers"), gr.Image(format="png", label="picture")
        video, files = gr.Video(label="video"), gr.File(file_count="multiple", label="files")
        gr.Button().click(
            api.segment, [clip, backbone, frames], [numbers, video], api_name="segment", **device
        )
        gr.Button().click(api.cut, [result, clusters, frame], [numbers, picture], api_name="cut")
        gr.Button().click(
            api.attend,
            [result, frame, y, x, head, source],
            [numbers, picture, video],
            api_name="attend",
        )
        gr.Button().click(api.export, [result, clusters], files, api_name="export", **device)
