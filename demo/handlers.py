"""What happens on each event of the page: between Gradio's values and `jobs.Jobs`."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import gradio as gr
import numpy as np
import pandas as pd

from bavos_core import Analysis, InputError, drawing, open_clip
from bavos_core.settings import Sources

from . import pictures, words
from .jobs import Jobs
from .pictures import Query, Tile
from .store import Result

Parameters = ParamSpec("Parameters")
EXAMPLES = Path(__file__).parent.parent / "assets" / "examples"
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
    """Turn bad input into what Gradio shows as a notice."""
    try:
        yield
    except InputError as error:
        raise gr.Error(str(error), duration=None, print_exception=False) from error


def heads_of(result: Result, source: Sources) -> Any:
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


def chosen_head(menu: object, analysis: Analysis, source: Sources) -> int | None:
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
            clip = open_clip(EXAMPLES / f"{example['name']}.mp4")
            picture = next(iter(clip.read([len(clip.times) // 3])))
            pictures.append((picture, str(example["title"])))
        return pictures

    # ---- clip ----------------------------------------------------------------------------------

    @politely
    def show_clip(self, path: str | None) -> tuple[Any, ...]:
        """Original video, empty overlay, a sentence about the clip."""
        if not path:
            return None, None, words.limits(self.jobs.settings)
        video, clip = self.jobs.preview(path)
        return video, None, words.about(clip, self.jobs.settings)

    def take_example(self, event: gr.SelectData) -> str:
        """The clip of the example that was clicked."""
        return str(EXAMPLES / f"{self.examples[event.index]['name']}.mp4")

    @politely
    def segment(
        self, path: str | None, backbone: str, frames: int, progress: Any = gr.Progress()
    ) -> tuple[Any, ...]:
        """Everything that a new result changes, in the order of `page.RESULT_OUTPUTS`."""
        return self._shown(*self.jobs.segment(path, backbone, int(frames), progress))

    def _shown(self, result: Result, video: Path) -> tuple[Any, ...]:
        """Everything that another result changes, in the order of `page.result_outputs`."""
        analysis = result.analysis
        last = len(analysis.frames) - 1
        clusters = analysis.segment().clusters
        parts = max(min(analysis.tree.leaves, drawing.MAX_PARTS), clusters, 2)
        sources = [(words.SOURCES[s], s) for s in analysis.sources()]
        return (
            result.id,
            video,
            words.report(result),
            gr.Column(visible=True),
            gr.Slider(minimum=0, maximum=max(last, 1), value=last // 2, interactive=last > 0),
            gr.Slider(minimum=1, maximum=parts, value=clusters),
            gr.Radio(sources, value=analysis.source),
            heads_of(result, analysis.source),
            gr.File(visible=False, value=None),
            gr.Button(interactive=result.before is not None),
        )

    def forget_query(self) -> tuple[Any, ...]:
        """No point is clicked and nothing was learned: what a new clip starts with."""
        return None, None, None, words.CLICK, None, words.ADAPT, None, None

    # ---- objects -------------------------------------------------------------------------------

    @politely
    def paint(
        self, key: str, position: int, clusters: int, background: bool, opacity: float
    ) -> np.ndarray | None:
        """The shown frame with its objects."""
        if not key:
            return None
        return self.jobs.frame(key, int(position), int(clusters), background, opacity)

    @politely
    def describe(self, key: str, clusters: int) -> tuple[str | None, str | None]:
        """List of objects and picture of the hierarchy."""
        if not key:
            return None, None
        result, cut = self.jobs.cut(key, int(clusters))
        svg = drawing.hierarchy_svg(result.analysis.tree, cut.tau, cut.background)
        return words.legend(cut), svg

    @politely
    def repaint_video(self, key: str, clusters: int, background: bool) -> Path:
        """The overlay video at another granularity."""
        result, cut = self.jobs.cut(key, int(clusters))
        return self.jobs.overlay(result, cut, background=background)

    # ---- attention -----------------------------------------------------------------------------

    def click(self, position: int, event: gr.SelectData) -> Query:
        """The clicked point; the middle of its pixel."""
        x, y = event.index
        return int(position), y + 0.5, x + 0.5

    @politely
    def attend(
        self, key: str, query: Query | None, position: int, source: Sources, head: int
    ) -> np.ndarray | None:
        """The shown frame under the heatmap of the clicked point."""
        if not (key and query):
            return None
        analysis = self.jobs.store.get(key).analysis
        chosen = chosen_head(head, analysis, source)
        result, row = self.jobs.attention(key, query, chosen, source)
        return pictures.heat_frame(result.analysis, row, int(position), query)

    @politely
    def attend_over_time(
        self, key: str, query: Query | None, source: Sources, head: int
    ) -> tuple[Path | None, str]:
        """The heatmap video, and the row in numbers."""
        if not (key and query):
            return None, words.CLICK
        analysis = self.jobs.store.get(key).analysis
        chosen = chosen_head(head, analysis, source)
        result, row = self.jobs.attention(key, query, chosen, source)
        return self.jobs.heat_video(result, row, query), words.attention(row, query[0])

    @politely
    def list_heads(self, key: str, source: Sources) -> Any:
        """The head menu of another source."""
        return heads_of(self.jobs.store.get(key), source)

    @politely
    def compare(
        self,
        key: str,
        query: Query | None,
        position: int,
        source: Sources,
        head: int,
        what: str,
    ) -> list[Tile] | None:
        """Small heatmaps of the clicked point: over time, of all sources, or of all heads."""
        if not (key and query):
            return None
        chosen = chosen_head(head, self.jobs.store.get(key).analysis, source)
        return self.jobs.tiles(key, query, int(position), source, chosen, what)

    # ---- adapt ---------------------------------------------------------------------------------

    @politely
    def adapt(
        self, key: str, query: Query | None, position: int, steps: int
    ) -> Iterator[tuple[Any, ...]]:
        """What is seen while a block learns; at the end also the clip clustered anew by it."""
        analysis = self.jobs.store.get(key).analysis
        point = query or middle_of(analysis, int(position))
        losses: list[tuple[int, float, str]] = []
        for step in self.jobs.adapt(key, int(steps)):
            losses += [(step.step, step.semantic, "semantic"), (step.step, step.motion, "motion")]
            if step.step % LOOK_EVERY == 0 or step.step in (1, step.steps):
                seen = pictures.learned_frame(analysis, step.trained, point)
                yield (words.learning(step), chart(losses), seen, *UNCHANGED)
        yield (words.clustering(step), chart(losses), seen, *UNCHANGED)
        result, video = self.jobs.adapted(key, step.trained)
        yield (words.learned(step), gr.skip(), gr.skip(), *self._shown(result, video))

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
        self, key: str, clusters: int, heatmap: str | None, progress: Any = gr.Progress()
    ) -> Any:
        """All files to take home."""
        paths = self.jobs.files(key, int(clusters), heatmap, progress)
        return gr.File(value=[str(path) for path in paths], visible=True)
