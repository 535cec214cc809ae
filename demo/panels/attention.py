"""The attention of the clicked patches: heatmap, numbers, side-by-side pictures and video."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from bavos_core import Analysis
from bavos_core.settings import AttentionSource

from .. import html, images, strings
from ..images import HeatLook
from ..store import Result
from .events import (
    IN_ORDER,
    LATEST,
    PRIVATE,
    QUICK,
    Components,
    Listener,
    Values,
    hidden,
    politely,
    shown,
)

if TYPE_CHECKING:
    from ..page import Page

MOST_QUERIES = 8
_MEAN = -1  # the value of the head menu that stands for the mean of all heads


@dataclass(frozen=True)
class Attention:
    """The components of the panel."""

    heat: gr.Image
    weight: gr.Markdown
    caption: gr.HTML
    keep: gr.Checkbox
    clear: gr.Button
    source: gr.Radio
    head: gr.Dropdown
    colours: gr.Dropdown
    grid: gr.Checkbox
    opacity: gr.Slider
    percentile: gr.Slider
    compare: gr.Radio
    tiles: gr.Gallery
    video: gr.Video

    @classmethod
    def lay_out(cls) -> Attention:
        """Create heatmap, numbers, source and head, the look, and the side-by-side pictures."""
        heat = gr.Image(
            label=strings.HEAT, interactive=False, format="jpeg",
            buttons=["download", "fullscreen"], elem_id="heat",
        )  # fmt: skip
        weight = gr.Markdown(strings.WEIGH, elem_id="weight", elem_classes="small")
        caption = gr.HTML(strings.CLICK, elem_id="caption")
        with gr.Row(equal_height=True):
            keep = gr.Checkbox(False, label=strings.KEEP, elem_id="keep")
            clear = gr.Button("Clear points", size="sm", elem_id="clear")
        gr.Markdown(strings.CAVEAT, elem_classes="small")
        source = gr.Radio([], label=strings.SOURCE_LABEL, info=strings.SOURCE, elem_id="source")
        # Custom values: a request may still hold a head that the menu no longer offers.
        head = gr.Dropdown([], label=strings.HEAD, allow_custom_value=True, elem_id="head")
        colours, grid, opacity, percentile = _lay_out_look()
        compare, tiles, video = _lay_out_comparison()
        return cls(
            heat=heat,
            weight=weight,
            caption=caption,
            keep=keep,
            clear=clear,
            source=source,
            head=head,
            colours=colours,
            grid=grid,
            opacity=opacity,
            percentile=percentile,
            compare=compare,
            tiles=tiles,
            video=video,
        )

    @property
    def look_inputs(self) -> Components:
        """Inputs of `look`."""
        return {self.source, self.head, self.colours, self.opacity, self.percentile, self.grid}

    def look(self, values: Values, analysis: Analysis) -> HeatLook:
        """Return how attention is painted, and which attention."""
        return HeatLook(
            source=values[self.source],
            head=chosen_head(values[self.head], analysis, values[self.source]),
            colours=values[self.colours],
            opacity=values[self.opacity],
            percentile=values[self.percentile],
            grid=values[self.grid],
        )

    @property
    def result_outputs(self) -> list[Any]:
        """The components that `show` fills."""
        return [self.source, self.head]

    def show(self, result: Result) -> Values:
        """Return the values for a new result."""
        analysis = result.analysis
        sources = [(name, source) for source, name in strings.sources(analysis)]
        return {
            self.source: gr.Radio(sources, value=analysis.source),
            self.head: heads_of(analysis, analysis.source),
        }


def _lay_out_look() -> tuple[gr.Dropdown, gr.Checkbox, gr.Slider, gr.Slider]:
    with gr.Accordion(strings.HEAT_STYLE, open=False, elem_id="heat-look"):
        with gr.Row():
            colours = gr.Dropdown(
                list(strings.COLOURS), value="inferno", label="Colours", elem_id="colours"
            )
            grid = gr.Checkbox(False, label=strings.GRID, elem_id="grid")
        opacity = gr.Slider(0, 1, value=0.65, step=0.05, label="Opacity", elem_id="heat-opacity")
        percentile = gr.Slider(
            90, 100, value=99.9, step=0.1, label="Top of the colour scale (percentile)",
            elem_id="percentile",
        )  # fmt: skip
    return colours, grid, opacity, percentile


def _lay_out_comparison() -> tuple[gr.Radio, gr.Gallery, gr.Video]:
    compare = gr.Radio(
        list(strings.COMPARE.items()), value="time", label=strings.SIDE_BY_SIDE, elem_id="compare"
    )
    tiles = gr.Gallery(
        columns=6, height="auto", object_fit="contain", interactive=False, allow_preview=False,
        visible=False, show_label=False, label="Small heatmaps", buttons=[], format="jpeg",
        elem_id="tiles",
    )  # fmt: skip
    video = gr.Video(
        label="Attention in all analysed frames", buttons=["download"], loop=True, autoplay=True,
        interactive=False, visible=False, elem_id="heat-video",
    )  # fmt: skip
    return compare, tiles, video


@dataclass(frozen=True)
class AttentionEvents:
    """Events of the panel: heatmaps follow clicked points, source, head and time."""

    page: Page

    def connect(self) -> None:
        """Register the listeners."""
        v, a = self.page.viewer, self.page.attention
        clicked = v.frame.select(
            self.click, {v.key, v.queries, v.position, a.keep}, [v.queries, a.weight], **IN_ORDER
        )
        cleared = a.clear.click(self.clear, None, [v.queries, a.weight], **QUICK)
        v.position.input(**self._attending, **LATEST)
        a.compare.input(**self._comparing, **LATEST)
        picked = a.tiles.select(self.pick_tile, {a.compare}, [v.position, a.head], **QUICK)
        self.page.viewer_events.paint_after(picked.success)
        a.heat.select(self.weigh, self._inputs, [a.weight], **QUICK)
        # Another source has other heads: attention waits until the menu is back at the mean.
        heads = a.source.input(self.list_heads, {v.key, a.source}, [a.head], **QUICK)
        for pointed in (clicked, cleared):
            pointed.success(**self.page.viewer_events.painting, **LATEST)
            self.show_after(pointed.success)
        looks = (a.colours.input, a.opacity.release, a.percentile.release, a.grid.input)
        for asked in (a.head.input, heads.success, picked.success, *looks):
            self.show_after(asked)

    def show_after(self, event: Listener) -> None:
        """Show everything about the clicked patches after an event."""
        a = self.page.attention
        event(**self._attending, **LATEST)
        event(**self._comparing, **LATEST)
        event(
            self.attend_over_time,
            self._inputs,
            [a.video, a.caption],
            show_progress="minimal",
            **LATEST,
            **PRIVATE,
        )

    @property
    def _inputs(self) -> Components:
        v = self.page.viewer
        return {v.key, v.queries, v.position, *self.page.attention.look_inputs}

    @property
    def _attending(self) -> dict[str, Any]:
        outputs = [self.page.attention.heat]
        return {"fn": self.attend, "inputs": self._inputs, "outputs": outputs, **QUICK}

    @property
    def _comparing(self) -> dict[str, Any]:
        a = self.page.attention
        inputs = {*self._inputs, a.compare}
        return {"fn": self.compare, "inputs": inputs, "outputs": [a.tiles], **QUICK}

    @politely
    def click(self, values: Values, event: gr.SelectData) -> Values:
        """Add the centre of the clicked pixel; drop earlier points unless they are kept."""
        v, a = self.page.viewer, self.page.attention
        kept = values[v.queries][-MOST_QUERIES + 1 :] if values[a.keep] else ()
        analysis = self.page.service.store.get(values[v.key]).analysis
        point = images.clicked(analysis, int(values[v.position]), event.index)
        return {v.queries: (*kept, point), a.weight: strings.WEIGH}

    def clear(self) -> Values:
        """Remove all points and the weight of a patch."""
        return {self.page.viewer.queries: (), self.page.attention.weight: strings.WEIGH}

    @politely
    def attend(self, values: Values) -> Values:
        """Show the current frame under the heatmaps of the clicked points."""
        v, a = self.page.viewer, self.page.attention
        queries, position = values[v.queries], int(values[v.position])
        if not (values[v.key] and queries):
            return {a.heat: None}
        look = self._look(values)
        result, rows = self.page.service.attention(values[v.key], queries, look)
        result.check_position(position)
        return {a.heat: images.heat_frame(result.analysis, rows, position, queries, look)}

    @politely
    def attend_over_time(self, values: Values) -> Values:
        """Show the heatmap video of the last point, and all rows in numbers."""
        v, a, service = self.page.viewer, self.page.attention, self.page.service
        queries = values[v.queries]
        if not (values[v.key] and queries):
            return {a.video: hidden(), a.caption: strings.CLICK}
        result, rows = service.attention(values[v.key], queries, self._look(values))
        video = service.files.heatmap(result, rows[-1], queries[-1])
        return {a.video: shown(video), a.caption: html.attention(result.analysis, rows, queries)}

    @politely
    def compare(self, values: Values) -> Values:
        """Show small heatmaps of the clicked points: over time, of all sources, or of all heads."""
        v, a = self.page.viewer, self.page.attention
        queries = values[v.queries]
        if not (values[v.key] and queries):
            return {a.tiles: hidden()}
        tiles = self.page.service.tiles(
            values[v.key],
            queries,
            int(values[v.position]),
            self._look(values),
            values[a.compare],
        )
        return {a.tiles: shown(tiles)}

    @politely
    def weigh(self, values: Values, event: gr.SelectData) -> Values:
        """Show weight and rank of the patch that was clicked in the heatmap."""
        v, a = self.page.viewer, self.page.attention
        queries = values[v.queries]
        if not (values[v.key] and queries):
            return {a.weight: strings.WEIGH}
        look = self._look(values)
        result, rows = self.page.service.attention(values[v.key], queries[-1:], look)
        (height, width), (h, w) = images.picture_size(result.analysis), result.analysis.grid
        x, y = event.index
        place = min(int(y * h / height), h - 1), min(int(x * w / width), w - 1)
        return {a.weight: strings.patch_weight(rows[0], int(values[v.position]), place)}

    def pick_tile(self, values: Values, event: gr.SelectData) -> Values:
        """Select the frame, or the head, of the small picture that was clicked."""
        v, a = self.page.viewer, self.page.attention
        what = values[a.compare]
        return {
            v.position: event.index if what == "time" else gr.skip(),
            a.head: event.index if what == "heads" else gr.skip(),
        }

    @politely
    def list_heads(self, values: Values) -> Values:
        """Fill the head menu for another source."""
        v, a = self.page.viewer, self.page.attention
        analysis = self.page.service.store.get(values[v.key]).analysis
        return {a.head: heads_of(analysis, values[a.source])}

    def _look(self, values: Values) -> HeatLook:
        analysis = self.page.service.store.get(values[self.page.viewer.key]).analysis
        return self.page.attention.look(values, analysis)


def heads_of(analysis: Analysis, source: AttentionSource) -> Any:
    """Return the head menu of a source."""
    count = analysis.heads(source)
    choices = [(strings.MEAN_HEAD, _MEAN), *((strings.head(i), i) for i in range(count))]
    return gr.Dropdown(choices, value=_MEAN, interactive=count > 1)


def chosen_head(menu: object, analysis: Analysis, source: AttentionSource) -> int | None:
    """Return the head that a menu value selects, or None for the mean of all.

    A value that is no head of this source counts as the mean: a request may hold the head of the
    previous source, and people can type anything into the menu.
    """
    return menu if isinstance(menu, int) and 0 <= menu < analysis.heads(source) else None
