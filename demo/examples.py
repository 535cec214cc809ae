"""Example clips, analysed once for all visitors."""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bavos_core import Analysis, Settings

from .store import Result, Store

EXAMPLES = Path(__file__).parent.parent / "assets" / "examples"
_MOST_KEPT = 16  # analyses: each clip at each quality and with each backbone


@dataclass(frozen=True)
class Example:
    """An analysed example; shared by all visitors."""

    analysis: Analysis
    clip: Path
    notices: tuple[str, ...]
    overlay: Path
    painting_seconds: float


class Examples:
    """The example clips and the most recent of their analyses."""

    def __init__(self, clips: Sequence[Path], store: Store):
        self.clips = clips
        self._store = store
        self._analysed: dict[tuple[Path, Settings], Example] = {}

    def find(self, path: Path) -> Path | None:
        """Return the example that a file is a copy of, if any."""
        for clip in self.clips:
            same_size = path.stat().st_size == clip.stat().st_size
            if same_size and filecmp.cmp(path, clip, shallow=False):
                return clip
        return None

    def get(self, clip: Path, settings: Settings) -> Example | None:
        """Return the analysis of an example under these settings, if it has been made."""
        return self._analysed.get((clip, settings))

    def keep(self, clip: Path, settings: Settings, result: Result, overlay: Path) -> None:
        """Keep the result of an example for the next visitors; the oldest is dropped."""
        kept = Path(shutil.copy(overlay, self._store.lasting_file(".mp4")))
        self._analysed[clip, settings] = Example(
            result.analysis, clip, result.notices, kept, result.painting_seconds
        )
        while len(self._analysed) > _MOST_KEPT:
            oldest = self._analysed.pop(next(iter(self._analysed)))
            oldest.overlay.unlink(missing_ok=True)


def example_path(name: str) -> Path:
    """Return the clip of an example."""
    return EXAMPLES / f"{name}.mp4"
