"""One function over many items, in processes of this machine or on a Ray cluster.

Modules here load neither torch nor NumPy: a worker's threads are set before they are loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Protocol

Work = Callable[[Any], Any]
Numbered = tuple[int, Any]  # an item or a result, with the item's number
Results = Generator[Numbered, None, None]  # as they come; None for a worker that was lost


class Task(Protocol):
    """Work for workers. It is pickled, and so are items and results."""

    def begin(self) -> Work:
        """Return the function over an item; called once in each worker, to load what it needs.

        Raise InputError if no worker can do the task; that ends the run.
        """


@dataclass(frozen=True)
class Unfit:
    """A result that ends the run: why no other item can be worked on either."""

    sentence: str


@dataclass(frozen=True)
class Share:
    """The part of a machine that each of some workers has."""

    workers: int
    threads: int  # a worker
    devices: tuple[str, ...] = ()  # CUDA devices by their names in CUDA_VISIBLE_DEVICES

    def environment(self, number: int) -> dict[str, str]:
        """Return the environment variables of a worker, numbered from 0."""
        threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        values = {"OMP_WAIT_POLICY": "PASSIVE", **dict.fromkeys(threads, str(self.threads))}
        if self.devices:
            values["CUDA_VISIBLE_DEVICES"] = self.devices[number % len(self.devices)]
        return values
