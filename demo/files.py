"""The files that visitors see and download: videos, pictures and archives."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bavos_core import Segmentation, export
from bavos_core.export import CutOuts
from bavos_core.progress import Progress, silent
from bavos_io.clip import Clip
from bavos_io.files import atomic_write
from bavos_io.folder import MANIFEST
from bavos_io.limits import MIB
from bavos_io.stopping import StoppableFile
from bavos_lab import scene
from bavos_lab.training import write_correlator

from . import viewer
from .clips import Clips
from .disk import Disk
from .images import Query
from .runs import held
from .store import Result, Store, linked

_SMALL = 10 * 2**20  # bytes, more than a heatmap or an HTML file takes


class Files:
    """Writes files of a clip or a result; each method returns a copy in Gradio's cache.

    Gradio would make that copy after the handler has returned, when the file may be gone; it sends
    files that are already in its cache as they are.
    """

    def __init__(self, store: Store, clips: Clips):
        self._store = store
        self._clips = clips

    def overlay(self, result: Result, cut: Segmentation, progress: Progress = silent) -> Path:
        """Return the overlay video of a cut at preview size; each is painted once."""
        with self._store.room(result) as folder, held(result.writing):
            path = folder / f"objects-{_digest(*_content(cut))}.mp4"
            if not path.exists():
                progress = self._store.disk.watching(progress)
                clip = self._clips.small(folder / result.clip, result.analysis.part)
                export.write_overlay(path, result.analysis, cut, clip, progress=progress)
            return self._outgoing(path)

    def picture(self, result: Result, picture: np.ndarray) -> Path:
        """Return a picture (H, W, 3) uint8 as a PNG file, written atomically.

        Gradio writes pictures that it gets as arrays while other requests read the same file.
        """
        with self._store.room(result) as folder:
            path = folder / f"picture-{_digest(picture.tobytes())}.png"
            if not path.exists():
                self._store.disk.make_room(picture.nbytes)
                with atomic_write(path) as part:
                    Image.fromarray(picture).save(part)
            return self._outgoing(path)

    def heatmap(self, result: Result, row: np.ndarray, query: Query) -> Path:
        """Return a video of the heatmap of a row (T, h, w) over all analysed frames."""
        with self._store.room(result) as folder, held(result.writing):
            path = folder / "heatmap.mp4"  # replaced at each click
            self._store.disk.make_room(_SMALL)
            export.write_heatmap(path, result.analysis, row, None, query=query)
            return self._outgoing(path)

    def html(self, result: Result, state: Mapping[str, Any]) -> Path:
        """Return one HTML file that shows a result offline, in the state of a viewer."""
        with self._store.room(result) as folder, held(result.writing):
            path = folder / f"{_stem(result.analysis.clip_name)}.html"
            self._store.disk.make_room(_SMALL)
            scene.write_html(
                path,
                result.analysis,
                state=state,
                viewer_js=viewer.bundle(),
                viewer_css=viewer.css(),
            )
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
                _write_downloads(
                    folder, result, clip, cut, progress, cut_outs, disk=self._store.disk
                )
            files = sorted(path for path in folder.iterdir() if path.is_file())
            files.sort(key=lambda path: path.name != "bavos.zip")
            return [self._outgoing(path) for path in files]

    def _outgoing(self, file: Path) -> Path:
        hasher = hashlib.sha256()
        with StoppableFile(file) as source:
            while piece := source.read(MIB):
                hasher.update(piece)
        place = self._store.cache / hasher.hexdigest() / file.name
        place.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(place) as part:
            linked(file, part)
        return place


def _write_downloads(
    folder: Path,
    result: Result,
    clip: Clip,
    cut: Segmentation,
    progress: Progress,
    cut_outs: CutOuts | None,
    *,
    disk: Disk,
) -> None:
    """Write all files of a cut; the folder appears when they are complete."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        place = Path(name)
        part, watched = place / "files", disk.watching(progress)
        export.write_all(part, result.analysis, cut, clip, cut_outs=cut_outs, progress=watched)
        (part / MANIFEST).unlink()  # nothing is replaced in downloads
        if result.analysis.correlator:
            write_correlator(part / "correlator.safetensors", result.analysis.correlator)
        disk.make_room(2 * sum(path.stat().st_size for path in part.rglob("*")))  # for the zips
        _zip(place / "bavos.zip", part, part)
        for pictures in [path for path in part.iterdir() if path.is_dir()]:
            _zip(part / f"{pictures.name}.zip", part, pictures)
        (place / "bavos.zip").replace(part / "bavos.zip")
        with held(result.writing):
            if not folder.exists():  # another request may have written the same files
                part.replace(folder)


def _zip(path: Path, root: Path, folder: Path) -> None:
    """Pack all files in a folder, under their names from `root` on."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(file for file in folder.rglob("*") if file.is_file()):
            entry = zipfile.ZipInfo.from_file(file, file.relative_to(root).as_posix())
            entry.compress_type = zipfile.ZIP_DEFLATED
            with StoppableFile(file) as source, archive.open(entry, "w") as packed:
                shutil.copyfileobj(source, packed, MIB)


def _content(cut: Segmentation) -> Iterator[bytes]:
    """Yield the content of a cut except for its names."""
    for array in (cut.leaf_cluster, cut.background):
        yield array.tobytes()


def _digest(*content: bytes) -> str:
    hasher = hashlib.sha256()
    for part in content:
        hasher.update(part)
    return hasher.hexdigest()[:16]


def _stem(name: str) -> str:
    """Return the name of a clip without its suffix, as the name of a file."""
    return re.sub(r"[^\w-]+", "-", Path(name).stem)[:60] or "bavos"
