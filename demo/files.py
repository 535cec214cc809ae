"""The files that visitors see and download: videos, pictures and archives."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from gradio.processing_utils import save_file_to_cache
from PIL import Image

from bavos_core import Analysis, Segmentation, export
from bavos_core.export import CutOuts
from bavos_core.progress import Progress, silent
from bavos_io.clip import Clip, Timeline
from bavos_io.files import atomic_write
from bavos_io.folder import MANIFEST
from bavos_lab.training import write_correlator

from . import images
from .clips import Clips
from .images import ObjectsLook, Query
from .store import Result, Store


class Files:
    """Writes files of a clip or a result; each method returns a copy in Gradio's cache.

    Gradio would make that copy after the handler has returned, when the file may be gone; it sends
    files that are already in its cache as they are.
    """

    def __init__(self, store: Store, clips: Clips):
        self._store = store
        self._clips = clips

    def preview(self, path: str | None) -> tuple[Path, Clip]:
        """Return the clip as a small video that every browser plays, and the clip itself."""
        clip, small = self._clips.open(path), self._clips.small(path)
        with self._store.preview_folder(Path(str(path))) as folder:
            target = folder / "original.mp4"
            if not target.exists():
                export.write_frames(target, small.timed(), size=small.size, sound=small.sound())
            return self._outgoing(target), clip

    def overlay(
        self,
        result: Result,
        cut: Segmentation,
        *,
        look: ObjectsLook | None = None,
        progress: Progress = silent,
        clip: Clip | None = None,
    ) -> Path:
        """Return the overlay video of a cut at preview size; each look is painted once.

        clip: the clip at preview size if it is open; otherwise the result's own copy is opened.
        """
        look = look or ObjectsLook()
        with self._store.room(result) as folder, result.writing:
            path = overlay_path(folder, cut, look)
            if not path.exists():
                export.write_overlay(
                    path,
                    result.analysis,
                    cut,
                    clip or self._clips.small(folder / result.clip, result.analysis.part),
                    opacity=look.opacity,
                    show_background=look.background,
                    hidden=look.edits.unseen(cut),
                    style=look.style,
                    progress=progress,
                )
            return self._outgoing(path)

    def keep_overlay(self, result: Result, cut: Segmentation, overlay: Path) -> None:
        """Use an overlay video that is already painted as the one of a cut in the usual look."""
        with self._store.room(result) as folder:
            shutil.copy(overlay, overlay_path(folder, cut, ObjectsLook()))

    def picture(self, result: Result, picture: np.ndarray) -> Path:
        """Return a picture (H, W, 3) uint8 as a PNG file, written atomically.

        Gradio writes pictures that it gets as arrays while other requests read the same file.
        """
        with self._store.room(result) as folder:
            path = folder / f"picture-{_digest(picture.tobytes())}.png"
            if not path.exists():
                with atomic_write(path) as part:
                    Image.fromarray(picture).save(part)
            return self._outgoing(path)

    def heatmap(self, result: Result, row: np.ndarray, query: Query) -> Path:
        """Return a video of the heatmap of a row (T, h, w) over all analysed frames."""
        with self._store.room(result) as folder, result.writing:
            path = folder / "heatmap.mp4"  # replaced at each click
            export.write_heatmap(path, result.analysis, row, None, query=query)
            return self._outgoing(path)

    def levels(self, result: Result, position: int) -> Path:
        """Return a video of one frame at every level of the hierarchy, a second each (Fig. 5)."""
        result.check_position(position)
        with self._store.room(result) as folder, result.writing:
            path = folder / f"levels-{position}.mp4"
            if not path.exists():
                _write_levels(path, result.analysis, position)
            return self._outgoing(path)

    def downloads(
        self,
        result: Result,
        cut: Segmentation,
        progress: Progress = silent,
        cut_outs: CutOuts | None = None,
    ) -> list[Path]:
        """Return all files of a cut at the clip's own size: one zip of everything, then each."""
        described = repr((cut.tau, sorted(cut.names.items()), sorted(cut.splits.items()), cut_outs))
        with self._store.room(result) as room:
            folder = room / f"download-{_digest(*_content(cut), described.encode())}"
            if not folder.exists():
                clip = self._clips.open(room / result.clip, result.analysis.part)
                _write_downloads(folder, result, clip, cut, progress, cut_outs)
            files = sorted(path for path in folder.iterdir() if path.is_file())
            files.sort(key=lambda path: path.name != "bavos.zip")
            return [self._outgoing(path) for path in files]

    def _outgoing(self, file: Path) -> Path:
        return Path(save_file_to_cache(file, str(self._store.cache)))


def overlay_path(folder: Path, cut: Segmentation, look: ObjectsLook) -> Path:
    """Return the path of the overlay video of a cut: the same for looks that paint the same."""
    unseen = sorted(look.edits.unseen(cut))
    shown = repr((look.background, round(look.opacity, 3), look.style, unseen))
    return folder / f"objects-{_digest(*_content(cut), shown.encode())}.mp4"


def _write_levels(path: Path, analysis: Analysis, position: int) -> None:
    """Write a video of one frame at every level of the hierarchy, a second each."""
    pictures = [picture for picture, _ in images.level_pictures(analysis, position)]
    times = Timeline.regular(len(pictures), fps=1)
    export.write_frames(path, times.timed(pictures), size=images.picture_size(analysis))


def _write_downloads(
    folder: Path,
    result: Result,
    clip: Clip,
    cut: Segmentation,
    progress: Progress,
    cut_outs: CutOuts | None,
) -> None:
    """Write all files of a cut; the folder appears when they are complete."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        place = Path(name)
        part = place / "files"
        export.write_all(part, result.analysis, cut, clip, cut_outs=cut_outs, progress=progress)
        (part / MANIFEST).unlink()  # nothing is replaced in downloads
        if result.analysis.correlator:
            write_correlator(part / "correlator.safetensors", result.analysis.correlator)
        everything = shutil.make_archive(str(place / "bavos"), "zip", part)
        for pictures in [path.name for path in part.iterdir() if path.is_dir()]:
            shutil.make_archive(str(part / pictures), "zip", part, pictures)
        Path(everything).replace(part / "bavos.zip")
        with result.writing:
            if not folder.exists():  # another request may have written the same files
                part.replace(folder)


def _content(cut: Segmentation) -> Iterator[bytes]:
    """Yield the content of a cut except for its names."""
    for array in (cut.leaf_cluster, cut.background):
        yield array.tobytes()


def _digest(*content: bytes) -> str:
    hasher = hashlib.sha256()
    for part in content:
        hasher.update(part)
    return hasher.hexdigest()[:16]
