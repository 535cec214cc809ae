"""Everything that the viewer gets, part by part: made once, and kept beside the result's clip.

A part is found by its name: base, frame/INDEX, attention/SOURCE or readings. Analysed frames are
in memory, so theirs is made when it is asked for. Those in between are made in one pass over the
clip in the background.
"""

from __future__ import annotations

import contextlib
import logging
import re
import threading
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import torch

from bavos_core import Cancelled, InputError
from bavos_io.errors import echo
from bavos_io.files import atomic_write
from bavos_io.stopping import stoppable
from bavos_lab import scene

from . import compute
from .clips import Clips
from .runs import held
from .store import Result, Store
from .turns import Turns

ARRIVAL = "arrival"  # stands for the id of the example that is shipped with its parts
_SHIPPED = Path(__file__).parent.parent / "assets" / ARRIVAL
_NAME = re.compile(r"base|readings|frame/\d{1,7}|attention/[a-z0-9-]{1,30}", re.ASCII)  # a file's
_MOST_BETWEEN = 1200  # frames kept in between the analysed ones, evenly spaced
_LOOK = 0.1  # seconds between looks whether a job has ended

log = logging.getLogger(__name__)


class NoSuchPart(InputError):
    """A name that is not one of the result's parts."""


class NotYet(Exception):
    """A frame that will be there soon."""


class Parts:
    """Makes and keeps the parts of results."""

    def __init__(self, store: Store, clips: Clips, lane: Turns):
        self._store = store
        self._clips = clips
        self._lane = lane
        self._waiting: list[Result] = []  # the newest last
        self._newest = ""  # id of the result whose frames are made first
        # ids of results whose frames in between are not all there
        self._under_way: set[str] = set()
        self._lock = threading.Lock()
        self._worker: threading.Thread | None = None
        self._closed = threading.Event()

    def get(self, key: str, name: str) -> bytes:
        """Return a part.

        Raise NotYet for a frame that is still to be made, NoSuchPart, or InputError if there is no
        such result.
        """
        if not _NAME.fullmatch(name):
            raise NoSuchPart(f"There is no part {echo(name)}.")
        if key == ARRIVAL:
            return _shipped(name)
        result = self._store.get(key)
        with self._store.room(result) as room:
            path = room / "parts" / f"{name}.gz"
            with contextlib.suppress(FileNotFoundError):
                return path.read_bytes()
            with held(result.making):
                if not path.exists():
                    self._keep(result, room, name, self._made(result, name))
            return path.read_bytes()

    def fill(self, result: Result) -> None:
        """Make the frames between the analysed ones, in the background."""
        if not len(between(result)):
            return
        with self._lock:
            self._under_way.add(result.id)
            self._waiting.append(result)
            self._newest = result.id
            if not self._worker:
                self._worker = threading.Thread(target=self._work, daemon=True)
                self._worker.start()

    def close(self, seconds: float) -> None:
        """End the work in the background; wait for a while until it has ended."""
        self._closed.set()
        worker = self._worker
        if worker and worker is not threading.current_thread():
            worker.join(seconds)

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise Cancelled

    def _made(self, result: Result, name: str) -> bytes:
        """Return a part that is not kept yet."""
        found = scene.Scene(result.analysis)
        if scene.depends_on_backbone(name):
            used = result.analysis.settings
            backbone = compute.loaded_backbone(used.backbone, used.weights, torch.device("cpu"))
            return replace(found, backbone=backbone).part(name)
        if name in found.names:
            return found.part(name)
        if result.id in self._under_way and name.startswith("frame/"):
            raise NotYet
        raise NoSuchPart(f"This result has no part {name}.")

    def _keep(self, result: Result, room: Path, name: str, part: bytes) -> None:
        self._store.disk.make_room(len(part))
        path = room / "parts" / f"{name}.gz"
        for folder in (room / "parts", path.parent):  # but not the room, which may have gone
            folder.mkdir(exist_ok=True)
        with atomic_write(path) as draft:
            draft.write_bytes(part)
        self._store.grow(result, len(part))

    def _work(self) -> None:
        """Fill one result after another, the newest first, until none waits."""
        while True:
            with self._lock:
                if not self._waiting or self._closed.is_set():
                    self._worker = None
                    return
                result = self._waiting.pop()
                self._newest = result.id
            whole = True
            try:
                with stoppable(self._check_open):
                    whole = self._fill(result)
            except (InputError, Cancelled):
                pass  # the result has gone, or its clip is damaged: the viewer has what there is
            except Exception:
                log.exception("Frames in between could not be made")
            finally:
                with self._lock:
                    if whole:
                        self._under_way.discard(result.id)
                    else:
                        self._waiting.insert(-1, result)  # goes on after the newest

    def _fill(self, result: Result) -> bool:
        """Make the frames that lack; return False if this gave way to a newer result."""
        with self._store.room(result) as room:
            clip = self._clips.open(room / result.clip, result.analysis.part)
            made = {path.name for path in (room / "parts" / "frame").glob("*.gz")}
        wanted = [index for index in between(result) if f"{index}.gz" not in made]
        if not wanted:
            return True
        reading = clip.resized(scene.READ_SIDE).read(wanted)
        with contextlib.closing(cast(Generator[np.ndarray], reading)):
            for index in wanted:
                self._give_way()
                frame = next(reading, None)
                if frame is None:
                    return True
                if self._newest != result.id:
                    return False
                part = scene.frame_part(result.analysis, index, frame)
                with self._store.room(result) as room:  # fails when the result has gone
                    self._keep(result, room, f"frame/{index}", part)
        return True

    def _give_way(self) -> None:
        """Wait while a job has its turn."""
        while self._lane.busy:
            self._closed.wait(_LOOK)
            self._check_open()


def between(result: Result) -> list[int]:
    """Return the frames between the analysed ones that the viewer gets, in order."""
    analysis = result.analysis
    step = -(-len(analysis.times) // _MOST_BETWEEN)
    return sorted(set(range(0, len(analysis.times), step)) - set(analysis.analysed.tolist()))


def shipped() -> bool:
    """Return whether an example is shipped with its parts."""
    return (_SHIPPED / "base.gz").exists()


def _shipped(name: str) -> bytes:
    try:
        return (_SHIPPED / f"{name}.gz").read_bytes()
    except FileNotFoundError as error:
        raise NoSuchPart(f"The example has no part {name}.") from error
