"""Tasks for tests. Workers import this module, so it loads nothing heavy."""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bavos_io.errors import InputError
from bavos_lab.workers import Unfit


@dataclass(frozen=True)
class Told:
    """Tells of the worker in which an item was worked on."""

    def begin(self) -> Callable[[int], Any]:
        return lambda item: (item, os.getpid(), os.environ["OMP_NUM_THREADS"])


@dataclass(frozen=True)
class Deadly:
    """Dies by some items; by others only the first time, which a file tells."""

    always: tuple[int, ...]
    once: tuple[int, ...]
    room: Path

    def begin(self) -> Callable[[int], int]:
        return self._work

    def _work(self, item: int) -> int:
        mark = self.room / str(item)
        if item in self.always or (item in self.once and not mark.exists()):
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return item * item


@dataclass(frozen=True)
class Refusing:
    """Cannot begin, or finds by an item that nothing can go on."""

    item: int | None = None

    def begin(self) -> Callable[[int], Any]:
        if self.item is None:
            raise InputError("There are no weights.")
        return lambda item: Unfit("The disk is full.") if item == self.item else item


@dataclass(frozen=True)
class Stillborn:
    """Ends the worker before it is ready."""

    def begin(self) -> Callable[[int], Any]:
        os._exit(7)


@dataclass(frozen=True)
class Waiting:
    """Says its process in one named pipe and waits for another to end."""

    said: Path
    heard: Path

    def begin(self) -> Callable[[int], bytes]:
        return self._work

    def _work(self, _item: int) -> bytes:
        self.said.write_text(str(os.getpid()))
        return self.heard.read_bytes()
