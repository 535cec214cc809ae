"""Score a dataset sequence by sequence, in one or several processes, resumable.

    OUT/run.json                the run; processes that join must agree with it
    OUT/masks/NAME/             masks of the pipeline, unless saved masks are scored
    OUT/sequences/NAME.json     the scores of a sequence, written atomically
    OUT/.locks/NAME             held by the process that scores it

Locks are the operating system's: they end with their process, so none has to be removed by hand.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from bavos_core import __version__
from bavos_core.errors import InputError
from bavos_core.settings import check
from bavos_io.files import atomic_write
from bavos_lab.locks import claimed

from .metrics import statistics
from .predictions import Predictions, pipeline_seconds, read_predictions
from .protocols import Protocol, Score, measure, score
from .sequences import VideoSequence

OnSequence = Callable[[int, int], None]  # sequences done, of how many


@dataclass(frozen=True)
class Run:
    """One evaluation: some sequences of a dataset, masks for them, and how to score them."""

    out: Path
    title: str  # of the dataset and what was taken of it
    sequences: Sequence[VideoSequence]
    predictions: Predictions
    protocols: tuple[Protocol, ...]
    note: str = ""  # a sentence to show beside the scores

    @property
    def description(self) -> dict[str, Any]:
        """All that determines the scores, as JSON-ready values."""
        return {
            "version": __version__,
            "dataset": self.title,
            "sequences": [sequence.name for sequence in self.sequences],
            "protocols": list(self.protocols),
            **self.predictions.description,
        }

    def result_path(self, name: str) -> Path:
        """Return the path of a sequence's scores."""
        return self.out / "sequences" / f"{name}.json"

    def missing(self) -> list[VideoSequence]:
        """Return the sequences without scores, in order."""
        return [s for s in self.sequences if not self.result_path(s.name).is_file()]


def evaluate(run: Run, *, on_sequence: OnSequence | None = None) -> list[dict[str, Any]]:
    """Score the sequences that have no scores yet; return the scores of all, in order.

    Several processes may share the work: each takes free sequences, then waits for the others and
    takes over from a process that died. Finished scores are kept when a process is stopped.
    Raise InputError for a folder of another run, and for truth and masks that cannot be used.
    """
    begin(run)
    for wait in (False, True):
        for sequence in run.missing():
            if on_sequence:
                on_sequence(len(run.sequences) - len(run.missing()), len(run.sequences))
            complete(run, sequence, wait=wait)
    if on_sequence:
        on_sequence(len(run.sequences), len(run.sequences))
    return read_results(run)


def complete(run: Run, sequence: VideoSequence, *, wait: bool) -> None:
    """Write the scores of a sequence if there are none; without `wait`, unless a process does."""
    with claimed(run.out / ".locks" / f"{sequence.name}.lock", wait=wait) as ours:
        path = run.result_path(sequence.name)
        if ours and not path.is_file():
            _write_json(path, score_sequence(run, sequence))


def read_results(run: Run) -> list[dict[str, Any]]:
    """Return the scores of all sequences, in order."""
    return [json.loads(run.result_path(s.name).read_text()) for s in run.sequences]


def begin(run: Run) -> None:
    """Make the folder, or check that it belongs to the same run."""
    names = [sequence.name for sequence in run.sequences]
    check(len(set(names)) == len(names), "two sequences have one name; choose each only once")
    try:
        for folder in ("sequences", ".locks"):
            (run.out / folder).mkdir(parents=True, exist_ok=True)
        with FileLock(run.out / ".locks" / "run"):
            path = run.out / "run.json"
            if not path.is_file():
                _write_json(path, run.description)
            made = json.loads(path.read_text())
    except OSError as error:
        raise InputError(f"The folder {run.out} cannot be written to; choose another.") from error
    given = json.loads(json.dumps(run.description))
    for key in {**made, **given}:
        if made.get(key) != given.get(key):
            raise InputError(
                f"{run.out} holds a run with another value of {key!r}: {made.get(key)}, "
                f"not {given.get(key)}; give --out another folder."
            )


def score_sequence(run: Run, sequence: VideoSequence) -> dict[str, Any]:
    """Return the scores of a sequence as JSON-ready values: per frame, per object, means."""
    folder = run.predictions.folder(sequence)
    start = time.perf_counter()
    truth = sequence.truth()
    labels = read_predictions(folder, sequence, truth)
    measured = measure(truth, labels)
    scores = [s for p in run.protocols for s in score(p, measured, truth, labels)]
    return {
        "dataset": run.title,
        "sequence": sequence.name,
        "frames": len(sequence.frame_names),
        "scored": [sequence.frame_names[i] for i in truth.frames],
        "size": list(truth.annotations[0].size),
        "objects": list(truth.objects),
        "proposals": len(measured.numbers),
        "pipeline_seconds": pipeline_seconds(folder),
        "scoring_seconds": time.perf_counter() - start,
        "scores": [_document(s) for s in scores],
    }


def _document(found: Score) -> dict[str, Any]:
    j, f = ([vars(statistics(row)) for row in rows] for rows in (found.jaccard, found.boundary))
    return {
        "protocol": found.protocol,
        "j": [_mean(j, "mean"), _mean(j, "recall"), _mean(j, "decay")],
        "f": [_mean(f, "mean"), _mean(f, "recall"), _mean(f, "decay")],
        "fg_ari_frame": found.fg_ari_frame,
        "fg_ari_video": found.fg_ari_video,
        "miou": found.miou,
        "mbo": found.mbo,
        "matches": [list(labels) for labels in found.matches],
        "j_per_frame": found.jaccard.round(6).tolist(),
        "f_per_frame": found.boundary.round(6).tolist(),
    }


def _mean(rows: list[dict[str, float]], name: str) -> float:
    return float(np.mean([row[name] for row in rows]))


def _write_json(path: Path, document: dict[str, Any]) -> None:
    with atomic_write(path) as part:
        part.write_text(json.dumps(document))
