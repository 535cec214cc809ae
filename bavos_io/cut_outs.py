"""Pictures with alpha, and mattes: the form in which video editors take objects.

Alpha is straight: an object keeps the clip's own colours, and so do 8 pixels around it, so that its
edge does not darken when a player resizes the picture. Farther away, everything is black.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from PIL import Image
from scipy import ndimage

from .clip import TimedFrame
from .files import atomic_write
from .writing import H264, PRORES_4444, VP9, VideoWriter

CutOutKind = Literal["prores", "vp9", "png", "matte"]
CUT_OUT_KINDS: tuple[CutOutKind, ...] = get_args(CutOutKind)
_VIDEOS = {"prores": (".mov", PRORES_4444), "vp9": (".webm", VP9), "matte": (".mp4", H264)}
_MARGIN = 8  # pixels


class CutOutWriter:
    """Writes frames with their alpha as a video, or as a folder of PNG files; a context manager.

    Raise InputError when a file cannot be written.
    """

    def __init__(self, path: Path, kind: CutOutKind, *, size: tuple[int, int]):
        """Describe a cut-out. path: without suffix. size: (H, W)."""
        self._path, self._kind = path, kind
        self._opened = ExitStack()
        self._video: VideoWriter | None = None
        if kind != "png":
            suffix, video_format = _VIDEOS[kind]
            self._video = VideoWriter(
                path.with_name(path.name + suffix), size=size, format=video_format
            )

    def __enter__(self) -> CutOutWriter:
        if self._video:
            self._opened.enter_context(self._video)
        else:
            self._path.mkdir(exist_ok=True)
        return self

    def __exit__(self, *error: object) -> None:
        self._opened.__exit__(*error)  # type: ignore[arg-type]

    def write(self, shown: TimedFrame, alpha: np.ndarray, name: str) -> None:
        """Append a frame with its alpha (H, W) uint8; name: of its PNG file, without suffix."""
        matte = self._kind == "matte"
        picture = np.dstack([alpha] * 3 if matte else [_cleared(shown.frame, alpha), alpha])
        if self._video:
            self._video.write(picture, shown.start, shown.end)
            return
        with atomic_write(self._path / f"{name}.png") as part:
            Image.fromarray(picture).save(part, compress_level=3)


def _cleared(frame: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return a frame (H, W, 3) uint8 that is black where nothing near is opaque."""
    near = ndimage.maximum_filter(alpha, 2 * _MARGIN + 1) > 0
    cleared: np.ndarray = frame * near[..., None]
    return cleared
