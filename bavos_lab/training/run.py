"""What surrounds a training run: its files, its end on request, and its resumption."""

from __future__ import annotations

import csv
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from bavos_core.errors import Cancelled, InputError
from bavos_core.files import atomic_write

MOMENTS = ("exp_avg", "exp_avg_sq")  # of AdamW, under torch's names
Told = TypeVar("Told")


# ---- files --------------------------------------------------------------------------------------


def check_out(out: Path) -> None:
    """Raises InputError for a place that nothing trained can be written to."""
    if out.suffix != ".safetensors" or out.is_dir():
        raise InputError(f"{out.name!r} must be a file name that ends in .safetensors.")
    if not out.absolute().parent.is_dir():
        raise InputError(f"There is no folder {out.absolute().parent}; make it first.")


def log_path(out: Path) -> Path:
    """Where the log of a run is that writes its result to `out`."""
    return out.with_suffix(".csv")


def start_log(path: Path, columns: Sequence[str], *, after: int) -> None:
    """A log that holds the steps up to one and nothing that was learned, and lost, beyond it.

    What another run left there, or a killed one's torn last row, is no part of it.
    """
    rows: list[dict[str, str]] = []
    if after and path.is_file():
        with path.open(newline="", errors="replace") as file:
            reader = csv.DictReader(file)
            if list(reader.fieldnames or ()) == list(columns):
                whole = (r for r in reader if set(r) == set(columns) and None not in r.values())
                rows = [r for r in whole if r["step"].isdecimal() and int(r["step"]) <= after]
    with atomic_write(path) as part, part.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def append_to_log(path: Path, row: Sequence[object]) -> None:
    """Numbers are written in full, so that two runs can be compared to the bit."""
    with path.open("a", newline="") as file:  # closed again, so that a killed run keeps its rows
        csv.writer(file).writerow(row)


# ---- its end ------------------------------------------------------------------------------------


def asked_to_stop(progress: Callable[[Told], None] | None, step: Told) -> bool:
    """Report a step; whether the one who was told raised Cancelled."""
    try:
        if progress:
            progress(step)
    except Cancelled:
        return True
    return False


def tell_stopped(done: int, steps: int, checkpoint: Path) -> None:
    """Say on stderr how a run goes on that ended early."""
    print(
        f"bavos_core: stopped after step {done} of {steps}; go on with --resume {checkpoint}",
        file=sys.stderr,
    )


class StopRequest:
    """Turns Ctrl-C and SIGTERM into a request to stop after the step at hand.

    A step that is torn apart could not be resumed. A second Ctrl-C stops at once.
    """

    _SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.made = False

    def __enter__(self) -> StopRequest:
        self._before = {number: signal.signal(number, self._make) for number in self._SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _make(self, number: int, _frame: FrameType | None) -> None:
        self.made = True
        signal.signal(number, self._before[signal.Signals(number)])


# ---- resuming -----------------------------------------------------------------------------------


def check_agreement(given: Mapping[str, Any], settings: object, resume: Path) -> None:
    """Raises InputError when options say something else than the settings of a checkpoint."""
    for name, value in given.items():
        if value != getattr(settings, name):
            raise InputError(
                f"{resume.name} was made with --{name.replace('_', '-')} "
                f"{getattr(settings, name)}, not {value}; leave the option out."
            )


def moments(network: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """AdamW's state as tensors of a checkpoint, zeros for weights that were not moved yet."""
    return {
        f"{moment}.{name}": optimiser.state.get(weights, {}).get(moment, torch.zeros_like(weights))
        for moment in MOMENTS
        for name, weights in network.named_parameters()
    }


def restore_moments(
    network: nn.Module, optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor], step: int
) -> None:
    """Give AdamW the state that `moments` wrote after so many steps."""
    for name, weights in network.named_parameters():
        held = {m: tensors[f"{m}.{name}"].to(weights.device) for m in MOMENTS}
        optimiser.state[weights] = {"step": torch.tensor(float(step)), **held}


def check_whole(
    tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], checkpoint: str
) -> None:
    """Raises InputError when a checkpoint lacks a tensor or has it in another shape."""
    lost = [k for k, v in wanted.items() if k not in tensors or tensors[k].shape != v.shape]
    if lost:
        raise InputError(
            f"{checkpoint} is not whole, {', '.join(lost[:3])} being missing or misshapen; "
            "resume from another checkpoint."
        )
