"""Scoring spread over workers, in processes of this machine or on a Ray cluster.

All write into one folder, which machines of a cluster must share.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

from bavos_core.errors import InputError
from bavos_core.settings import check
from bavos_lab.options import Over
from bavos_lab.workers import Unfit

from .runner import OnSequence, Run, begin, complete, read_results

_ROUNDS = 3  # attempts at sequences whose workers are lost


@dataclass(frozen=True)
class Scoring:
    """The task of scoring the sequences of a run, each by its place."""

    run: Run

    def begin(self) -> Callable[[int], Unfit | bool]:
        """Return the function that scores a sequence."""
        return partial(_scored, self.run)


def evaluate_over(run: Run, over: Over, *, on_sequence: OnSequence) -> list[dict[str, Any]]:
    """Score the sequences that have no scores yet, as `evaluate` does, on several workers.

    Raise InputError as it does, and if workers are lost again and again.
    """
    begin(run)
    total = len(run.sequences)
    for _ in range(_ROUNDS):
        missing = {sequence.name for sequence in run.missing()}
        places = [place for place, s in enumerate(run.sequences) if s.name in missing]
        if not places:
            break
        with closing(over(Scoring(run), enumerate(places))) as results:
            for _ in results:
                on_sequence(total - len(run.missing()), total)
    left = len(run.missing())
    check(not left, f"{left} sequences have no scores, since their workers were lost; try again")
    return read_results(run)


def _scored(run: Run, place: int) -> Unfit | bool:
    """Score a sequence; what is wrong with it ends the run."""
    try:
        complete(run, run.sequences[place], wait=True)
    except InputError as error:
        return Unfit(str(error))
    return True
