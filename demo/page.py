"""Layout of the page, and which event calls which handler."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from bavos_core import backbones
from bavos_core.export import OPACITY
from bavos_core.settings import FRAMES_ON_CPU
from bavos_core.video import IMAGE_SUFFIXES, VIDEO_SUFFIXES

from . import words
from .api import add_api
from .handlers import EXAMPLES, Handlers
from .jobs import Jobs
from .settings import DemoSettings

CSS = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
FILE_TYPES = [*VIDEO_SUFFIXES, *IMAGE_SUFFIXES, ".zip"]

# Costly work goes one at a time through one lane; quick answers pass beside it.
DEVICE: dict[str, Any] = {"concurrency_id": "device", "concurrency_limit": 1}
PRIVATE: dict[str, Any] = {"api_visibility": "private"}
QUICK: dict[str, Any] = {**PRIVATE, "show_progress": "hidden", "concurrency_limit": 4}
LATEST: dict[str, Any] = {"trigger_mode": "always_last"}  # drop what a moving slider outran


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
        "footer_links": ["api", "settings"],
    }


def build(jobs: Jobs) -> gr.Blocks:
    """The whole page."""
    handlers = Handlers(jobs)
    with gr.Blocks(
        title="Bavos",
        delete_cache=(600, jobs.settings.keep_seconds),
        analytics_enabled=False,
    ) as page:
        gr.HTML(words.HEADER, padding=False)
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                inputs = lay_out_inputs(handlers, jobs.settings)
            with gr.Column(scale=3):
                videos = lay_out_videos()
        with gr.Column(visible=False) as results:
            views = lay_out_results()
            adapting = lay_out_adapting(jobs.settings)
        gr.Markdown(words.FOOTER, elem_classes="small")
        add_api(jobs, DEVICE)  # first: the names of its endpoints must not be taken
        connect(handlers, inputs, videos, views, adapting, results)
    page.queue(max_size=jobs.settings.queue_size)
    return page


@dataclass(frozen=True)
class Inputs:
    """The left column."""

    clip: gr.File
    about: gr.Markdown
    gallery: gr.Gallery
    backbone: gr.Dropdown
    frames: gr.Slider
    run: gr.Button


@dataclass(frozen=True)
class Videos:
    """The original beside the overlay."""

    original: gr.Video
    overlay: gr.Video
    notice: gr.Markdown


@dataclass(frozen=True)
class Views:
    """What is shown of a result."""

    key: gr.State  # id of the result in the store
    query: gr.State  # handlers.Query, or None
    position: gr.Slider
    clusters: gr.Slider
    frame: gr.Image
    background: gr.Checkbox
    opacity: gr.Slider
    heat: gr.Image
    source: gr.Radio
    head: gr.Dropdown
    heat_video: gr.Video
    caption: gr.Markdown
    objects: gr.HTML
    tree: gr.HTML
    prepare: gr.Button
    downloads: gr.File
    compare: gr.Radio
    tiles: gr.Gallery


@dataclass(frozen=True)
class Adapting:
    """Learning on the clip."""

    steps: gr.Slider
    run: gr.Button
    stop: gr.Button
    undo: gr.Button
    status: gr.Markdown
    losses: gr.LinePlot
    seen: gr.Image


def lay_out_inputs(handlers: Handlers, settings: DemoSettings) -> Inputs:
    """Upload, examples, settings and the button."""
    clip = gr.File(label="Your clip", file_types=FILE_TYPES, height=150, elem_id="clip")
    about = gr.Markdown(words.limits(settings), elem_classes="small")
    gallery = gr.Gallery(
        handlers.gallery(),
        label="Or try an example",
        columns=2,
        height=290,
        allow_preview=False,
        interactive=False,
        buttons=[],
        object_fit="cover",
        elem_id="examples",
    )
    with gr.Accordion("Settings", open=False):
        backbone = gr.Dropdown(
            list(backbones.names()), value=settings.backbone, label="Backbone", info=words.BACKBONE
        )
        frames = gr.Slider(
            1,
            settings.max_frames,
            value=min(FRAMES_ON_CPU, settings.max_frames),
            step=1,
            label="Frames to analyse",
            info=words.FRAMES,
        )
    run = gr.Button("Segment", variant="primary", size="lg", elem_id="segment")
    return Inputs(clip, about, gallery, backbone, frames, run)


def lay_out_videos() -> Videos:
    """Original and overlay side by side."""
    look: dict[str, Any] = {"height": 300, "loop": True, "interactive": False}
    with gr.Row():
        original = gr.Video(label="Original", buttons=[], elem_id="original", **look)
        overlay = gr.Video(label="Objects", buttons=["download"], elem_id="overlay", **look)
    return Videos(original, overlay, gr.Markdown(words.START, elem_id="notice"))


def lay_out_results() -> Views:
    """Frame and heatmap, hierarchy and heatmap video, downloads."""
    key, query = gr.State(""), gr.State(None)
    with gr.Row():
        position = gr.Slider(0, 1, value=0, step=1, label=words.TIME, elem_id="position")
        clusters = gr.Slider(1, 2, value=1, step=1, label=words.GRANULARITY, elem_id="clusters")
    with gr.Row():
        with gr.Column():
            frame = gr.Image(
                label="Objects: click a patch",
                interactive=False,
                format="jpeg",
                buttons=["fullscreen"],
                elem_id="frame",
            )
            with gr.Row():
                background = gr.Checkbox(False, label=words.BACKGROUND, elem_id="background")
                opacity = gr.Slider(0, 1, value=OPACITY, step=0.05, label="Opacity")
        with gr.Column():
            heat = gr.Image(
                label="Where that patch attends, in this frame",
                interactive=False,
                format="jpeg",
                buttons=["download", "fullscreen"],
                elem_id="heat",
            )
            with gr.Row():
                source = gr.Radio([], label=words.SOURCE_LABEL, info=words.SOURCE, elem_id="source")
                # Its choices change: a question asked just before may hold one that is gone.
                head = gr.Dropdown([], label="Head", allow_custom_value=True, elem_id="head")
    with gr.Row():
        with gr.Column():
            objects = gr.HTML(elem_id="objects")
            tree = gr.HTML(elem_id="tree")
        with gr.Column():
            heat_video = gr.Video(
                label="Where it attends, in all analysed frames",
                buttons=["download"],
                loop=True,
                autoplay=True,
                interactive=False,
                elem_id="heat-video",
            )
            caption = gr.Markdown(words.CLICK, elem_classes="small")
    compare = gr.Radio(
        list(words.COMPARE.items()), value="time", label="Side by side", elem_id="compare"
    )
    tiles = gr.Gallery(
        columns=6, height="auto", object_fit="contain", interactive=False, show_label=False,
        buttons=["download"], format="jpeg", elem_id="tiles",
    )  # fmt: skip
    prepare = gr.Button("Prepare downloads", elem_id="prepare")
    downloads = gr.File(
        label="Downloads",
        file_count="multiple",
        interactive=False,
        visible=False,
        elem_id="downloads",
    )
    return Views(
        key=key,
        query=query,
        position=position,
        clusters=clusters,
        frame=frame,
        background=background,
        opacity=opacity,
        heat=heat,
        source=source,
        head=head,
        heat_video=heat_video,
        caption=caption,
        objects=objects,
        tree=tree,
        prepare=prepare,
        downloads=downloads,
        compare=compare,
        tiles=tiles,
    )


def lay_out_adapting(settings: DemoSettings) -> Adapting:
    """Steps and buttons; losses beside attention while it learns."""
    with gr.Accordion("Adapt to this clip", open=False, elem_id="adapting"):
        status = gr.Markdown(words.ADAPT, elem_id="adapt-status")
        with gr.Row(equal_height=True):
            steps = gr.Slider(
                1, settings.max_steps, value=min(100, settings.max_steps), step=1,
                label=words.STEPS, elem_id="steps",
            )  # fmt: skip
            run = gr.Button("Adapt", variant="primary", elem_id="adapt")
            stop = gr.Button("Stop", elem_id="stop")
            undo = gr.Button("Undo", interactive=False, elem_id="undo")
        with gr.Row():
            losses = gr.LinePlot(
                x="step", y="value", color="loss", title="Losses", height=260, elem_id="losses"
            )
            seen = gr.Image(
                label="What the block attends to from the clicked patch, or from the middle",
                interactive=False, format="jpeg", buttons=[], elem_id="seen",
            )  # fmt: skip
    return Adapting(steps, run, stop, undo, status, losses, seen)


def connect(
    handlers: Handlers,
    inputs: Inputs,
    videos: Videos,
    views: Views,
    adapting: Adapting,
    results: gr.Column,
) -> None:
    """Events to handlers."""
    i, v = inputs, views
    i.clip.change(handlers.show_clip, i.clip, [videos.original, videos.overlay, i.about], **PRIVATE)
    i.gallery.select(handlers.take_example, None, i.clip, **QUICK)
    shown = result_outputs(videos, views, adapting, results)
    connect_segment(handlers, inputs, videos, views, adapting, shown)
    connect_objects(handlers, videos, views)
    connect_attention(handlers, views)
    connect_adapting(handlers, views, adapting, shown)
    v.prepare.click(
        handlers.make_files, [v.key, v.clusters, v.heat_video], v.downloads, **PRIVATE, **DEVICE
    )


def result_outputs(
    videos: Videos, views: Views, adapting: Adapting, results: gr.Column
) -> list[Any]:
    """What `Handlers.segment`, `adapt` and `undo` fill with another result."""
    v = views
    shown = [v.key, videos.overlay, videos.notice, results, v.position, v.clusters]
    return [*shown, v.source, v.head, v.downloads, adapting.undo]


def connect_segment(
    handlers: Handlers,
    inputs: Inputs,
    videos: Videos,
    views: Views,
    adapting: Adapting,
    shown: list[Any],
) -> None:
    """The button: analyse, then paint the middle frame and the hierarchy."""
    v, a = views, adapting
    done = inputs.run.click(
        handlers.segment,
        [inputs.clip, inputs.backbone, inputs.frames],
        shown,
        show_progress_on=videos.overlay,
        **PRIVATE,
        **DEVICE,
    )
    of_before = [v.query, v.heat, v.heat_video, v.caption, v.tiles, a.status, a.losses, a.seen]
    show_result(handlers, views, done.success(handlers.forget_query, None, of_before, **QUICK))


def show_result(handlers: Handlers, views: Views, event: Any) -> Any:
    """Paint the shown frame and draw the hierarchy after an event."""
    v = views
    seen = [v.key, v.position, v.clusters, v.background, v.opacity]
    return event.success(handlers.paint, seen, v.frame, **QUICK).then(
        handlers.describe, [v.key, v.clusters], [v.objects, v.tree], **QUICK
    )


def connect_objects(handlers: Handlers, videos: Videos, views: Views) -> None:
    """Sliders re-colour the frame at once; the video follows when a slider is let go."""
    v = views
    shown = [v.key, v.position, v.clusters, v.background, v.opacity]
    gr.on(
        [v.position.input, v.clusters.input, v.opacity.input, v.background.input],
        handlers.paint,
        shown,
        v.frame,
        **LATEST,
        **QUICK,
    )
    v.clusters.input(handlers.describe, [v.key, v.clusters], [v.objects, v.tree], **LATEST, **QUICK)
    gr.on(
        [v.clusters.release, v.background.input],
        handlers.repaint_video,
        [v.key, v.clusters, v.background],
        videos.overlay,
        **LATEST,
        **PRIVATE,
        **DEVICE,
    )


def connect_attention(handlers: Handlers, views: Views) -> None:
    """A click sets the query; the heatmaps follow it, the source, the head and the time."""
    v = views
    v.frame.select(handlers.click, v.position, v.query, **QUICK)
    v.position.input(handlers.attend, here(v), v.heat, **LATEST, **QUICK)
    v.compare.input(handlers.compare, [*here(v), v.compare], v.tiles, **LATEST, **QUICK)
    # Another source has other heads, so attention waits until the menu is back at the mean.
    heads = v.source.input(handlers.list_heads, [v.key, v.source], v.head, **QUICK)
    for asked in (v.query.change, v.head.input, heads.success):
        show_attention(handlers, views, asked)


def here(views: Views) -> list[Any]:
    """The clicked patch, and how to look at it."""
    v = views
    return [v.key, v.query, v.position, v.source, v.head]


def show_attention(handlers: Handlers, views: Views, asked: Callable[..., Any]) -> None:
    """Everything that is shown of the clicked patch, when asked for by an event."""
    v = views
    answer: dict[str, Any] = {"concurrency_limit": 1, **LATEST, **PRIVATE}
    over_time = [v.key, v.query, v.source, v.head]
    asked(handlers.attend, here(v), v.heat, **LATEST, **QUICK)
    asked(handlers.compare, [*here(v), v.compare], v.tiles, **LATEST, **QUICK)
    asked(handlers.attend_over_time, over_time, [v.heat_video, v.caption], **answer)


def connect_adapting(
    handlers: Handlers, views: Views, adapting: Adapting, shown: list[Any]
) -> None:
    """Learn on the clip, stop early, take it back."""
    v, a = views, adapting
    learned = a.run.click(
        handlers.adapt,
        [v.key, v.query, v.position, a.steps],
        [a.status, a.losses, a.seen, *shown],
        show_progress="hidden",
        **PRIVATE,
        **DEVICE,
    )
    a.stop.click(handlers.stop, v.key, None, **QUICK)
    undone = a.undo.click(handlers.undo, v.key, shown, **PRIVATE, **DEVICE)
    for event in (learned, undone):
        show_attention(handlers, views, show_result(handlers, views, event).success)
