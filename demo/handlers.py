"""What happens on each event of the page: between Gradio's values and `jobs.Jobs`."""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import gradio as gr
import numpy as np
import pandas as pd

from bavos_core import Analysis, Cancelled, InputError, backbones, open_clip, render
from bavos_core.settings import AttentionSource

from . import images, strings
from .drawing import tree_picture
from .edits import Edits
from .images import HeatLook, ObjectsLook, Query
from .jobs import Jobs, checked_position
from .presets import PRESETS, usual_preset
from .store import Result

log = logging.getLogger(__name__)
Parameters = ParamSpec("Parameters")
EXAMPLES = Path(__file__).parent.parent / "assets" / "examples"
MOST_QUERIES = 8
LOOK_EVERY = 5  # steps of adapting between looks at losses and attention
UNCHANGED = (gr.skip(),) * 10  # for all that `Handlers._shown` fills


def politely(handler: Callable[Parameters, Any]) -> Callable[Parameters, Any]:
    """Show bad input as a notice with its one sentence, instead of an error."""

    @wraps(handler)
    def guarded(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Any:
        with notices():
            return handler(*args, **kwargs)

    @wraps(handler)
    def guarded_steps(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Iterator[Any]:
        with notices():
            yield from handler(*args, **kwargs)

    return guarded_steps if inspect.isgeneratorfunction(handler) else guarded


@contextmanager
def notices() -> Iterator[None]:
    """Turn bad input into what Gradio shows as a notice, and defects into the log and a notice."""
    try:
        yield
    except InputError as error:
        raise gr.Error(str(error), duration=None, print_exception=False) from error
    except Cancelled as stopped:  # the page was told by whoever cancelled
        raise gr.Error("Cancelled.", visible=False, print_exception=False) from stopped
    except Exception as error:
        log.exception("A handler failed")
        raise gr.Error(strings.failure(error), duration=None, print_exception=False) from error


def heads_of(result: Result, source: AttentionSource) -> Any:
    """The head menu of a source."""
    count = result.analysis.heads(source)
    choices = [("Mean of all", -1), *((f"Head {i}", i) for i in range(count))]
    return gr.Dropdown(choices, value=-1, interactive=count > 1)


def middle_of(analysis: Analysis, position: int) -> Query:
    """The middle of a frame, to look at as long as no point is clicked."""
    height, width = analysis.size
    return position, height / 2, width / 2


def chart(losses: list[tuple[int, float, str]]) -> pd.DataFrame:
    """Losses as the line chart wants them."""
    return pd.DataFrame(losses, columns=["step", "value", "loss"])


def shown(*values: Any) -> tuple[Any, ...]:
    """Values of components that are hidden as long as they have none."""
    return tuple(gr.update(value=value, visible=True) for value in values)


def chosen_head(menu: object, analysis: Analysis, source: AttentionSource) -> int | None:
    """The head that a menu value stands for; None, the mean of all, for -1.

    And for what is no head of this source: a question may still hold what was chosen for the source
    before, and a menu that people can type in anything.
    """
    return menu if isinstance(menu, int) and 0 <= menu < analysis.heads(source) else None


class Handlers:
    """One method per event. Arguments are component values, in the order that `page` wires."""

    def __init__(self, jobs: Jobs):
        self.jobs = jobs
        text = (EXAMPLES / "examples.json").read_text(encoding="utf-8")
        self.examples: list[dict[str, Any]] = json.loads(text)

    def gallery(self) -> list[tuple[np.ndarray, str]]:
        """A picture and a title for every example."""
        pictures = []
        for example in self.examples:
            clip = open_clip(example_path(example["name"]))
            picture = next(iter(clip.read([len(clip.times) // 3])))
            pictures.append((picture, str(example["title"])))
        return pictures

    # ---- clip ----------------------------------------------------------------------------------

    @politely
    def show_clip(self, path: str | None) -> tuple[Any, ...]:
        """Original video and a sentence about the clip."""
        if not path:
            return None, strings.limits(self.jobs.settings)
        video, clip = self.jobs.preview(path)
        return video, strings.about(clip, self.jobs.settings)

    def new_clip(self, path: str | None) -> tuple[Any, Any, str]:
        """Nothing of the clip before, and what to do with the new one."""
        return None, gr.Column(visible=False), strings.READY if path else strings.START

    def take_example(self, event: gr.SelectData, request: gr.Request) -> tuple[str, None]:
        """The clip of the example that was clicked, and no overlay yet; what runs is stopped."""
        self.jobs.cancel(str(request.session_hash))
        return str(example_path(self.examples[event.index]["name"])), None

    def from_address(self, request: gr.Request) -> tuple[Any, Any, Any]:
        """Clip, backbone and quality that the address of the page asks for."""
        asked = dict(request.query_params)
        names = [example["name"] for example in self.examples]
        # Without one, the clip stays: somebody may have been quick to upload one.
        clip = str(example_path(asked["example"])) if asked.get("example") in names else gr.skip()
        known = backbones.canonical(asked.get("backbone", "")) in backbones.names()
        backbone = backbones.canonical(asked["backbone"] if known else self.jobs.settings.backbone)
        preset = asked["preset"] if asked.get("preset") in PRESETS else usual_preset()
        qualities = strings.presets(self.jobs.pace, self.jobs.settings)
        return clip, backbone, gr.Radio(qualities, value=preset)

    @politely
    def segment(
        self,
        path: str | None,
        backbone: str,
        preset: str,
        request: gr.Request,
        progress: Any = gr.Progress(),
    ) -> tuple[Any, ...]:
        """Everything that a new result changes, in the order of `page.Wiring`'s `_shown`."""
        with self.jobs.cancellable(str(request.session_hash)) as stop:
            chosen = PRESETS[preset]
            result, video = self.jobs.segment(path, backbone, chosen, stop.raising(progress))
        return self._shown(result, video)

    def cancel(self, request: gr.Request) -> None:
        """Stop what runs for this visitor. What waits in the queue is taken out of it by Gradio."""
        if self.jobs.cancel(str(request.session_hash)):
            gr.Info("Cancelled.", duration=5, title="Stopped")

    def leave(self, request: gr.Request) -> None:
        """A visitor closed the page: stop what runs for them and forget their results."""
        self.jobs.leave(str(request.session_hash))

    def qualities(self) -> Any:
        """The presets with the seconds that the last run teaches."""
        return gr.Radio(strings.presets(self.jobs.pace, self.jobs.settings))

    def _shown(self, result: Result, video: Path) -> tuple[Any, ...]:
        """Everything that another result changes, in the order of `page.Wiring`'s `_shown`."""
        analysis = result.analysis
        last = len(analysis.frames) - 1
        cut = analysis.segment()
        parts = max(min(analysis.tree.leaves, render.MAX_PARTS), cut.clusters, 2)
        sources = [(name, source) for source, name in strings.sources(analysis)]
        return (
            result.id,
            video,
            strings.report(result, cut),
            gr.Column(visible=True),
            gr.Slider(minimum=0, maximum=max(last, 1), value=last // 2, interactive=last > 0),
            gr.Slider(minimum=1, maximum=parts, value=cut.clusters),
            gr.Radio(sources, value=analysis.source),
            heads_of(result, analysis.source),
            gr.Button(interactive=result.before is not None),
            Edits(),
        )

    @politely
    def first_query(self, key: str) -> tuple[Any, ...]:
        """A point in the largest object, for a start, and nothing of the clip before."""
        analysis = self.jobs.store.get(key).analysis
        query = images.telling_point(analysis, (len(analysis.frames) - 1) // 2)
        hidden = gr.update(value=None, visible=False)
        return (query,), strings.WEIGH, strings.ADAPT, hidden, hidden, hidden, hidden

    # ---- objects -------------------------------------------------------------------------------

    @politely
    def paint(
        self,
        key: str,
        position: int,
        clusters: int,
        view: str,
        queries: tuple[Query, ...],
        *look: Any,
    ) -> tuple[Any, Any]:
        """The shown frame as it is asked for: in the large picture, or in the one that compares."""
        if not key:
            return None, None
        t = int(position)
        original = painted = self.jobs.original(key, t)
        if view != "original":
            painted = self.jobs.frame(key, t, int(clusters), ObjectsLook(*look))
        # Not as components: these would be made into files here, and again when they are sent.
        if view == "compare":
            return gr.update(visible=False), gr.update(value=(original, painted), visible=True)
        painted = images.marked(painted, t, queries)
        return gr.update(value=painted, visible=True), gr.update(visible=False)

    @politely
    def describe(
        self, key: str, clusters: int, edits: Edits, request: gr.Request
    ) -> tuple[Any, ...]:
        """What was found, list of objects, hierarchy, the code for them, and no downloads yet."""
        no_files = gr.update(value=None, visible=False)
        if not key:
            return gr.skip(), None, None, None, no_files
        result, cut = self.jobs.cut(key, int(clusters), edits)
        analysis = result.analysis
        thumbnails = {i: images.object_thumbnail(analysis, cut, i) for i in cut.present}
        tree = tree_picture(analysis.tree, cut, images.node_thumbnails(analysis, cut))
        objects = strings.object_list(cut, edits, thumbnails)
        address = str(request.headers.get("origin", ""))
        code = strings.code(result, cut, edits, address)
        return strings.report(result, cut), objects, tree, code, no_files

    @politely
    def edit(self, key: str, clusters: int, edits: Edits, event: gr.EventData) -> Edits:
        """What was done in the list of objects: {action, id, value}; some need no id, or value."""
        asked = event._data
        match asked["action"]:
            case "undo":
                return edits.undo()
            case "redo":
                return edits.redo()
        cluster, value = int(asked["id"]), asked["value"]
        cut = self.jobs.cut(key, int(clusters), edits)[1]
        match asked["action"]:
            case "name":
                return edits.rename(cut, cluster, str(value))
            case "role":
                return edits.take_for(cut, cluster, value)
            case "merge":
                return edits.merge(cut, cluster, int(value))
            case "split":
                divided = edits.split(cut, cluster)
                if self.jobs.cut(key, int(clusters), divided)[1].clusters > cut.clusters:
                    return divided
                gr.Info(strings.one_part(cut.name(cluster)), duration=5, title="Not split")
                return edits
            case "hide":
                return edits.hide(cut, cluster)
            case "alone":
                return edits.show_alone(cut, cluster)
        return edits

    @politely
    def repaint_video(self, key: str, clusters: int, *look: Any) -> Path:
        """The overlay video at another granularity, with other edits, or in another look."""
        shown = ObjectsLook(*look)
        result, cut = self.jobs.cut(key, int(clusters), shown.edits)
        return self.jobs.overlay(result, cut, look=shown)

    # ---- hierarchy -----------------------------------------------------------------------------

    @politely
    def cut_at(self, key: str, event: gr.EventData) -> Any:
        """The number of clusters at the τ that the dashed line was dragged to."""
        tree = self.jobs.store.get(key).analysis.tree
        clusters = tree.clusters_at(float(event._data["tau"]))
        return max(1, min(clusters, render.MAX_PARTS))

    @politely
    def show_node(self, key: str, event: gr.EventData) -> Any:
        """The patches of the clicked branch over time."""
        return gr.update(value=self.jobs.node(key, int(event._data["node"])), visible=True)

    @politely
    def play_levels(self, key: str, position: int) -> Any:
        """The paper's levels on the shown frame."""
        return gr.update(value=self.jobs.levels_video(key, int(position)), visible=True)

    # ---- attention -----------------------------------------------------------------------------

    def click(
        self, queries: tuple[Query, ...], position: int, keep: bool, event: gr.SelectData
    ) -> tuple[tuple[Query, ...], str]:
        """The clicked point, the middle of its pixel; beside the earlier ones if they are kept."""
        x, y = event.index
        kept = queries[-MOST_QUERIES + 1 :] if keep else ()
        return (*kept, (int(position), y + 0.5, x + 0.5)), strings.WEIGH

    def clear(self) -> tuple[Any, ...]:
        """No point, and no numbers of a patch."""
        return (), strings.WEIGH

    @politely
    def attend(
        self, key: str, queries: tuple[Query, ...], position: int, *look: Any
    ) -> np.ndarray | None:
        """The shown frame under the heatmaps of the clicked points."""
        if not (key and queries):
            return None
        chosen = self._heat_look(key, *look)
        result, rows = self.jobs.attention(key, queries, chosen)
        checked_position(result, int(position))
        return images.heat_frame(result.analysis, rows, int(position), queries, chosen)

    @politely
    def attend_over_time(
        self, key: str, queries: tuple[Query, ...], _position: int, *look: Any
    ) -> tuple[Any, str]:
        """The heatmap video of the last point, and all rows in numbers."""
        if not (key and queries):
            return gr.update(value=None, visible=False), strings.CLICK
        result, rows = self.jobs.attention(key, queries, self._heat_look(key, *look))
        video = self.jobs.heat_video(result, rows[-1], queries[-1])
        said = strings.attention(result.analysis, rows, queries)
        return gr.update(value=video, visible=True), said

    @politely
    def compare(
        self, key: str, queries: tuple[Query, ...], position: int, what: str, *look: Any
    ) -> Any:
        """Small heatmaps of the clicked points: over time, of all sources, or of all heads."""
        if not (key and queries):
            return gr.update(value=None, visible=False)
        chosen = self._heat_look(key, *look)
        tiles = self.jobs.tiles(key, queries, int(position), chosen, what)
        return gr.update(value=tiles, visible=True)

    @politely
    def weigh(
        self,
        key: str,
        queries: tuple[Query, ...],
        position: int,
        source: AttentionSource,
        head: object,
        event: gr.SelectData,
    ) -> str:
        """Weight and rank of the patch that was clicked in the heatmap."""
        if not (key and queries):
            return strings.WEIGH
        look = self._heat_look(key, source, head)
        result, rows = self.jobs.attention(key, queries[-1:], look)
        (height, width), (h, w) = result.analysis.size, result.analysis.grid
        x, y = event.index
        place = min(int(y * h / height), h - 1), min(int(x * w / width), w - 1)
        return strings.patch_weight(rows[0], int(position), place)

    def pick_tile(self, what: str, event: gr.SelectData) -> tuple[Any, Any]:
        """A small picture that was clicked chooses its frame, or its head."""
        return (
            event.index if what == "time" else gr.skip(),
            event.index if what == "heads" else gr.skip(),
        )

    def _heat_look(self, key: str, source: AttentionSource, head: object, *rest: Any) -> HeatLook:
        analysis = self.jobs.store.get(key).analysis
        return HeatLook(source, chosen_head(head, analysis, source), *rest)

    @politely
    def list_heads(self, key: str, source: AttentionSource) -> Any:
        """The head menu of another source."""
        return heads_of(self.jobs.store.get(key), source)

    # ---- adapt ---------------------------------------------------------------------------------

    @politely
    def adapt(
        self, key: str, queries: tuple[Query, ...], position: int, steps: int
    ) -> Iterator[tuple[Any, ...]]:
        """What is seen while a block learns; at the end also the clip clustered anew by it."""
        result = self.jobs.store.get(key)
        point = queries[-1] if queries else middle_of(result.analysis, int(position))
        losses: list[tuple[int, float, str]] = []
        with self.jobs.store.room(result):  # its clip is wanted when all is learned
            for step in self.jobs.adapt(key, int(steps)):
                losses += [(step.step, step.semantic, "semantic")]
                losses += [(step.step, step.motion, "motion")]
                if step.step % LOOK_EVERY == 0 or step.step in (1, step.steps):
                    seen = images.learned_frame(result.analysis, step.trained, point)
                    yield (strings.learning(step), *shown(chart(losses), seen), *UNCHANGED)
            yield (strings.clustering(step), *shown(chart(losses), seen), *UNCHANGED)
            adapted, video = self.jobs.adapted(key, step.trained)
        yield (strings.learned(step), gr.skip(), gr.skip(), *self._shown(adapted, video))

    def stop(self, key: str) -> None:
        """End what learns on a result after the step that it is at."""
        if key:
            self.jobs.stop(key)

    @politely
    def undo(self, key: str) -> tuple[Any, ...]:
        """The result as it was before it was adapted."""
        return self._shown(*self.jobs.undo(key))

    # ---- downloads -----------------------------------------------------------------------------

    @politely
    def make_files(
        self,
        key: str,
        clusters: int,
        edits: Edits,
        heatmap: str | None,
        progress: Any = gr.Progress(),
    ) -> Any:
        """All files to take home: one zip of everything, then each."""
        paths = self.jobs.files(key, int(clusters), edits, progress)
        found = [str(path) for path in paths]
        return gr.update(value=[*found, heatmap] if heatmap else found, visible=True)


def example_path(name: str) -> Path:
    """The clip of an example."""
    return EXAMPLES / f"{name}.mp4"
