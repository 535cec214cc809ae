"""What the page and its HTTP API do, without any layout: check, analyse, draw, export."""

from __future__ import annotations

import functools
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from bavos_core import (
    Analysis,
    BackboneUnavailable,
    InputError,
    Segmentation,
    Settings,
    analyse,
    backbones,
    drawing,
    export,
    open_clip,
)
from bavos_core.download import FileOrUrl
from bavos_core.settings import Compute, Sources
from bavos_core.video import Clip, VideoWriter, playback

from .gpu import ZERO_GPU, on_gpu
from .settings import DemoSettings
from .store import Result, Store

Report = Callable[[float, str], None]  # share done 0 … 1, what is being done

_STAGES = {  # where each stage begins and ends in the progress bar
    "decode": (0.0, 0.05),
    "features": (0.05, 0.3),
    "attention and clustering": (0.3, 0.7),
    "painting the video": (0.7, 1.0),
}


class Jobs:
    """The work behind the page. One object serves all users; results are kept in its store."""

    def __init__(self, settings: DemoSettings):
        self.settings = settings
        self.store = Store(settings.stored_results)

    # ---- clip ----------------------------------------------------------------------------------

    def open(self, path: str | None) -> Clip:
        """The clip at its own size, after the limits have been checked."""
        if not path:
            raise InputError("Choose a clip first: upload one or click an example.")
        file = Path(path)
        if file.is_file() and file.stat().st_size > self.settings.max_upload_mib * 2**20:
            raise InputError(
                f"The file is larger than {self.settings.max_upload_mib} MiB; give a shorter clip."
            )
        clip = open_clip(file)
        if clip.times[-1] > self.settings.max_seconds:
            raise InputError(
                f"The clip lasts {clip.times[-1]:.0f} s, the limit here is "
                f"{self.settings.max_seconds} s; cut it, or run Bavos on your own machine."
            )
        return clip

    def preview(self, path: str | None) -> tuple[Path, Clip]:
        """The clip as a small video that every browser plays, and the clip itself."""
        clip = self.open(path)
        small = open_clip(str(path), max_side=self.settings.preview_side)
        target = self.store.preview_folder(Path(str(path))) / "original.mp4"
        fps, order = playback(small.times)
        repeats = np.bincount(order, minlength=len(small.times))
        with VideoWriter(target, size=small.size, fps=fps) as video:
            for frame, count in zip(small.read(), repeats, strict=False):
                for _ in range(count):
                    video.write(frame)
        return target, clip

    # ---- segment -------------------------------------------------------------------------------

    def segment(
        self, path: str | None, backbone: str, frames: int, report: Report
    ) -> tuple[Result, Path]:
        """Analyse a clip: the stored result and its overlay video at preview size."""

        def progress(stage: str, share: float) -> None:
            begin, end = _STAGES[stage]
            report(begin + share * (end - begin), stage)

        clip = self.open(path)
        frames = min(frames, self.settings.max_frames)
        name, notices = self._within_reach(backbone)
        run_settings = self._settings_for(name, frames)
        analysis = run_analysis(clip, run_settings, None if ZERO_GPU else progress)
        result = self.store.put(analysis, Path(str(path)), (*notices, *analysis.notes))
        start = time.perf_counter()
        overlay = self.overlay(
            result, analysis.segment(), report=lambda s: progress("painting the video", s)
        )
        analysis.timings["masks and video"] = time.perf_counter() - start
        return result, overlay

    def _within_reach(self, backbone: str) -> tuple[str, tuple[str, ...]]:
        """The backbone to use, and why if it is not the one that was asked for."""
        try:
            run_settings = self._settings_for(backbone, 1)
            loaded_backbone(backbone, run_settings.weights, Compute.choose(run_settings).device)
        except BackboneUnavailable:
            return backbones.BUILTIN, (
                f"The weights of {backbone} cannot be reached from here, so the built-in "
                "descriptors were used instead.",
            )
        return backbone, ()

    def _settings_for(self, backbone: str, frames: int) -> Settings:
        own = backbone == self.settings.backbone
        return Settings(
            backbone=backbone,
            weights=self.settings.weights if own else None,
            correlator=self.settings.correlator if own else "auto",
            frames=frames,
        )

    # ---- pictures ------------------------------------------------------------------------------

    def cut(self, key: str, clusters: int) -> tuple[Result, Segmentation]:
        """A stored result cut into a number of clusters."""
        result = self.store.get(key)
        return result, result.analysis.segment(clusters=clusters)

    def frame(
        self, key: str, position: int, clusters: int, background: bool, opacity: float
    ) -> np.ndarray:
        """One analysed frame with its objects painted (H, W, 3) uint8."""
        result, cut = self.cut(key, clusters)
        last = len(result.analysis.frames) - 1
        if not 0 <= position <= last:
            raise InputError(f"There is no analysed frame {position}; give 0 to {last}.")
        colours, alpha = drawing.cluster_paint(
            cut.background, opacity=opacity, show_background=background
        )
        return export.analysed_mask(result.analysis, cut, position).painted(colours, alpha)

    def attention(
        self, key: str, query: tuple[int, float, float], head: int | None, source: Sources
    ) -> tuple[Result, np.ndarray]:
        """The attention row (T, h, w) of the patch at (analysed frame, y, x)."""
        result = self.store.get(key)
        return result, result.analysis.attend(*query, head=head, source=source)

    def heat_frame(
        self, analysis: Analysis, row: np.ndarray, position: int, query: tuple[int, float, float]
    ) -> np.ndarray:
        """The shown frame under the heatmap, with the clicked point if it is of this frame."""
        heat = row[position] / drawing.heat_scale(row)
        picture = drawing.heat_overlay(analysis.frames[position], heat)
        return drawing.mark_point(picture, *query[1:]) if position == query[0] else picture

    # ---- files ---------------------------------------------------------------------------------

    def overlay(
        self,
        result: Result,
        cut: Segmentation,
        *,
        background: bool = False,
        report: Callable[[float], None] | None = None,
    ) -> Path:
        """The overlay video at preview size."""
        path = result.folder / f"objects-{cut.clusters}{'-all' if background else ''}.mp4"
        if not path.exists():
            small = open_clip(result.clip, max_side=self.settings.preview_side)
            export.write_overlay(
                path, result.analysis, cut, small, show_background=background, progress=report
            )
        return path

    def heat_video(self, result: Result, row: np.ndarray, query: tuple[int, float, float]) -> Path:
        """The heatmap over all analysed frames, as a video."""
        path = result.folder / "heatmap.mp4"  # replaced at each click; Gradio keeps its own copy
        export.write_heatmap(path, result.analysis, row, None, query=query)
        return path

    def files(self, key: str, clusters: int, heatmap: str | None, report: Report) -> list[Path]:
        """Everything that can be taken home, at the clip's own size."""
        result, cut = self.cut(key, clusters)
        folder = result.folder / f"download-{cut.clusters}"
        if not folder.exists():
            export.write_all(
                folder,
                result.analysis,
                cut,
                self.open(str(result.clip)),
                progress=lambda share: report(share, "masks and video"),
            )
            shutil.make_archive(str(folder / "masks"), "zip", folder, "masks")
        found = sorted(path for path in folder.iterdir() if path.is_file())
        return [*found, Path(heatmap)] if heatmap else found


@functools.lru_cache(maxsize=4)
def loaded_backbone(
    name: str, weights: FileOrUrl | None, device: torch.device
) -> backbones.Backbone:
    """A backbone, built once and shared by all users."""
    return backbones.load(name, weights=weights, device=device)


@on_gpu
def run_analysis(
    clip: Clip, settings: Settings, progress: Callable[[str, float], None] | None
) -> Analysis:
    """The costly call, where the GPU is. Arguments and result must be picklable on ZeroGPU."""
    device = Compute.choose(settings).device
    backbone = loaded_backbone(settings.backbone, settings.weights, device)
    return analyse(clip, settings, backbone=backbone, progress=progress)
