"""Everything that the page, the HTTP API and MCP can ask for, independent of layout."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bavos_core import Cancelled, InputError, Segmentation, Settings
from bavos_core.correlator import TrainedCorrelator
from bavos_core.export import CutOuts
from bavos_core.progress import Stage, silent
from bavos_core.settings import AttentionSource
from bavos_io.clip import Clip
from bavos_io.stopping import stoppable
from bavos_lab.training import Step

from . import compute, images, strings
from .budget import Budget
from .clips import WHOLE, Clips, Part
from .edits import Edits, Look
from .examples import ARRIVES, Examples
from .files import Files
from .gpu import ZERO_GPU
from .images import Query
from .jobs import Jobs
from .parts import ARRIVAL, Parts
from .presets import PRESETS, Pace, Preset, usual_preset
from .runs import Kind, StopFlag, held, single, staged, stopped_by
from .sessions import Visitor, visitor
from .settings import DemoSettings
from .store import Result, Store
from .turns import Busy, Report, unheard

_PATIENCE = 8.0  # seconds that the end waits for jobs
_MOST_CUTS = 4  # kept: one event on the page asks for the same cut several times

_Cut = tuple[str, int, Edits]  # id of a result, number of clusters, edits


class _GaveWay(Exception):
    """The warm-up gave way to a visitor."""


@dataclass(frozen=True)
class _Task:
    """A clip that is to be segmented, and how."""

    clip: Clip
    source: Path
    plan: compute.Plan
    example: Path | None  # of which the source is a copy

    @property
    def purpose(self) -> tuple[Path | None, Settings]:
        """The same for tasks that have the same result for all visitors."""
        return self.example, self.plan.settings


class Service:
    """The work behind the page. One object serves all users; its store keeps the results."""

    def __init__(
        self,
        settings: DemoSettings,
        examples: Sequence[Path] = (),
        *,
        whose: Callable[[], Visitor] = visitor,
    ):
        """`whose` returns who makes the current request."""
        self.settings = settings
        self.store = Store(
            most_bytes=settings.store_mib * 2**20,
            keep_seconds=settings.keep_seconds,
            grace_seconds=settings.grace_seconds,
            most_disk=settings.disk_mib * 2**20,
            whose=whose,
        )
        self.clips = Clips(settings)
        self.files = Files(self.store, self.clips)
        self.examples = Examples(examples, self.store)
        self.pace = Pace([preset.within(settings) for preset in PRESETS.values()])
        self.budget = Budget(settings, self.pace)
        self.jobs = Jobs(settings.queue_size, whose)
        self.parts = Parts(self.store, self.clips, self.jobs.lane)
        self._cuts: OrderedDict[_Cut, Segmentation] = OrderedDict()
        self._cuts_lock = threading.Lock()

    def leave(self, session: str) -> None:
        """Cancel all jobs of a session that ended; its results are kept for a while."""
        self.jobs.runs.cancel(session)
        self.store.leave(session)

    def stop(self) -> bool:
        """Cancel all jobs, and wait for a while until they have ended; return whether they have."""
        until = time.monotonic() + _PATIENCE
        self.jobs.runs.cancel_all()
        self.parts.close(_PATIENCE)
        return self.jobs.runs.ended(until - time.monotonic())

    def close(self) -> None:
        """Do as `stop`, and delete all files."""
        self.stop()
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
    ) -> Result:
        """Analyse a clip, or a part of a video, in seconds, and store the result.

        A whole example is analysed once for all visitors at each preset. Raise InputError for a
        clip or settings that cannot be used, Busy if too many jobs wait, and whatever `report`
        raises.
        """
        task = self._prepared(path, backbone, preset, report, part)
        if done := self._done(task):
            return done
        with self._segmenting(task, report) as result:
            return result

    def painted(
        self,
        path: str | None,
        backbone: str,
        preset: Preset,
        report: Report,
        *,
        part: Part = WHOLE,
    ) -> tuple[Result, Path]:
        """Do as `segment`, and paint the overlay video at preview size in the same turn."""
        task = self._prepared(path, backbone, preset, report, part)
        with self._segmenting(task, report) as result:
            cut = result.analysis.segment()
            return result, self.files.overlay(result, cut, single(report))

    def _prepared(
        self, path: str | None, backbone: str, preset: Preset, report: Report, part: Part
    ) -> _Task:
        with self.jobs.briefly(report):
            clip = self.clips.open(path, part)
            source = Path(str(path))
            self.store.touch(source)
            plan = self.budget.afforded(clip, compute.plan(self.settings, backbone, preset))
            usual = part == WHOLE and preset.within(self.settings) in self.pace.usual
            example = self.examples.find(source) if usual else None
        return _Task(clip, source, plan, example)

    def _done(self, task: _Task) -> Result | None:
        """Return the result of an example that has been made, if it has, for whoever asks."""
        done = task.example and self.examples.get(task.example, task.plan.settings)
        return self.store.visit(done.id) if done else None

    @contextlib.contextmanager
    def _segmenting(self, task: _Task, report: Report) -> Iterator[Result]:
        """Yield the result of a task in a turn, which ends with the block."""
        with self.jobs.costly(report, task.purpose):
            if done := self._done(task):
                yield done
                return
            result = self._analysed(task, report)
            if task.example:
                self.examples.keep(task.example, task.plan.settings, result)
            yield result
        self.parts.fill(result)

    def _analysed(self, task: _Task, report: Report) -> Result:
        plan, clip, path = task.plan, task.clip, task.example or task.source
        progress = silent if ZERO_GPU else staged(self.budget.deadline(report))
        analysis = compute.run_analysis(clip, plan.settings, progress)
        self.pace.learn(analysis)
        self.clips.took(path, clip.part, analysis.timings[Stage.DECODE.value])
        with self.store.put(analysis, path, (*plan.notices, *analysis.notes)) as result:
            return result

    def expected(self, path: str, backbone: str, preset: Preset) -> float | None:
        """Return the seconds that a run is expected to take, if this server can tell.

        The first call for a clip reads it, which tells how long that takes.
        """
        name = compute.plan(self.settings, backbone, preset).settings.backbone
        decoding = self.clips.seconds_to_read(Path(path))
        used = min(preset.frames, self.settings.max_frames, len(self.clips.open(path).times))
        return self.pace.seconds(name, replace(preset, frames=used), decoding)

    def arrived(self) -> Result | None:
        """Return this server's own result of the example that is shown on arrival, once made."""
        return self.examples.first_of(ARRIVES)

    def warm_up(self, backbone: str) -> None:
        """Analyse the examples before the first visitor asks for them, until `close`."""
        with (
            self.jobs.runs.cancellable(Kind.SEGMENTING, object()) as stop,
            contextlib.suppress(Cancelled),
            stoppable(stop.check),
        ):
            for example in self.examples.clips:
                while not self._warmed_up(example, backbone, stop):
                    stop.wait(0.5)

    def _warmed_up(self, example: Path, backbone: str, stop: StopFlag) -> bool:
        """Analyse an example; return False if this gave way to a visitor."""
        preset = PRESETS[usual_preset()].within(self.settings)
        try:
            purpose = example, compute.plan(self.settings, backbone, preset).settings

            def give_way(_share: float, _doing: str) -> None:
                if self.jobs.lane.is_wanted(purpose):
                    raise _GaveWay

            self.segment(str(example), backbone, preset, stop.raising(give_way))
        except (_GaveWay, Busy):
            return False
        except InputError:
            pass  # visitors who choose this example get the message
        return True

    # ---- adapt ---------------------------------------------------------------------------------

    def adapt(
        self, key: str, steps: int, enough: threading.Event, stop: StopFlag | None = None
    ) -> Iterator[Step]:
        """Train a correlator on the clip of a result and yield every step, until there is enough.

        This and `adapted` belong into one turn of the lane. stop: ends also a step, with Cancelled.
        Training starts from the correlator that the result is clustered with, if any. Raise
        InputError for a number of steps that the server does not allow.
        """
        if not 1 <= steps <= self.settings.max_steps:
            raise InputError(f"{steps} steps were requested; give 1 to {self.settings.max_steps}.")
        analysis = self.result(key).analysis
        start = analysis.correlator if analysis.source == "correlator" else None
        training = compute.run_adaptation(analysis.tokens, analysis.grid, steps, start)
        while step := _next(training, stop):
            yield step
            if enough.is_set():
                return

    def adapted(
        self, key: str, correlator: TrainedCorrelator, stop: StopFlag | None = None
    ) -> Result:
        """Cluster a result again with another correlator; return a new result.

        stop: ends it, with Cancelled.
        """
        old = self.result(key)
        notices = tuple(dict.fromkeys((*old.notices, strings.ADAPTED)))
        with self.store.room(old) as folder, stopped_by(stop):
            analysis = compute.run_reclustering(old.analysis, correlator)
            with self.store.put(analysis, folder / old.clip, notices, before=old.id) as result:
                self.parts.fill(result)
                return result

    def undo(self, key: str) -> Result:
        """Return the result that this one was adapted from."""
        before = self.store.get(key).before
        if before is None:
            raise InputError("This result was not adapted; there is nothing to undo.")
        return self.store.get(before)

    # ---- results -------------------------------------------------------------------------------

    def result(self, key: str) -> Result:
        """Return a stored result; for the example on arrival, this server's own result of it."""
        if key != ARRIVAL:
            return self.store.get(key)
        if own := self.arrived():
            return own
        raise InputError(strings.WARMING_UP)

    def delete(self, key: str) -> None:
        """Delete a result and its files now; examples are for everybody and stay."""
        if self.store.get(key).example:
            raise InputError(strings.EXAMPLE_STAYS)
        self.store.drop(key)

    def cut(self, key: str, n_clusters: int, edits: Edits = ()) -> tuple[Result, Segmentation]:
        """Return a stored result and its cut into a number of clusters, with the edits applied."""
        result = self.result(key)
        asked = result.id, n_clusters, edits
        with held(result.cutting):
            cut = self._cuts.get(asked)
            if cut is None:
                cut = result.analysis.edited(*edits).segment(n_clusters=n_clusters)
            with self._cuts_lock:
                self._cuts[asked] = cut
                self._cuts.move_to_end(asked)
                while len(self._cuts) > _MOST_CUTS:
                    self._cuts.popitem(last=False)
        return result, cut

    def frame(self, key: str, position: int, n_clusters: int, edits: Edits) -> np.ndarray:
        """Return an analysed frame with its objects painted (H, W, 3) uint8."""
        result, cut = self.cut(key, n_clusters, edits)
        result.check_position(position)
        return images.objects_frame(result.analysis, cut, position)

    def attention(
        self, key: str, query: Query, source: AttentionSource | None, head: int | None
    ) -> tuple[Result, np.ndarray]:
        """Return a result and the attention row (T, h, w) of a query."""
        result = self.result(key)
        return result, result.analysis.attend(*query, head=head, source=source)

    def exact(
        self, key: str, place: Query, source: AttentionSource | None, head: int | None
    ) -> list[float]:
        """Return the attention row of a place, y and x in 0 … 1, as numbers in order."""
        (height, width), (sample, y, x) = self.result(key).analysis.size, place
        _, row = self.attention(key, (sample, y * height, x * width), source, head)
        return row.ravel().tolist()

    def html(self, key: str, state: Mapping[str, object], report: Report = unheard) -> Path:
        """Return a result as one HTML file that works offline, in the state of a viewer."""
        result = self.result(key)
        Look.of(state)  # raises InputError for what is none
        with self.jobs.costly(report):
            return self.files.html(result, state)

    def downloads(
        self,
        key: str,
        n_clusters: int,
        edits: Edits,
        report: Report = unheard,
        cut_outs: CutOuts | None = None,
    ) -> list[Path]:
        """Return all files of a cut with its edits: one zip of everything, then each."""
        with self.jobs.costly(report):
            found = self.cut(key, n_clusters, edits)
            return self.files.downloads(*found, single(report), cut_outs)


def _next(steps: Iterator[Step], stop: StopFlag | None) -> Step | None:
    """Return the next step, or None after the last one."""
    with stopped_by(stop):
        return next(steps, None)
