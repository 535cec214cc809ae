"""Everything that the page, the HTTP API and MCP can ask for, independent of layout."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from bavos_core import Cancelled, Edit, InputError, Segmentation
from bavos_core.correlator import TrainedCorrelator
from bavos_core.export import CutOuts
from bavos_core.progress import Progress, silent
from bavos_io.clip import Clip
from bavos_lab.training import Step

from . import compute, images, strings
from .clips import WHOLE, Clips, Part
from .edits import Edits
from .examples import Example, Examples
from .files import Files
from .gpu import ZERO_GPU
from .images import HeatLook, ObjectsLook, Query, Tile
from .presets import PRESETS, Pace, Preset, usual_preset
from .runs import Job, Lane, Report, Runs, StopFlag, staged
from .settings import DemoSettings
from .store import Result, Store

_WARM_UP = "warm-up"  # not the id of any visitor's session
_MOST_CUTS = 4  # kept: one event on the page asks for the same cut several times

_Cut = tuple[str, int, tuple[Edit, ...]]  # id of a result, number of clusters, edits


class _GaveWay(Exception):
    """The warm-up gave way to a visitor."""


class Service:
    """The work behind the page. One object serves all users; its store keeps the results."""

    def __init__(
        self,
        settings: DemoSettings,
        examples: Sequence[Path] = (),
        *,
        whose: Callable[[], str] = str,
    ):
        """`whose` returns the session of the current request; by default all share one."""
        self.settings = settings
        self.store = Store(
            most_bytes=settings.store_mib * 2**20, keep_seconds=settings.keep_seconds, whose=whose
        )
        self.clips = Clips(settings)
        self.files = Files(self.store, self.clips)
        self.examples = Examples(examples, self.store)
        self.pace = Pace()
        self.runs = Runs()
        self.lane = Lane()
        self._cuts: OrderedDict[_Cut, Segmentation] = OrderedDict()
        self._cuts_lock = threading.Lock()

    def leave(self, session: str) -> None:
        """Cancel the run of a session that ended and drop its results."""
        self.runs.cancel(session)
        self.store.drop_all_of(session)

    def close(self) -> None:
        """Cancel all runs and delete all files."""
        self.runs.cancel_all()
        self.store.close()

    # ---- segment -------------------------------------------------------------------------------

    def segment(
        self,
        path: str | None,
        backbone: str,
        preset: Preset,
        report: Report,
        *,
        part: Part = WHOLE,
    ) -> tuple[Result, Path]:
        """Analyse a clip, or a part of a video, in seconds.

        Return the stored result and its overlay video at preview size. Whole examples are analysed
        once for all visitors. Raise InputError for a clip or for settings that cannot be used, and
        whatever `report` raises.
        """
        clip = self.clips.open(path, part)
        source = Path(str(path))
        self.store.touch(source)
        plan = compute.plan(self.settings, backbone, preset)
        example = self.examples.find(source) if part == WHOLE else None
        with self.lane.turn((example, plan.settings), report):
            done = self.examples.get(example, plan.settings) if example else None
            if done:
                return self._repeated(done)
            result, overlay = self._segmented(clip, example or source, plan, report)
            if example:
                self.examples.keep(example, plan.settings, result, overlay)
        return result, overlay

    def _repeated(self, done: Example) -> tuple[Result, Path]:
        """Store a new result of an example that is already analysed."""
        with self.store.put(done.analysis, done.clip, done.notices) as result:
            cut = result.analysis.segment()
            self.files.keep_overlay(result, cut, done.overlay)
            overlay = self.files.overlay(result, cut)
            return self.store.painted(result, done.painting_seconds), overlay

    def _segmented(
        self, clip: Clip, path: Path, plan: compute.Plan, report: Report
    ) -> tuple[Result, Path]:
        progress = staged(report)
        analysis = compute.run_analysis(clip, plan.settings, silent if ZERO_GPU else progress)
        with self.store.put(analysis, path, (*plan.notices, *analysis.notes)) as result:
            result, overlay = self._first_overlay(
                result, progress, self.clips.small(path, clip.part)
            )
        self.pace.learn(analysis, result.painting_seconds)
        return result, overlay

    def _first_overlay(
        self, result: Result, progress: Progress, clip: Clip | None = None
    ) -> tuple[Result, Path]:
        """Paint the overlay of a new result; return the result with the seconds that this took."""
        start = time.perf_counter()
        cut = result.analysis.segment()
        overlay = self.files.overlay(result, cut, progress=progress, clip=clip)
        return self.store.painted(result, time.perf_counter() - start), overlay

    def warm_up(self, backbone: str) -> None:
        """Analyse the examples before the first visitor asks for them, until `close`."""
        with self.runs.cancellable(_WARM_UP) as stop, contextlib.suppress(Cancelled):
            for example in self.examples.clips:
                while not self._warmed_up(example, backbone, stop):
                    stop.wait(0.5)

    def _warmed_up(self, example: Path, backbone: str, stop: StopFlag) -> bool:
        """Analyse an example; return False if this gave way to a visitor."""
        preset = PRESETS[usual_preset()]
        try:
            job: Job = (example, compute.plan(self.settings, backbone, preset).settings)

            def give_way(_share: float, _doing: str) -> None:
                if self.lane.is_wanted(job):
                    raise _GaveWay

            result, _ = self.segment(str(example), backbone, preset, stop.raising(give_way))
        except _GaveWay:
            return False
        except InputError:
            return True  # visitors who choose this example get the message
        self.store.drop(result.id)
        return True

    # ---- adapt ---------------------------------------------------------------------------------

    def adapt(self, key: str, steps: int) -> Iterator[Step]:
        """Train a correlator on the clip of a result and yield every step, until `stop`.

        Training starts from the correlator that the result is clustered with, if any. Raise
        InputError for a number of steps that the server does not allow.
        """
        if not 1 <= steps <= self.settings.max_steps:
            raise InputError(f"{steps} steps were requested; give 1 to {self.settings.max_steps}.")
        result = self.store.get(key)
        result.stop.clear()
        analysis = result.analysis
        start = analysis.correlator if analysis.source == "correlator" else None
        for step in compute.run_adaptation(analysis.tokens, analysis.grid, steps, start):
            yield step
            if result.stop.is_set():
                return

    def stop(self, key: str) -> None:
        """End the training on a result after its current step."""
        self.store.get(key).stop.set()

    def adapted(self, key: str, correlator: TrainedCorrelator) -> tuple[Result, Path]:
        """Cluster a result again with another correlator; return a new result and its overlay."""
        old = self.store.get(key)
        notices = tuple(dict.fromkeys((*old.notices, strings.ADAPTED)))
        with self.store.room(old) as folder:
            analysis = compute.run_reclustering(old.analysis, correlator)
            with self.store.put(analysis, folder / old.clip, notices, before=old.id) as result:
                return self._first_overlay(result, silent)

    def undo(self, key: str) -> tuple[Result, Path]:
        """Return the result that this one was adapted from, and its overlay."""
        before = self.store.get(key).before
        if before is None:
            raise InputError("This result was not adapted; there is nothing to undo.")
        result = self.store.get(before)
        return result, self.files.overlay(result, result.analysis.segment())

    # ---- results -------------------------------------------------------------------------------

    def cut(
        self, key: str, n_clusters: int, edits: Edits | None = None
    ) -> tuple[Result, Segmentation]:
        """Return a stored result and its cut into a number of clusters, with the edits applied."""
        result = self.store.get(key)
        made = edits.edits if edits else ()
        asked = key, n_clusters, made
        with result.cutting:
            cut = self._cuts.get(asked)
            if cut is None:
                cut = result.analysis.edited(*made).segment(n_clusters=n_clusters)
            with self._cuts_lock:
                self._cuts[asked] = cut
                self._cuts.move_to_end(asked)
                while len(self._cuts) > _MOST_CUTS:
                    self._cuts.popitem(last=False)
        return result, cut

    def original(self, key: str, position: int) -> np.ndarray:
        """Return an analysed frame (H, W, 3) uint8."""
        result = self.store.get(key)
        result.check_position(position)
        return result.analysis.frames[position]

    def frame(self, key: str, position: int, n_clusters: int, look: ObjectsLook) -> np.ndarray:
        """Return an analysed frame with its objects painted (H, W, 3) uint8."""
        result, cut = self.cut(key, n_clusters, look.edits)
        result.check_position(position)
        return images.objects_frame(result.analysis, cut, position, look)

    def attention(
        self, key: str, queries: Sequence[Query], look: HeatLook
    ) -> tuple[Result, np.ndarray]:
        """Return a result and the attention rows (Q, T, h, w) of the queries."""
        result = self.store.get(key)
        return result, result.analysis.attend_all(queries, head=look.head, source=look.source)

    def tiles(
        self, key: str, queries: Sequence[Query], position: int, look: HeatLook, what: str
    ) -> list[Tile]:
        """Return small heatmaps: all queries over "time", or the last by "sources" or "heads"."""
        result, rows = self.attention(key, queries, look)
        result.check_position(position)
        match what:
            case "sources":
                return images.by_source(result.analysis, position, queries[-1], look)
            case "heads":
                return images.by_head(result.analysis, position, queries[-1], look)
        return images.over_time(result.analysis, rows, queries, look)

    def node(self, key: str, node: int) -> list[Tile]:
        """Return the patches of a node of the hierarchy in every analysed frame."""
        result = self.store.get(key)
        last = 2 * result.analysis.tree.leaves - 2
        if not 0 <= node <= last:
            raise InputError(f"Node {node} does not exist; give 0 to {last}.")
        return images.node_over_time(result.analysis, node)

    def downloads(
        self,
        key: str,
        n_clusters: int,
        edits: Edits,
        progress: Progress = silent,
        cut_outs: CutOuts | None = None,
    ) -> list[Path]:
        """Return all files of a cut with its edits: one zip of everything, then each."""
        return self.files.downloads(*self.cut(key, n_clusters, edits), progress, cut_outs)
