"""Layout of the page, and which event calls which handler."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from bavos_core import InputError, backbones
from bavos_core.export import OPACITY
from bavos_core.video import IMAGE_SUFFIXES, VIDEO_SUFFIXES

from . import sessions, strings
from .api import add_api
from .edits import Edits
from .gpu import ZERO_GPU
from .handlers import EXAMPLES, Handlers
from .jobs import Jobs
from .presets import usual_preset
from .settings import DemoSettings

CSS = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
FILE_TYPES = [*VIDEO_SUFFIXES, *IMAGE_SUFFIXES, ".zip"]

# Costly work goes one at a time through one lane; quick answers pass beside it.
DEVICE: dict[str, Any] = {"concurrency_id": "device", "concurrency_limit": 1}
PRIVATE: dict[str, Any] = {"api_visibility": "private"}
QUICK: dict[str, Any] = {**PRIVATE, "show_progress": "hidden", "concurrency_limit": 4}
# What builds on the answer before: none is left out, and one waits for the other.
IN_ORDER: dict[str, Any] = {**QUICK, "concurrency_limit": 1, "trigger_mode": "multiple"}
LATEST: dict[str, Any] = {"trigger_mode": "always_last"}  # drop what a moving slider outran


def launch() -> None:
    """Build the page and serve it until it is stopped."""
    try:
        settings = DemoSettings.from_environment()
    except InputError as error:
        sys.exit(str(error))
    jobs = Jobs(settings, examples=sorted(EXAMPLES.glob("*.mp4")), whose=sessions.session)
    # With everything else that goes when the server ends, or when the next one starts.
    os.environ.setdefault("GRADIO_TEMP_DIR", str(jobs.store.cache))
    warm_up = threading.Thread(target=jobs.warm_up, args=(settings.backbone,), daemon=True)
    if settings.warm_up and not ZERO_GPU:
        warm_up.start()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        page = build(jobs)
        jobs.store.keep_cached()
        threading.Thread(target=jobs.store.sweep_for_ever, daemon=True).start()
        page.launch(**launch_options(settings))
    finally:
        jobs.close()
        if warm_up.is_alive():  # a thread that torch runs in must not outlive the interpreter
            warm_up.join(10)


def launch_options(settings: DemoSettings) -> dict[str, Any]:
    """What `Blocks.launch` needs."""
    return {
        "theme": theme(),
        "css": CSS,
        "js": _script("page.js"),
        "max_file_size": f"{settings.max_upload_mib}mb",
        "allowed_paths": [str(EXAMPLES)],
        "footer_links": ["api", "settings"],
        # Gradio keeps a quarter of a MiB for every visitor, also for those who left.
        "state_session_capacity": 5 * settings.queue_size,
        "mcp_server": importlib.util.find_spec("mcp") is not None,
    }


def theme() -> gr.themes.Base:
    """Calm, and every text at least 4.5 times as bright as what it lies on, or as dark."""
    plain = {
        f"{label}_{part}{dark}": value
        for label in ("block_label", "block_title")
        for dark, colour in (("", "*neutral_700"), ("_dark", "*neutral_200"))
        for part, value in (("background_fill", "transparent"), ("text_color", colour))
    }
    strong = {
        f"{part}{dark}": colour
        for part in ("button_primary_background_fill", "checkbox_label_background_fill_selected")
        for dark, colour in (("", "*primary_700"), ("_dark", "*primary_700"))
    }
    quiet = {
        f"{part}{dark}": colour
        for part in ("body_text_color_subdued", "block_info_text_color", "input_placeholder_color")
        for dark, colour in (("", "*neutral_600"), ("_dark", "*neutral_300"))
    }
    made = gr.themes.Soft(
        primary_hue="teal",
        neutral_hue="slate",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    )
    return made.set(
        **plain,
        **strong,
        **quiet,
        background_fill_primary="*neutral_50",  # as in Soft: `set` forgets it
        block_title_padding="0",
        block_label_padding="0",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_hover_dark="*primary_800",
        button_secondary_background_fill_hover_dark="*neutral_600",
        checkbox_label_text_color_selected_dark="white",
        checkbox_border_color="*neutral_500",
        input_border_color="*neutral_300",
        input_border_width="1px",
        link_text_color="*primary_800",
        link_text_color_dark="*primary_300",
        color_accent="*primary_700",
        slider_color="*primary_700",
    )


def build(jobs: Jobs) -> gr.Blocks:
    """The whole page."""
    handlers = Handlers(jobs)
    with gr.Blocks(title="Bavos", analytics_enabled=False) as page:
        gr.HTML(strings.HEADER, padding=False)
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                inputs = lay_out_inputs(handlers, jobs.settings)
            with gr.Column(scale=3):
                videos, run = lay_out_videos(), lay_out_run(handlers, jobs.settings)
                notice = gr.Markdown(strings.START, elem_id="notice")
        with gr.Column(visible=False) as results:
            parts = lay_out_results(jobs.settings)
        gr.Markdown(strings.footer(jobs.settings), elem_classes="small")
        add_api(jobs, DEVICE)  # first: the names of its endpoints must not be taken
        Wiring(handlers, inputs, videos, run, notice, results, *parts).connect()
        page.unload(handlers.leave)
        page.load(handlers.from_address, None, [inputs.clip, inputs.backbone, run.preset], **QUICK)
    page.queue(max_size=jobs.settings.queue_size)
    return page


# ---- layout ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Inputs:
    """The left column."""

    clip: gr.File
    about: gr.Markdown
    gallery: gr.Gallery
    backbone: gr.Dropdown


@dataclass(frozen=True)
class Run:
    """How thoroughly, and the start."""

    preset: gr.Radio
    run: gr.Button
    cancel: gr.Button


@dataclass(frozen=True)
class Videos:
    """The original beside the overlay."""

    original: gr.Video
    overlay: gr.Video


@dataclass(frozen=True)
class Viewer:
    """The large frame, and how objects are painted on it."""

    key: gr.State  # id of the result in the store
    position: gr.Slider
    clusters: gr.Slider
    frame: gr.Image
    compared: gr.ImageSlider
    view: gr.Radio
    background: gr.Checkbox
    opacity: gr.Slider
    style: gr.Radio
    edits: gr.State  # edits.Edits

    @property
    def look(self) -> list[Any]:
        """The fields of images.ObjectsLook."""
        return [self.background, self.opacity, self.style, self.edits]


@dataclass(frozen=True)
class Attention:
    """What the clicked patches attend to, and how that is painted."""

    queries: gr.State  # tuple of images.Query
    heat: gr.Image
    weight: gr.Markdown
    caption: gr.HTML
    source: gr.Radio
    head: gr.Dropdown
    keep: gr.Checkbox
    clear: gr.Button
    colours: gr.Dropdown
    opacity: gr.Slider
    percentile: gr.Slider
    grid: gr.Checkbox
    compare: gr.Radio
    tiles: gr.Gallery
    video: gr.Video

    @property
    def look(self) -> list[Any]:
        """The fields of images.HeatLook."""
        return [
            self.source,
            self.head,
            self.colours,
            self.opacity,
            self.percentile,
            self.grid,
        ]


@dataclass(frozen=True)
class Hierarchy:
    """Objects and the tree that they are cut from."""

    objects: gr.HTML
    tree: gr.HTML
    node_tiles: gr.Gallery
    play: gr.Button
    levels: gr.Video


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


@dataclass(frozen=True)
class TakeHome:
    """Downloads and code."""

    prepare: gr.Button
    downloads: gr.File
    code: gr.Code


def lay_out_inputs(handlers: Handlers, settings: DemoSettings) -> Inputs:
    """Upload, examples, settings and the buttons."""
    clip = gr.File(label="Your clip", file_types=FILE_TYPES, height=150, elem_id="clip")
    about = gr.Markdown(strings.limits(settings), elem_classes="small")
    gallery = gr.Gallery(
        handlers.gallery(),
        label="Or try an example",
        columns=2,
        height="auto",
        allow_preview=False,
        interactive=False,
        buttons=[],
        object_fit="cover",
        elem_id="examples",
    )
    with gr.Accordion("Settings", open=False):
        backbone = gr.Dropdown(
            strings.backbone_choices(),
            value=backbones.canonical(settings.backbone),
            label="Backbone",
            info=strings.BACKBONE,
        )
    return Inputs(clip, about, gallery, backbone)


def lay_out_run(handlers: Handlers, settings: DemoSettings) -> Run:
    """Quality and buttons."""
    with gr.Row():
        preset = gr.Radio(
            strings.presets(handlers.jobs.pace, settings),
            value=usual_preset(),
            label=strings.PRESET,
            info=strings.PRESET_INFO,
            elem_id="preset",
            scale=5,
        )
        with gr.Column(scale=1, min_width=120):
            run = gr.Button("Segment", variant="primary", elem_id="segment")
            cancel = gr.Button("Cancel", elem_id="cancel")
    return Run(preset, run, cancel)


def lay_out_videos() -> Videos:
    """Original and overlay side by side."""
    look: dict[str, Any] = {"height": 300, "loop": True, "interactive": False}
    with gr.Row():
        original = gr.Video(label="Original", buttons=[], elem_id="original", **look)
        overlay = gr.Video(label="Objects", buttons=["download"], elem_id="overlay", **look)
    return Videos(original, overlay)


def lay_out_results(
    settings: DemoSettings,
) -> tuple[Viewer, Attention, Hierarchy, Adapting, TakeHome]:
    """The large frame on the left, what there is to see of it on the right."""
    with gr.Row():
        with gr.Column(scale=1, min_width=320, elem_id="viewer"):
            viewer = lay_out_viewer()
        with gr.Column(scale=1, min_width=320), gr.Tabs():
            with gr.Tab("Attention"):
                attention = lay_out_attention()
            with gr.Tab("Objects"):
                objects = gr.HTML(elem_id="objects", js_on_load=_script("objects.js"))
            with gr.Tab("Hierarchy"):
                hierarchy = lay_out_hierarchy(objects)
            with gr.Tab("Adapt"):
                adapting = lay_out_adapting(settings)
            with gr.Tab("Download"):
                take_home = lay_out_take_home()
    return viewer, attention, hierarchy, adapting, take_home


def lay_out_viewer() -> Viewer:
    """Time, granularity, the frame, and how it is painted."""
    key, edits = gr.State(""), gr.State(Edits())
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
    style = gr.Radio(
        list(strings.STYLES.items()), value="both", label="Painted as", elem_id="style"
    )
    with gr.Row():
        background = gr.Checkbox(False, label=strings.BACKGROUND, elem_id="background")
        opacity = gr.Slider(0, 1, value=OPACITY, step=0.05, label="Opacity", elem_id="opacity")
    return Viewer(
        key=key,
        position=position,
        clusters=clusters,
        frame=frame,
        compared=compared,
        view=view,
        background=background,
        opacity=opacity,
        style=style,
        edits=edits,
    )


def lay_out_attention() -> Attention:
    """Heatmap, numbers, the choice of source and head, and small pictures side by side."""
    queries = gr.State(())
    heat = gr.Image(
        label=strings.HEAT,
        interactive=False,
        format="jpeg",
        buttons=["download", "fullscreen"],
        elem_id="heat",
    )
    weight = gr.Markdown(strings.WEIGH, elem_id="weight", elem_classes="small")
    caption = gr.HTML(strings.CLICK, elem_id="caption")
    with gr.Row(equal_height=True):
        keep = gr.Checkbox(False, label=strings.KEEP, elem_id="keep")
        clear = gr.Button("Clear points", size="sm", elem_id="clear")
    gr.Markdown(strings.CAVEAT, elem_classes="small")
    source = gr.Radio([], label=strings.SOURCE_LABEL, info=strings.SOURCE, elem_id="source")
    # Its choices change: a question asked just before may hold one that is gone.
    head = gr.Dropdown([], label=strings.HEAD, allow_custom_value=True, elem_id="head")
    with gr.Accordion("How it is painted", open=False, elem_id="heat-look"):
        with gr.Row():
            colours = gr.Dropdown(
                list(strings.COLOURS), value="inferno", label="Colours", elem_id="colours"
            )
            grid = gr.Checkbox(False, label=strings.GRID, elem_id="grid")
        opacity = gr.Slider(0, 1, value=0.65, step=0.05, label="Opacity", elem_id="heat-opacity")
        percentile = gr.Slider(
            90, 100, value=99.9, step=0.1, label="Hottest colour at percentile",
            elem_id="percentile",
        )  # fmt: skip
    compare = gr.Radio(
        list(strings.COMPARE.items()), value="time", label=strings.SIDE_BY_SIDE, elem_id="compare"
    )
    tiles = gr.Gallery(
        columns=6, height="auto", object_fit="contain", interactive=False, allow_preview=False,
        visible=False, show_label=False, label="Small heatmaps", buttons=[], format="jpeg",
        elem_id="tiles",
    )  # fmt: skip
    video = gr.Video(
        label="Where it attends, in all analysed frames",
        buttons=["download"],
        loop=True,
        autoplay=True,
        interactive=False,
        visible=False,
        elem_id="heat-video",
    )
    return Attention(
        queries=queries,
        heat=heat,
        weight=weight,
        caption=caption,
        source=source,
        head=head,
        keep=keep,
        clear=clear,
        colours=colours,
        opacity=opacity,
        percentile=percentile,
        grid=grid,
        compare=compare,
        tiles=tiles,
        video=video,
    )


def lay_out_hierarchy(objects: gr.HTML) -> Hierarchy:
    """The tree, the clicked branch over time, and the paper's levels."""
    gr.Markdown(strings.TREE, elem_classes="small")
    tree = gr.HTML(elem_id="tree", js_on_load=_script("tree.js"))
    node_tiles = gr.Gallery(
        columns=6, height="auto", object_fit="contain", interactive=False, visible=False,
        allow_preview=False, show_label=False, label="The branch over time", buttons=[],
        format="jpeg", elem_id="node-tiles",
    )  # fmt: skip
    play = gr.Button("Play the levels", elem_id="play")
    levels = gr.Video(
        label=strings.LEVELS, visible=False, autoplay=True, loop=True, interactive=False,
        buttons=["download"], elem_id="levels",
    )  # fmt: skip
    return Hierarchy(objects, tree, node_tiles, play, levels)


def lay_out_adapting(settings: DemoSettings) -> Adapting:
    """Steps and buttons; losses and attention while it learns."""
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
        label="What the block attends to from the clicked patch, or from the middle",
        visible=False, interactive=False, format="jpeg", buttons=[], elem_id="seen",
    )  # fmt: skip
    losses = gr.LinePlot(
        x="step", y="value", color="loss", title="Losses", height=260, visible=False,
        elem_id="losses",
    )  # fmt: skip
    return Adapting(steps, run, stop, undo, status, losses, seen)


def lay_out_take_home() -> TakeHome:
    """Downloads and code."""
    prepare = gr.Button("Prepare downloads", elem_id="prepare")
    downloads = gr.File(
        label="Downloads",
        file_count="multiple",
        interactive=False,
        visible=False,
        elem_id="downloads",
    )
    code = gr.Code(language="python", label=strings.CODE, interactive=False, elem_id="code")
    return TakeHome(prepare, downloads, code)


def _script(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


# ---- events ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wiring:
    """Which event calls which handler."""

    handlers: Handlers
    inputs: Inputs
    videos: Videos
    run: Run
    notice: gr.Markdown
    results: gr.Column
    viewer: Viewer
    attention: Attention
    hierarchy: Hierarchy
    adapting: Adapting
    take_home: TakeHome

    def connect(self) -> None:
        """All of them."""
        for part in (self._clip, self._objects, self._tree, self._attention, self._adapting):
            part()
        h, v, t = self.handlers, self.viewer, self.take_home
        files = [v.key, v.clusters, v.edits, self.attention.video]
        t.prepare.click(
            h.make_files, files, t.downloads, show_progress_on=t.code, **PRIVATE, **DEVICE
        )

    # What a new result fills, in the order of `Handlers._shown`.
    @property
    def _shown(self) -> list[Any]:
        v, a = self.viewer, self.attention
        return [
            v.key, self.videos.overlay, self.notice, self.results, v.position, v.clusters,
            a.source, a.head, self.adapting.undo, v.edits,
        ]  # fmt: skip

    @property
    def _painted(self) -> dict[str, Any]:
        v = self.viewer
        return {
            "fn": self.handlers.paint,
            "inputs": [
                v.key,
                v.position,
                v.clusters,
                v.view,
                self.attention.queries,
                *v.look,
            ],
            "outputs": [v.frame, v.compared],
            **QUICK,
        }

    @property
    def _described(self) -> dict[str, Any]:
        v = self.viewer
        return {
            "fn": self.handlers.describe,
            "inputs": [v.key, v.clusters, v.edits],
            "outputs": [
                self.notice,
                self.hierarchy.objects,
                self.hierarchy.tree,
                self.take_home.code,
                self.take_home.downloads,
            ],
            **QUICK,
        }

    @property
    def _here(self) -> list[Any]:
        return [self.viewer.key, self.attention.queries, self.viewer.position]

    def _clip(self) -> None:
        """From a clip to its result."""
        h, i, a, b = self.handlers, self.inputs, self.attention, self.adapting
        i.clip.change(
            h.show_clip,
            i.clip,
            [self.videos.original, i.about],
            show_progress_on=self.videos.original,
            **PRIVATE,
        )
        of_clip = [self.videos.overlay, self.results, self.notice]
        gr.on([i.clip.upload, i.clip.clear], h.new_clip, i.clip, of_clip, **QUICK)
        segment: dict[str, Any] = {
            "fn": h.segment,
            "inputs": [i.clip, i.backbone, self.run.preset],
            "outputs": self._shown,
            "show_progress_on": self.videos.overlay,
            **PRIVATE,
            **DEVICE,
        }
        of_before = [
            a.queries, a.weight, b.status, b.losses, b.seen,
            self.hierarchy.node_tiles, self.hierarchy.levels,
        ]  # fmt: skip
        chosen = [i.clip, self.videos.overlay]
        example = i.gallery.select(h.take_example, None, chosen, **IN_ORDER)
        again = {**segment, "trigger_mode": "multiple"}  # for the example that was clicked last
        runs = [self.run.run.click(**segment), example.success(**again)]
        for done in runs:
            fresh = done.success(h.first_query, self.viewer.key, of_before, **QUICK)
            shown = self._show_result(fresh)
            shown.then(h.qualities, None, self.run.preset, **QUICK)
            self._show_attention(shown.success)
        self.run.cancel.click(h.cancel, None, None, cancels=runs, **QUICK)

    def _show_result(self, event: Any) -> Any:
        """Paint the shown frame and draw the hierarchy after an event."""
        return event.success(**self._painted).then(**self._described)

    def _objects(self) -> None:
        """Controls re-colour the frame at once; the video follows when a slider is let go."""
        h, v = self.handlers, self.viewer
        looks = [v.position.input, v.clusters.input, v.view.input, v.opacity.input]
        looks += [v.background.input, v.style.input, v.edits.change]
        gr.on(looks, **self._painted, **LATEST)
        gr.on([v.clusters.input, v.edits.change], **self._described, **LATEST)
        gr.on(
            [v.clusters.release, v.opacity.release, v.background.input, v.style.input,
             v.edits.change],
            h.repaint_video,
            [v.key, v.clusters, *v.look],
            self.videos.overlay,
            **LATEST, **PRIVATE, **DEVICE,
        )  # fmt: skip
        edited = [v.key, v.clusters, v.edits]
        self.hierarchy.objects.select(h.edit, edited, v.edits, **IN_ORDER)

    def _tree(self) -> None:
        """The dashed line and the slider are one thing; branches and levels are looked at."""
        h, v, t = self.handlers, self.viewer, self.hierarchy
        moved = t.tree.input(h.cut_at, v.key, v.clusters, **QUICK)
        self._show_result(moved).then(
            h.repaint_video, [v.key, v.clusters, *v.look], self.videos.overlay, **PRIVATE, **DEVICE
        )
        t.tree.select(h.show_node, v.key, t.node_tiles, **QUICK)
        t.play.click(h.play_levels, [v.key, v.position], t.levels, **PRIVATE)

    def _attention(self) -> None:
        """A click sets the query; the heatmaps follow it, the source, the head and the time."""
        h, v, a = self.handlers, self.viewer, self.attention
        picked_point = [a.queries, a.weight]
        clicked = v.frame.select(h.click, [a.queries, v.position, a.keep], picked_point, **IN_ORDER)
        cleared = a.clear.click(h.clear, None, picked_point, **QUICK)
        v.position.input(h.attend, [*self._here, *a.look], a.heat, **LATEST, **QUICK)
        compared = [*self._here, a.compare, *a.look]
        a.compare.input(h.compare, compared, a.tiles, **LATEST, **QUICK)
        picked = a.tiles.select(h.pick_tile, a.compare, [v.position, a.head], **QUICK)
        picked.success(**self._painted)
        a.heat.select(h.weigh, [*self._here, a.source, a.head], a.weight, **QUICK)
        # Another source has other heads, so attention waits until the menu is back at the mean.
        heads = a.source.input(h.list_heads, [v.key, a.source], a.head, **QUICK)
        looks = (a.colours.input, a.opacity.release, a.percentile.release, a.grid.input)
        points = (clicked.success, cleared.success)
        for pointed in points:
            pointed(**self._painted, **LATEST)
        for asked in (*points, a.head.input, heads.success, picked.success, *looks):
            self._show_attention(asked)

    def _show_attention(self, asked: Callable[..., Any]) -> None:
        """Everything that is shown of the clicked patches, when asked for by an event."""
        h, a = self.handlers, self.attention
        everything = [*self._here, *a.look]
        answer: dict[str, Any] = {"show_progress": "minimal", **LATEST, **PRIVATE}
        asked(h.attend, everything, a.heat, **LATEST, **QUICK)
        asked(h.compare, [*self._here, a.compare, *a.look], a.tiles, **LATEST, **QUICK)
        asked(h.attend_over_time, everything, [a.video, a.caption], **answer)

    def _adapting(self) -> None:
        """Learn on the clip, stop early, take it back."""
        h, v, b = self.handlers, self.viewer, self.adapting
        learned = b.run.click(
            h.adapt,
            [*self._here, b.steps],
            [b.status, b.losses, b.seen, *self._shown],
            show_progress="hidden",
            **PRIVATE,
            **DEVICE,
        )
        b.stop.click(h.stop, v.key, None, **QUICK)
        undone = b.undo.click(h.undo, v.key, self._shown, **PRIVATE, **DEVICE)
        for event in (learned, undone):
            self._show_attention(self._show_result(event).success)
