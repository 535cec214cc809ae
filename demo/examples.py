"""Example clips, analysed once for all visitors."""

from __future__ import annotations

import base64
import filecmp
import io
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from bavos_core import Settings, open_clip

from .store import Result, Store

EXAMPLES = Path(__file__).parent.parent / "assets" / "examples"
ARRIVES = "rolling-balls"  # the example that is shown on arrival
_THUMBNAIL = 192  # longer side in pixels
_MOST_KEPT = 16  # results: each clip at each quality and with each backbone
_SHARE = 0.25  # of the store's bytes, at most, for results that visitors asked for


class Examples:
    """The example clips and the most recent of their results, which everybody is shown."""

    def __init__(self, clips: Sequence[Path], store: Store):
        self.clips = clips
        self._store = store
        self._results: dict[tuple[Path, Settings], Result] = {}

    def find(self, path: Path) -> Path | None:
        """Return the example that a file is a copy of, if any."""
        for clip in self.clips:
            same_size = path.stat().st_size == clip.stat().st_size
            if same_size and filecmp.cmp(path, clip, shallow=False):
                return clip
        return None

    def get(self, clip: Path, settings: Settings) -> Result | None:
        """Return the result of an example under these settings, if it has been made."""
        found = self._results.get((clip, settings))
        return found if found and self._store.holds(found) else None

    def first_of(self, name: str) -> Result | None:
        """Return the first result that was made of an example, if any: that of the warm-up."""
        found = (
            result
            for (clip, _), result in self._results.items()
            if clip.stem == name and self._store.holds(result)
        )
        return next(found, None)

    def keep(self, clip: Path, settings: Settings, result: Result) -> None:
        """Keep the result of an example for the next visitors.

        Of too many, the oldest is let go of the address that had most made. What this server made
        by itself stays.
        """
        self._store.share(result, clip.stem)
        self._results[clip, settings] = result
        while excess := self._too_much():
            self._store.share(self._results.pop(excess), "")

    def _too_much(self) -> tuple[Path, Settings] | None:
        """Return the result that is to be let go next, if there are too many."""
        asked = {key: result for key, result in self._results.items() if result.owner}
        size = sum(result.nbytes for result in asked.values())
        if len(asked) <= _MOST_KEPT and size <= _SHARE * self._store.most_bytes:
            return None
        made = Counter(result.owner for result in asked.values())
        return max(asked, key=lambda key: made[asked[key].owner])  # the first of equals


def listed() -> list[dict[str, Any]]:
    """Return name, title, size and frames of every example."""
    found: list[dict[str, Any]] = json.loads(
        (EXAMPLES / "examples.json").read_text(encoding="utf-8")
    )
    return found


def example_path(name: str) -> Path:
    """Return the clip of an example."""
    return EXAMPLES / f"{name}.mp4"


def thumbnail(name: str) -> str:
    """Return a small picture of an example as a data URL."""
    clip = open_clip(example_path(name)).resized(_THUMBNAIL)
    picture = Image.fromarray(next(iter(clip.read([len(clip.times) // 3]))))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
