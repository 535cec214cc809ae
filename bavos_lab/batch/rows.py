"""Items, which go into a batch, and rows, which come out of it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from enum import Enum
from typing import Any

from bavos_core.settings import Settings
from bavos_io.download import is_url, shown


class Status(str, Enum):
    """How work on a clip ended."""

    DONE = "done"
    BAD = "bad input"  # for good, until the file or the settings change
    FAILED = "failed"  # for now: another attempt may do it

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, kw_only=True)
class Item:
    """A clip to work on, before anyone has looked at it."""

    source: str  # an absolute path, or a URL
    settings: Settings
    start: float = 0.0  # seconds, as for `open_clip`
    end: float | None = None
    problem: str = ""  # why this line of the source cannot be used

    @property
    def shown(self) -> str:
        """The source without the secrets that a URL may hold."""
        return shown(self.source) if is_url(self.source) else self.source


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of the manifest. It holds no secrets of URLs."""

    source: str
    status: Status
    error: str | None = None  # a sentence
    key: str | None = None  # None: the clip could not be read
    folder: str | None = None  # of the results, below OUT
    start: float = 0.0  # the part of the clip, as given
    end: float | None = None
    settings: dict[str, Any] | None = None
    versions: dict[str, str] | None = None
    seconds: float = 0.0  # of the work, when it was done
    length: float | None = None  # seconds of the clip
    frames: int | None = None
    frames_analysed: int | None = None
    clusters: int | None = None
    objects: int | None = None
    notes: tuple[str, ...] = ()
    digest: str | None = None  # SHA-256 of all results that hold no times
    result_bytes: int | None = None  # of the results
    attempts: int = 1  # in the run that wrote the manifest
    made: bool = True  # in that run, not in an earlier one

    def to_json(self) -> bytes:
        """Return the row as JSON."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Row | None:
        """Restore a row; None for anything else, such as a file that was not written whole."""
        try:
            values = json.loads(text)
            known = {field.name: values[field.name] for field in fields(cls)}
            return cls(
                **known | {"status": Status(known["status"]), "notes": tuple(known["notes"])}
            )
        except (ValueError, TypeError, KeyError):
            return None
