"""Records of clips across runs, one a key, and the digests of files that have not changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bavos_io.folder import MANIFEST

from . import HIDDEN
from .rows import Row
from .target import CLIPS, Target

_RECORDS = f"{HIDDEN}/records"


@dataclass(frozen=True)
class Ledger:
    """Records and digests in a target."""

    target: Target

    def record(self, key: str) -> Row | None:
        """Return what became of a clip for good; None if it is still to be worked on.

        A record does not count without its results, which a person may have removed.
        """
        text = self.target.read(_record(key))
        row = Row.from_json(text) if text else None
        if row and row.folder and self.target.read(f"{row.folder}/{MANIFEST}") is None:
            return None
        return row

    def enter(self, row: Row) -> None:
        """Write the record of a clip. Its results must be in their place."""
        assert row.key
        self.target.write(_record(row.key), row.to_json())

    def digest(self, stamp: str | None) -> str | None:
        """Return the digest of the content with a stamp, if it is known."""
        text = self.target.read(_content(stamp)) if stamp else None
        return text.decode() if text and len(text) == 64 else None

    def enter_digest(self, stamp: str | None, digest: str) -> None:
        """Write the digest of the content with a stamp."""
        if stamp:
            self.target.write(_content(stamp), digest.encode())

    def clean(self) -> None:
        """Remove what was left by workers that were killed: rooms, and results without a record."""
        self.target.clean()
        recorded = set(self._keys())
        for name in self.target.names(CLIPS):
            key = name.rpartition("-")[2]
            if key not in recorded:
                self.target.remove(f"{CLIPS}/{name}", key)

    def _keys(self) -> Iterator[str]:
        """Yield the keys of all records, by listing rather than reading them."""
        for shard in self.target.names(_RECORDS):
            for name in self.target.names(f"{_RECORDS}/{shard}"):
                yield name.removesuffix(".json")


def _record(key: str) -> str:
    return f"{_RECORDS}/{key[:2]}/{key}.json"


def _content(stamp: str) -> str:
    return f"{HIDDEN}/contents/{stamp[:2]}/{stamp}"
