"""What the page and its HTTP API do, without any layout: check, analyse, draw, export."""

from __future__ import annotations

import contextlib
import filecmp
import functools
import hashlib
import shutil
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from gradio.processing_utils import save_file_to_cache
from PIL import Image
from torch import Tensor

from bavos_core import (
    Analysis,
    BackboneUnavailable,
    Cancelled,
    Edit,
    InputError,
    Segmentation,
    Settings,
    analyse,
    backbones,
    export,
    open_clip,
    recluster,
)
from bavos_core.download import FileOrUrl
from bavos_core.files import atomic_write
from bavos_core.progress import Progress, Stage, silent
from bavos_core.settings import FRAMES_ON_CUDA, Compute
from bavos_core.video import Clip, VideoWriter, playback
from bavos_lab.training import Step, TrainedCorrelator, adapting, write_correlator

from . import images, strings
from .edits import Edits
from .gpu import ZERO_GPU, on_gpu
from .images import HeatLook, ObjectsLook, Query, Tile
from .presets import PRESETS, Pace, Preset, usual_preset
from .settings import DemoSettings
from .store import Result, Store

Report = Callable[[float, str], None]  # share done 0 … 1, what is being done

_STAGES = {  # where each stage begins and ends in the progress bar
    "decode": (0.0, 0.05),
    "features": (0.05, 0.3),
    "attention and clustering": (0.3, 0.65),
    "instances": (0.65, 0.7),
    Stage.MASKS: (0.7, 1.0),
}


def staged(report: Report) -> Progress:
    """Progress of single stages as progress of the whole."""

    def progress(stage: Stage, share: float) -> None:
        begin, end = _STAGES[stage]
        report(begin + share * (end - begin), stage)

    return progress


class StopFlag(threading.Event):
    """A wish to stop, heard by whoever reports progress."""

    def raising(self, report: Report) -> Report:
        """The same report, which raises Cancelled once the flag is set."""

        def told(share: float, stage: str) -> None:
            if self.is_set():
                raise Cancelled
            report(share, stage)

        return told


_LEVEL_FPS = 12
_WARM_UP = "warm-up"  # no visitor's session
_MOST_EXAMPLES = 16  # kept analysed: each clip in each quality and by each backbone
_MOST_CUTS = 4  # kept: one event on the page asks for the same cut several times


@dataclass(frozen=True)
class Example:
    """An example that is analysed already; the same for everybody."""

    analysis: Analysis
    clip: Path
    notices: tuple[str, ...]
    overlay: Path


Job = tuple[Path | None, Settings]  # an example, or None for any other clip
_Cut = tuple[str, int, tuple[Edit, ...]]  # a result, a number of clusters, edits


class _GaveWay(Exception):
    """Warming up made room for a visitor."""


class Jobs:
    """The work behind the page. One object serves all users; results are kept in its store."""

    def __init__(
        self,
        settings: DemoSettings,
        examples: Sequence[Path] = (),
        *,
        whose: Callable[[], str] = str,
    ):
        """`whose` tells the session that asks; without one, everything is one visitor's."""
        self.settings = settings
        self.examples = examples
        self.store = Store(
            most_bytes=settings.store_mib * 2**20, keep_seconds=settings.keep_seconds, whose=whose
        )
        self.pace = Pace()
        self._running: dict[str, StopFlag] = {}
        self._analysing = threading.Lock()
        self._waiting: list[Job] = []  # jobs that wait for their turn
        self._examples: dict[tuple[Path, Settings], Example] = {}
        self._cuts: OrderedDict[_Cut, Segmentation] = OrderedDict()
        self._cuts_lock = threading.Lock()

    # ---- cancel --------------------------------------------------------------------------------

    @contextlib.contextmanager
    def cancellable(self, session: str) -> Iterator[StopFlag]:
        """A flag that `cancel` raises while the work inside runs."""
        flag = self._running.setdefault(session, StopFlag())
        try:
            yield flag
        finally:
            self._running.pop(session, None)

    def cancel(self, session: str) -> bool:
        """Ask what runs for a session to stop at its next report; whether something runs."""
        flag = self._running.get(session)
        if flag:
            flag.set()
        return flag is not None

    def leave(self, session: str) -> None:
        """Nobody waits for what runs for a session, and nobody can ask for its results again."""
        self.cancel(session)
        self.store.drop_all_of(session)

    def close(self) -> None:
        """Stop everything and delete everything."""
        for flag in tuple(self._running.values()):
            flag.set()
        self.store.close()

    # ---- clip ----------------------------------------------------------------------------------

    def open(self, path: str | None) -> Clip:
        """The clip at its own size, after the limits have been checked."""
        if not path:
            raise InputError("Choose a clip first: upload one or click an example.")
        return open_clip(path, limits=self.settings.limits)

    def _small(self, path: str | Path) -> Clip:
        """The clip at preview size, under the same limits."""
        return open_clip(path, max_side=self.settings.preview_side, limits=self.settings.limits)

    def preview(self, path: str | None) -> tuple[Path, Clip]:
        """The clip as a small video that every browser plays, and the clip itself."""
        clip = self.open(path)
        small = self._small(str(path))
        with self.store.preview_folder(Path(str(path))) as folder:
            target = folder / "original.mp4"
            if not target.exists():
                fps, order = playback(small.times)
                repeats = np.bincount(order, minlength=len(small.times))
                with VideoWriter(target, size=small.size, fps=fps) as video:
                    for frame, count in zip(small.read(), repeats, strict=False):
                        for _ in range(count):
                            video.write(frame)
            return self._outgoing(target), clip

    # ---- segment -------------------------------------------------------------------------------

    def segment(
        self, path: str | None, backbone: str, preset: Preset, report: Report
    ) -> tuple[Result, Path]:
        """Analyse a clip: the stored result and its overlay video at preview size.

        The examples are analysed once for everybody.
        """
        clip = self.open(path)
        self.store.touch(Path(str(path)))
        run_settings, notices = self._plan(backbone, preset)
        example = self._example(Path(str(path)))
        with self._alone(report, (example, run_settings)):
            done = self._examples.get((example, run_settings)) if example else None
            if done:
                return self._repeated(done)
            kept = example or Path(str(path))
            result, overlay = self._segmented(clip, kept, run_settings, notices, report)
            if example:
                self._remember(example, run_settings, result, overlay)
        return result, overlay

    @contextlib.contextmanager
    def _alone(self, report: Report, job: Job) -> Iterator[None]:
        """Wait until nothing else is analysed; warming up gives way to whoever waits."""
        self._waiting.append(job)
        try:
            while not self._analysing.acquire(timeout=0.2):
                report(0.0, "waiting until another clip is done")
        finally:
            self._waiting.remove(job)
        try:
            yield
        finally:
            self._analysing.release()

    def _repeated(self, done: Example) -> tuple[Result, Path]:
        """A result of its own of an example that is analysed already."""
        with self.store.put(done.analysis, done.clip, done.notices) as result:
            cut = result.analysis.segment()
            with self.store.room(result) as folder:
                shutil.copy(done.overlay, overlay_path(folder, cut, ObjectsLook()))
            return result, self.overlay(result, cut)

    def _segmented(
        self,
        clip: Clip,
        path: Path,
        run_settings: Settings,
        notices: tuple[str, ...],
        report: Report,
    ) -> tuple[Result, Path]:
        progress = staged(report)
        analysis = run_analysis(clip, run_settings, silent if ZERO_GPU else progress)
        with self.store.put(analysis, path, (*notices, *analysis.notes)) as result:
            start = time.perf_counter()
            overlay = self._first_overlay(result, progress)
            painting = {Stage.MASKS.value: time.perf_counter() - start}
        self.pace.learn(replace(analysis, timings={**analysis.timings, **painting}))
        return result, overlay

    def _remember(
        self, example: Path, run_settings: Settings, result: Result, overlay: Path
    ) -> None:
        kept = Path(shutil.copy(overlay, self.store.lasting_file(".mp4")))
        done = Example(result.analysis, example, result.notices, kept)
        self._examples[example, run_settings] = done
        while len(self._examples) > _MOST_EXAMPLES:
            oldest = self._examples.pop(next(iter(self._examples)))
            oldest.overlay.unlink(missing_ok=True)

    def _example(self, path: Path) -> Path | None:
        """The example that a file is a copy of, if it is one."""
        for example in self.examples:
            same_size = path.stat().st_size == example.stat().st_size
            if same_size and filecmp.cmp(path, example, shallow=False):
                return example
        return None

    def warm_up(self, backbone: str) -> None:
        """Analyse the examples, so that the first visitor need not wait; `close` ends it."""
        with self.cancellable(_WARM_UP) as stop, contextlib.suppress(Cancelled):
            for example in self.examples:
                while not self._warmed_up(example, backbone, stop):
                    stop.wait(0.5)

    def _warmed_up(self, example: Path, backbone: str, stop: StopFlag) -> bool:
        """Analyse an example; return whether that is done, or gave way to a visitor."""
        preset = PRESETS[usual_preset()]

        def give_way(_share: float, _stage: str) -> None:
            if any(other != job for other in self._waiting):
                raise _GaveWay

        try:
            job = (example, self._plan(backbone, preset)[0])
            result, _ = self.segment(str(example), backbone, preset, stop.raising(give_way))
        except _GaveWay:
            return False
        except InputError:
            return True  # whoever asks for this example is told why
        self.store.drop(result.id)
        return True

    def _first_overlay(self, result: Result, progress: Progress) -> Path:
        return self.overlay(result, result.analysis.segment(), report=progress)

    def _plan(self, backbone: str, preset: Preset) -> tuple[Settings, tuple[str, ...]]:
        """Return the settings of a run, and why if its backbone is not the one asked for."""
        if preset.patches > self.settings.max_patches:
            raise InputError(
                f"{preset.patches} patches; give at most {self.settings.max_patches} a frame."
            )
        own = backbones.canonical(backbone) == backbones.canonical(self.settings.backbone)
        weights = self.settings.weights if own else None
        name, substitute = backbones.resolve(backbone, weights=weights, may_wait=False)
        wanted = Settings(
            backbone=name,
            weights=weights,
            correlator=self.settings.correlator if own else "auto",
            frames=min(preset.frames, self.settings.max_frames),
            patches=preset.patches,
        )
        try:
            loaded_backbone(name, weights, Compute.choose(wanted).device)
        except BackboneUnavailable:
            bundled = replace(wanted, backbone=backbones.BUNDLED, weights=None, correlator="auto")
            return bundled, (backbones.unreachable(name),)
        return wanted, (substitute,) if substitute else ()

    # ---- adapt ---------------------------------------------------------------------------------

    def adapt(self, key: str, steps: int) -> Iterator[Step]:
        """Train a block on the clip of a result, from the block that it is clustered by, if any.

        Every step is told, with the block as it is then; it ends early once `stop` was called.
        """
        if not 1 <= steps <= self.settings.max_steps:
            raise InputError(f"{steps} steps; give 1 to {self.settings.max_steps}.")
        result = self.store.get(key)
        result.stop.clear()
        analysis = result.analysis
        start = analysis.correlator if analysis.source == "correlator" else None
        for step in run_adaptation(analysis.tokens, analysis.grid, steps, start):
            yield step
            if result.stop.is_set():
                return

    def stop(self, key: str) -> None:
        """End what `adapt` does for a result after the step that it is at."""
        self.store.get(key).stop.set()

    def adapted(self, key: str, block: TrainedCorrelator) -> tuple[Result, Path]:
        """A result clustered anew by another block, as a result of its own, and its overlay."""
        old = self.store.get(key)
        notices = (
            (*old.notices, strings.ADAPTED) if strings.ADAPTED not in old.notices else old.notices
        )
        with self.store.room(old) as folder:
            analysis = run_reclustering(old.analysis, block)
            with self.store.put(analysis, folder / old.clip, notices, before=old.id) as result:
                return result, self._first_overlay(result, lambda *_: None)

    def undo(self, key: str) -> tuple[Result, Path]:
        """The result that this one was adapted from, and its overlay."""
        before = self.store.get(key).before
        if before is None:
            raise InputError("This result was not adapted; there is nothing to undo.")
        result = self.store.get(before)
        return result, self.overlay(result, result.analysis.segment())

    # ---- pictures ------------------------------------------------------------------------------

    def cut(
        self, key: str, clusters: int, edits: Edits | None = None
    ) -> tuple[Result, Segmentation]:
        """A stored result cut into a number of clusters, with what a person changed."""
        result = self.store.get(key)
        made = edits.edits if edits else ()
        with result.cutting:
            cut = self._cuts.get((key, clusters, made))
            if cut is None:
                cut = result.analysis.edited(*made).segment(n_clusters=clusters)
            with self._cuts_lock:
                self._cuts[key, clusters, made] = cut
                self._cuts.move_to_end((key, clusters, made))
                while len(self._cuts) > _MOST_CUTS:
                    self._cuts.popitem(last=False)
        return result, cut

    def original(self, key: str, position: int) -> np.ndarray:
        """One analysed frame as it is (H, W, 3) uint8."""
        result = self.store.get(key)
        checked_position(result, position)
        return result.analysis.frames[position]

    def frame(self, key: str, position: int, clusters: int, look: ObjectsLook) -> np.ndarray:
        """One analysed frame with its objects painted (H, W, 3) uint8."""
        result, cut = self.cut(key, clusters, look.edits)
        checked_position(result, position)
        return images.objects_frame(result.analysis, cut, position, look)

    def attention(
        self, key: str, queries: Sequence[Query], look: HeatLook
    ) -> tuple[Result, np.ndarray]:
        """The attention rows (Q, T, h, w) of patches at (analysed frame, y, x)."""
        result = self.store.get(key)
        return result, result.analysis.attend_all(queries, head=look.head, source=look.source)

    def tiles(
        self, key: str, queries: Sequence[Query], position: int, look: HeatLook, what: str
    ) -> list[Tile]:
        """Small heatmaps: of all queries over "time", of the last by "sources" or "heads"."""
        result, rows = self.attention(key, queries, look)
        checked_position(result, position)
        match what:
            case "sources":
                return images.by_source(result.analysis, position, queries[-1], look)
            case "heads":
                return images.by_head(result.analysis, position, queries[-1], look)
        return images.over_time(result.analysis, rows, queries, look)

    def node(self, key: str, node: int) -> list[Tile]:
        """The patches of one node of the hierarchy over time."""
        result = self.store.get(key)
        last = 2 * result.analysis.tree.leaves - 2
        if not 0 <= node <= last:
            raise InputError(f"There is no node {node}; give 0 to {last}.")
        return images.node_over_time(result.analysis, node)

    # ---- files ---------------------------------------------------------------------------------

    def overlay(
        self,
        result: Result,
        cut: Segmentation,
        *,
        look: ObjectsLook | None = None,
        report: Progress = silent,
    ) -> Path:
        """The overlay video at preview size, of a cut with its edits; made once for every look."""
        look = look or ObjectsLook()
        with self.store.room(result) as folder, result.writing:
            path = overlay_path(folder, cut, look)
            if not path.exists():
                export.write_overlay(
                    path,
                    result.analysis,
                    cut,
                    self._small(folder / result.clip),
                    opacity=look.opacity,
                    show_background=look.background,
                    hidden=look.edits.unseen(cut),
                    style=look.style,
                    progress=report,
                )
            return self._outgoing(path)

    def picture_file(self, result: Result, picture: np.ndarray) -> Path:
        """A picture (H, W, 3) uint8 as PNG: whole or not there, for others may ask for the same.

        Gradio writes pictures that it gets as arrays while others read the same file.
        """
        with self.store.room(result) as folder:
            path = folder / f"picture-{_digest(picture.tobytes())}.png"
            if not path.exists():
                with atomic_write(path) as part:
                    Image.fromarray(picture).save(part)
            return self._outgoing(path)

    def heat_video(self, result: Result, row: np.ndarray, query: Query) -> Path:
        """The heatmap over all analysed frames, as a video."""
        with self.store.room(result) as folder, result.writing:
            path = folder / "heatmap.mp4"  # replaced at each click
            export.write_heatmap(path, result.analysis, row, None, query=query)
            return self._outgoing(path)

    def levels_video(self, key: str, position: int) -> Path:
        """One frame while the hierarchy grows, a second a level (paper, Fig. 5)."""
        result = self.store.get(key)
        checked_position(result, position)
        with self.store.room(result) as folder, result.writing:
            path = folder / f"levels-{position}.mp4"
            if not path.exists():
                tiles = images.level_pictures(result.analysis, position)
                with VideoWriter(path, size=result.analysis.size, fps=_LEVEL_FPS) as video:
                    for picture, _ in tiles:
                        for _ in range(_LEVEL_FPS):
                            video.write(picture)
            return self._outgoing(path)

    def files(self, key: str, clusters: int, edits: Edits, report: Report) -> list[Path]:
        """Everything that can be taken home, at the clip's own size; all of it in one zip first."""
        result, cut = self.cut(key, clusters, edits)
        told = repr((cut.tau, sorted(cut.names.items()), sorted(cut.splits.items())))
        with self.store.room(result) as room:
            folder = room / f"download-{_digest(*_content(cut), told.encode())}"
            if not folder.exists():
                with tempfile.TemporaryDirectory(dir=room) as place:
                    clip = self.open(str(room / result.clip))
                    part = self._write_files(Path(place), result.analysis, clip, cut, report)
                    with result.writing:
                        if not folder.exists():  # somebody else may have asked for the same
                            part.replace(folder)
            files = sorted(path for path in folder.iterdir() if path.is_file())
            files.sort(key=lambda path: path.name != "bavos.zip")
            return [self._outgoing(path) for path in files]

    def _outgoing(self, file: Path) -> Path:
        """The copy that Gradio sends of a file, made here, where the file is sure to be there.

        Gradio would make it when the handler has returned; it sends what is in its cache as it is.
        """
        return Path(save_file_to_cache(file, str(self.store.cache)))

    def _write_files(
        self, place: Path, analysis: Analysis, clip: Clip, cut: Segmentation, report: Report
    ) -> Path:
        """A folder of all files to take home, inside an empty one."""
        folder = place / "files"
        export.write_all(
            folder,
            analysis,
            cut,
            clip,
            progress=lambda stage, share: report(share, stage),
        )
        if analysis.correlator:
            write_correlator(folder / "correlator.safetensors", analysis.correlator)
        everything = shutil.make_archive(str(place / "bavos"), "zip", folder)
        shutil.make_archive(str(folder / "masks"), "zip", folder, "masks")
        Path(everything).replace(folder / "bavos.zip")
        return folder


def overlay_path(folder: Path, cut: Segmentation, look: ObjectsLook) -> Path:
    """Where the overlay video of a cut lies: the same for all looks that look the same."""
    shown = repr(
        (look.background, round(look.opacity, 3), look.style, sorted(look.edits.unseen(cut)))
    )
    return folder / f"objects-{_digest(*_content(cut), shown.encode())}.mp4"


def _content(cut: Segmentation) -> Iterator[bytes]:
    """Yield what a cut consists of, but for names."""
    for array in (cut.leaf_cluster, cut.labels, cut.soft.numpy(), cut.background):
        yield array.tobytes()


def _digest(*content: bytes) -> str:
    hasher = hashlib.sha256()
    for part in content:
        hasher.update(part)
    return hasher.hexdigest()[:16]


def checked_position(result: Result, position: int) -> None:
    """Raises InputError for a frame that was not analysed."""
    last = len(result.analysis.frames) - 1
    if not 0 <= position <= last:
        raise InputError(f"There is no analysed frame {position}; give 0 to {last}.")


@functools.lru_cache(maxsize=4)
def loaded_backbone(
    name: str, weights: FileOrUrl | None, device: torch.device
) -> backbones.Backbone:
    """A backbone, built once and shared by all users."""
    return backbones.load(name, weights=weights, device=device)


# What runs where the GPU is. Arguments and results must be picklable on ZeroGPU, so nothing reports
# from inside there. The seconds asked for are guesses from the CPU's share of the work; they were
# never measured on ZeroGPU.


def _analysis_seconds(_clip: Clip, settings: Settings, _progress: object) -> int:
    return 20 + (settings.frames or FRAMES_ON_CUDA)


@on_gpu(_analysis_seconds)
def run_analysis(clip: Clip, settings: Settings, progress: Progress) -> Analysis:
    """The costly call."""
    device = Compute.choose(settings).device
    backbone = loaded_backbone(settings.backbone, settings.weights, device)
    return analyse(clip, settings, backbone=backbone, progress=progress)


def _adaptation_seconds(_tokens: object, _grid: object, steps: int, _start: object) -> int:
    return 15 + steps // 10


@on_gpu(_adaptation_seconds)
def run_adaptation(
    tokens: Tensor, grid: tuple[int, int], steps: int, start: TrainedCorrelator | None
) -> Iterator[Step]:
    """Train on the features of one clip; each step with a copy of the block on the CPU."""
    for step in adapting(tokens, grid, steps=steps, start=start):
        yield replace(step, trained=step.trained.frozen_copy().to(torch.device("cpu")))


def _reclustering_seconds(analysis: Analysis, _block: object) -> int:
    return 10 + len(analysis.frames) // 2


@on_gpu(_reclustering_seconds)
def run_reclustering(analysis: Analysis, block: TrainedCorrelator) -> Analysis:
    """Cluster the attention of another block."""
    return recluster(analysis, block)
