"""Layout of the page and its events. Handlers translate between Gradio and `jobs.Jobs`."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import gradio as gr
import numpy as np
from bavos_core import InputError, backbones, drawing, open_clip
from bavos_core.settings import FRAMES_ON_CPU, SOURCES, Sources
from bavos_core.video import IMAGE_SUFFIXES, VIDEO_SUFFIXES

from . import words
from .jobs import Jobs
from .settings import DemoSettings
from .store import Result

Parameters = ParamSpec("Parameters")
Return = TypeVar("Return")

EXAMPLES = Path(__file__).parent.parent / "assets" / "examples"
CSS = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
FILE_TYPES = [*VIDEO_SUFFIXES, *IMAGE_SUFFIXES, ".zip"]


def politely(handler: Callable[Parameters, Return]) -> Callable[Parameters, Return]:
    """Show bad input as a notice with its one sentence, instead of an error."""

    @wraps(handler)
    def guarded(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Return:
        try:
            return handler(*args, **kwargs)
        except InputError as error:
            raise gr.Error(str(error), duration=None, print_exception=False) from error

    return guarded


def launch() -> None:
    """Build the page and serve it until it is stopped."""
    settings = DemoSettings.from_environment()
    jobs = Jobs(settings)
    try:
        build(jobs).launch(**launch_options(settings))
    finally:
        jobs.store.close()


def launch_options(settings: DemoSettings) -> dict[str, Any]:
    """What `Blocks.launch` needs."""
    return {
        "theme": gr.themes.Soft(primary_hue="teal", neutral_hue="slate"),
        "css": CSS,
        "max_file_size": f"{settings.max_upload_mib}mb",
        "allowed_paths": [str(EXAMPLES)],
        "show_error": False,
        "footer_links": ["api", "settings"],
    }


def build(jobs: Jobs) -> gr.Blocks:
    """The whole page."""
    settings = jobs.settings
    examples = json.loads((EXAMPLES / "examples.json").read_text(encoding="utf-8"))
    with gr.Blocks(
        title="Bavos", delete_cache=(600, settings.keep_seconds), analytics_enabled=False
    ) as page:
        key = gr.State("")
        query = gr.State(None)  # (position, y, x) of the clicked point
        gr.HTML(words.HEADER, padding=False)
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                clip = gr.File(label="Your clip", file_types=FILE_TYPES, height=150)
                about = gr.Markdown(words.limits(settings), elem_classes="small")
                gallery = gr.Gallery(
                    [(_first_frame(e["name"]), e["title"]) for e in examples],
                    label="Or try an example", columns=2, height=290, allow_preview=False,
                    interactive=False, buttons=[], object_fit="cover", elem_id="examples",
                )  # fmt: skip
                with gr.Accordion("Settings", open=False):
                    backbone = gr.Dropdown(
                        list(backbones.names()), value=settings.backbone, label="Backbone",
                        info=words.BACKBONE, allow_custom_value=False,
                    )  # fmt: skip
                    frames = gr.Slider(
                        1, settings.max_frames, value=FRAMES_ON_CPU, step=1,
                        label="Frames to analyse", info=words.FRAMES,
                    )  # fmt: skip
                run = gr.Button("Segment", variant="primary", size="lg", elem_id="segment")
            with gr.Column(scale=3):
                with gr.Row():
                    original = gr.Video(label="Original", height=300, buttons=[], loop=True,
                                        interactive=False)  # fmt: skip
                    overlay = gr.Video(label="Objects", height=300, buttons=["download"],
                                       loop=True, interactive=False, elem_id="overlay")  # fmt: skip
                notice = gr.Markdown(words.START, elem_id="notice")
        with gr.Column(visible=False) as results:
            with gr.Row():
                position = gr.Slider(0, 1, value=0, step=1, label="Time (analysed frame)")
                clusters = gr.Slider(1, 2, value=1, step=1, label="Granularity (clusters)",
                                     elem_id="clusters")  # fmt: skip
            with gr.Row():
                with gr.Column():
                    frame = gr.Image(label="Click a patch", interactive=False, format="jpeg",
                                     buttons=["fullscreen"], elem_id="frame")  # fmt: skip
                    with gr.Row():
                        background = gr.Checkbox(False, label="Colour the background too")
                        opacity = gr.Slider(0, 1, value=0.55, step=0.05, label="Opacity")
                with gr.Column():
                    heat = gr.Image(label="Where that patch attends, in this frame",
                                    interactive=False, format="jpeg", buttons=["download"],
                                    elem_id="heat")  # fmt: skip
                    with gr.Row():
                        source = gr.Radio([], label="Source of attention", info=words.SOURCE)
                        head = gr.Dropdown([], label="Head")
            with gr.Row():
                with gr.Column():
                    objects = gr.HTML(label="Objects", elem_id="objects")
                    tree = gr.HTML(label="Hierarchy", elem_id="tree")
                with gr.Column():
                    heat_video = gr.Video(label="Where it attends, in all analysed frames",
                                          buttons=["download"], loop=True, autoplay=True,
                                          interactive=False, elem_id="heat-video")  # fmt: skip
                    caption = gr.Markdown(words.CLICK, elem_classes="small")
            with gr.Row():
                prepare = gr.Button("Prepare downloads", elem_id="prepare")
            downloads = gr.File(label="Downloads", file_count="multiple", interactive=False,
                                visible=False, elem_id="downloads")  # fmt: skip
        gr.Markdown(words.FOOTER, elem_classes="small")

        # ---- events ----------------------------------------------------------------------------

        @politely
        def show_clip(path: str | None) -> tuple[Any, ...]:
            if not path:
                return None, None, words.limits(settings)
            video, sentence = jobs.preview(path)
            return video, None, f"{sentence}. {words.sampling(jobs.open(path), settings)}"

        @politely
        def take_example(event: gr.SelectData) -> str:
            return str(EXAMPLES / f"{examples[event.index]['name']}.mp4")

        @politely
        def segment(
            path: str | None, name: str, wanted: int, progress: Any = gr.Progress()  # noqa: B008
        ) -> tuple[Any, ...]:
            result, video = jobs.segment(path, name, int(wanted), progress)
            cut = result.analysis.segment()
            last, leaves = len(result.analysis.frames) - 1, result.analysis.tree.leaves
            sources = [(words.SOURCES[s], s) for s in result.analysis.sources()]
            return (
                result.id, None, video, words.report(result),
                gr.Column(visible=True),
                gr.Slider(minimum=0, maximum=max(last, 1), value=last // 2, interactive=last > 0),
                gr.Slider(minimum=1, maximum=max(leaves, 2), value=cut.clusters),
                gr.Radio(sources, value=result.analysis.source),
                heads_of(result, result.analysis.source),
                None, None, words.CLICK, gr.File(visible=False, value=None),
            )  # fmt: skip

        @politely
        def paint(
            result_id: str, at: int, count: int, everything: bool, strength: float
        ) -> np.ndarray | None:
            if not result_id:
                return None
            return jobs.frame(result_id, int(at), int(count), everything, strength)

        @politely
        def describe(result_id: str, count: int) -> tuple[str | None, str | None]:
            if not result_id:
                return None, None
            result, cut = jobs.cut(result_id, int(count))
            svg = drawing.hierarchy_svg(result.analysis.tree, cut.tau, cut.background)
            return words.legend(cut), svg

        @politely
        def repaint_video(result_id: str, count: int, everything: bool) -> Path:
            result, cut = jobs.cut(result_id, int(count))
            return jobs.overlay(result, cut, background=everything)

        @politely
        def click(at: int, event: gr.SelectData) -> tuple[int, float, float]:
            x, y = event.index
            return int(at), y + 0.5, x + 0.5

        @politely
        def attend(
            result_id: str, spot: tuple[int, float, float] | None, at: int,
            from_source: Sources, one_head: int,
        ) -> np.ndarray | None:  # fmt: skip
            if not (result_id and spot):
                return None
            result, row = jobs.attention(
                result_id, spot[0], tuple(spot[1:]), chosen(one_head), from_source
            )
            return jobs.heat_frame(result.analysis, row, int(at), tuple(spot))

        @politely
        def attend_over_time(
            result_id: str, spot: tuple[int, float, float] | None,
            from_source: Sources, one_head: int,
        ) -> tuple[Path | None, str]:  # fmt: skip
            if not (result_id and spot):
                return None, words.CLICK
            result, row = jobs.attention(
                result_id, spot[0], tuple(spot[1:]), chosen(one_head), from_source
            )
            return jobs.heat_video(result, row, tuple(spot)), words.attention(row, spot[0])

        @politely
        def list_heads(result_id: str, from_source: Sources) -> Any:
            return heads_of(jobs.store.get(result_id), from_source)

        @politely
        def make_files(
            result_id: str, count: int, video: str | None,
            progress: Any = gr.Progress(),  # noqa: B008
        ) -> Any:  # fmt: skip
            paths = jobs.files(result_id, int(count), video, progress)
            return gr.File(value=[str(p) for p in paths], visible=True)

        def chosen(one_head: int) -> int | None:
            return None if one_head < 0 else one_head

        device = {"concurrency_id": "device", "concurrency_limit": 1}
        quick: dict[str, Any] = {
            "show_progress": "hidden", "api_visibility": "private", "concurrency_limit": 4,
        }  # fmt: skip
        view = [key, position, clusters, background, opacity]
        where = [key, query, source, head]
        clip.change(show_clip, clip, [original, overlay, about], api_visibility="private")
        gallery.select(take_example, None, clip, **quick)
        run.click(
            segment, [clip, backbone, frames],
            [key, query, overlay, notice, results, position, clusters, source, head, heat,
             heat_video, caption, downloads],
            show_progress_on=overlay, api_visibility="private", **device,
        ).success(paint, view, frame, **quick).then(
            describe, [key, clusters], [objects, tree], **quick
        )  # fmt: skip
        for control in (position, clusters, opacity):
            control.input(paint, view, frame, trigger_mode="always_last", **quick)
        clusters.input(
            describe, [key, clusters], [objects, tree], trigger_mode="always_last", **quick
        )
        background.input(paint, view, frame, **quick)
        shown = [key, clusters, background]
        clusters.release(repaint_video, shown, overlay, api_visibility="private", **device)
        background.input(repaint_video, shown, overlay, api_visibility="private", **device)
        source.input(list_heads, [key, source], head, **quick)
        frame.select(click, position, query, **quick)
        gr.on(
            [query.change, source.input, head.input, position.input],
            attend, [key, query, position, source, head], heat,
            trigger_mode="always_last", **quick,
        )  # fmt: skip
        gr.on(
            [query.change, source.input, head.input],
            attend_over_time, where, [heat_video, caption],
            trigger_mode="always_last", api_visibility="private", concurrency_limit=1,
        )  # fmt: skip
        prepare.click(
            make_files, [key, clusters, heat_video], downloads, api_visibility="private", **device
        )
        add_api(jobs, device)
    page.queue(max_size=settings.queue_size)
    return page


def heads_of(result: Result, source: Sources) -> Any:
    """The head menu of a source."""
    count = result.analysis.heads(source)
    choices = [("Mean of all", -1), *((f"Head {i}", i) for i in range(count))]
    return gr.Dropdown(choices, value=-1, interactive=count > 1)


def add_api(jobs: Jobs, device: dict[str, Any]) -> None:
    """The HTTP API: /segment, /attend, /cut and /export, for gradio_client and scripts."""

    @politely
    def api_segment(clip: str, backbone: str, frames: float) -> tuple[dict[str, Any], str]:
        """Find the objects of a clip. Returns its result id with a summary, and the overlay."""
        result, overlay = jobs.segment(clip, backbone, int(frames), lambda *_: None)
        return words.as_json(result), str(overlay)

    @politely
    def api_cut(result: str, clusters: float, frame: float) -> tuple[dict[str, Any], np.ndarray]:
        """Cut the hierarchy into a number of clusters. Returns them and one painted frame."""
        found, cut = jobs.cut(result, int(clusters))
        check_frame(found, int(frame))
        picture = jobs.frame(result, int(frame), int(clusters), False, 0.55)
        numbers = {
            "tau": cut.tau,
            "clusters": cut.clusters,
            "background": cut.background.tolist(),
            "leaves": found.analysis.tree.leaves,
        }
        return numbers, picture

    @politely
    def api_attend(
        result: str, frame: float, y: float, x: float, head: float, source: str
    ) -> tuple[dict[str, Any], np.ndarray, str]:
        """Where a patch attends. Returns the row (T, h, w), the frame's heatmap and a video."""
        one_head = None if head < 0 else int(head)
        if source not in SOURCES:
            raise InputError(f"Unknown source {source!r}; choose {', '.join(SOURCES)}.")
        found, row = jobs.attention(result, int(frame), (y, x), one_head, source)
        query = (int(frame), y, x)
        picture = jobs.heat_frame(found.analysis, row, int(frame), query)
        return {"row": row.tolist()}, picture, str(jobs.heat_video(found, row, query))

    @politely
    def api_export(result: str, clusters: float) -> list[str]:
        """All files: overlay, masks, RLE, labels, hierarchy and summary."""
        return [str(path) for path in jobs.files(result, int(clusters), None, lambda *_: None)]

    with gr.Row(visible=False):
        result = gr.Textbox(label="result")
        clip, backbone = gr.File(label="clip"), gr.Textbox("builtin", label="backbone")
        frames, clusters = gr.Number(24, label="frames"), gr.Number(8, label="clusters")
        frame, head = gr.Number(0, label="frame"), gr.Number(-1, label="head")
        y, x = gr.Number(0, label="y"), gr.Number(0, label="x")
        source = gr.Textbox("keys", label="source")
        numbers, picture = gr.JSON(), gr.Image(format="png")
        video, files = gr.Video(), gr.File(file_count="multiple")
        gr.Button().click(
            api_segment, [clip, backbone, frames], [numbers, video], api_name="segment", **device
        )
        gr.Button().click(
            api_cut, [result, clusters, frame], [numbers, picture], api_name="cut"
        )
        gr.Button().click(
            api_attend, [result, frame, y, x, head, source], [numbers, picture, video],
            api_name="attend",
        )  # fmt: skip
        gr.Button().click(api_export, [result, clusters], files, api_name="export", **device)


def check_frame(result: Result, frame: int) -> None:
    """Raises InputError when there is no such analysed frame."""
    last = len(result.analysis.frames) - 1
    if not 0 <= frame <= last:
        raise InputError(f"There is no analysed frame {frame}; give 0 to {last}.")


def _first_frame(name: str) -> np.ndarray:
    """A picture of an example clip."""
    clip = open_clip(EXAMPLES / f"{name}.mp4")
    return next(iter(clip.read([len(clip.times) // 3])))
