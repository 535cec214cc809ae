"""The work on one clip: the same function in a process of this machine and on a cluster."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import torch

from bavos_core import __version__, backbones
from bavos_core.analysis import Analysis
from bavos_core.backbones import Backbone
from bavos_core.errors import InputError
from bavos_core.export import write_all
from bavos_core.pipeline import analyse
from bavos_core.settings import Compute, Settings
from bavos_io.clip import Clip
from bavos_io.download import FileOrUrl
from bavos_io.folder import MANIFEST
from bavos_io.opening import open_clip
from bavos_lab.workers import Unfit

from .contents import digest_of, key_of, local_copy, name_of, stamp_of, with_local_files
from .failures import failure, full, may_pass
from .ledger import Ledger
from .rows import Item, Row, Status
from .strip import strip_name, strip_of
from .target import CLIPS, open_target

TIMED = ("summary.json", MANIFEST)  # results that hold times, or the sizes of such


@dataclass(frozen=True)
class Segmenting:
    """The task of a batch."""

    out: str
    settings: Settings | None  # whose backbone the clips need; None if each has its own

    def begin(self) -> Callable[[Item], Row | Unfit]:
        """Load the backbone. Raise InputError if it, or the place of the results, is not there."""
        if self.settings:
            loaded(with_local_files(self.settings))
        return partial(segmented, ledger=Ledger(open_target(self.out)))


def segmented(item: Item, *, ledger: Ledger) -> Row | Unfit:
    """Return what became of a clip, now or earlier. Nothing is raised: a bad clip ends no run."""
    plain = Row(source=item.shown, status=Status.BAD, error=item.problem or None,
                start=item.start, end=item.end, settings=item.settings.as_shown())  # fmt: skip
    if item.problem:
        return plain
    try:
        stamp = stamp_of(item.source)
        return _earlier(item, stamp, ledger) or _now(item, stamp, ledger, plain)
    except Exception as error:  # whatever it is, the row names it
        if reason := full(error):
            where = ledger.target.shown
            return Unfit(f"{where} takes no more ({reason}); make room: the same command goes on.")
        status, sentence = failure(error, name_of(item.source))
        return replace(plain, status=status, error=sentence)


def _earlier(item: Item, stamp: str | None, ledger: Ledger) -> Row | None:
    """Return the row of a clip whose file has not changed since it was worked on."""
    digest = ledger.digest(stamp)
    return _known(item, key_of(item, digest), ledger) if digest else None


def _known(item: Item, key: str, ledger: Ledger) -> Row | None:
    """Return the row of a content that was worked on; what was bad is named in its sentence."""
    row = ledger.record(key)
    if row is None or (row.status is Status.BAD and name_of(row.source) != name_of(item.shown)):
        return None
    return replace(row, source=item.shown, made=False)


def _now(item: Item, stamp: str | None, ledger: Ledger, plain: Row) -> Row:
    with local_copy(item.source) as path:
        digest = digest_of(path)
        ledger.enter_digest(stamp, digest)
        key = key_of(item, digest)
        with ledger.target.room(key) as room:
            row = _known(item, key, ledger)  # another worker may have had the same content
            if row is None:
                row = _worked_on(item, path, room, ledger, replace(plain, key=key))
                ledger.enter(row)
            return row


def _worked_on(item: Item, path: Path, room: Path, ledger: Ledger, plain: Row) -> Row:
    """Return the row of a clip that is done, with its results in place, or bad for good."""
    began = time.perf_counter()
    settings = with_local_files(item.settings)
    backbone = loaded(settings)
    try:
        clip = open_clip(path, start=item.start, end=item.end)
        analysis = analyse(clip, settings, backbone=backbone)
        row = _written(analysis, clip, room, plain, ledger)
    except InputError as error:
        if may_pass(error):
            raise
        row = replace(plain, error=str(error))
    else:
        ledger.target.put(room / "results", str(row.folder))
    return replace(row, seconds=round(time.perf_counter() - began, 3))


def _written(analysis: Analysis, clip: Clip, room: Path, plain: Row, ledger: Ledger) -> Row:
    """Write the results of a clip into its room, and its picture of the contact sheet."""
    folder, segmentation = room / "results", analysis.segment()
    document = write_all(folder, analysis, segmentation, clip)
    ledger.target.write(strip_name(str(plain.key)), strip_of(analysis, segmentation))
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    counts = {name: document[name] for name in ("frames", "frames_analysed", "clusters", "objects")}
    return replace(
        plain,
        status=Status.DONE,
        error=None,
        folder=f"{CLIPS}/{Path(name_of(clip.name)).stem}-{plain.key}",
        versions={"bavos": __version__, **document["versions"]},
        length=round(analysis.end, 3),
        notes=tuple(document["warnings"]),
        digest=_digest(folder, files),
        result_bytes=sum(path.stat().st_size for path in files),
        **counts,
    )


def _digest(folder: Path, files: list[Path]) -> str:
    """Return the SHA-256 of the names and digests of all files that hold no times."""
    found = hashlib.sha256()
    for path in files:
        if path.name not in TIMED:
            found.update(f"{path.relative_to(folder).as_posix()} {digest_of(path)}\n".encode())
    return found.hexdigest()


def loaded(settings: Settings) -> Backbone:
    """Return the backbone of settings, kept for the next clip. Raise InputError."""
    device = Compute.choose(settings).device.type
    return _loaded(settings.backbone, settings.weights, settings.layer, device)


@lru_cache(1)
def _loaded(name: str, weights: FileOrUrl | None, layer: int | None, device: str) -> Backbone:
    return backbones.load(name, weights=weights, layer=layer, device=torch.device(device))
