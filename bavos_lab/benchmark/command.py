"""The command `benchmark --out FILE.json`."""

from __future__ import annotations

import argparse
import sys

from bavos_core.compat import current
from bavos_core.errors import InputError
from bavos_core.options import path, size
from bavos_core.settings import Compute, Settings
from bavos_io.files import check_out_file

from .report import as_table, write_document
from .runs import CASES, METHODS, Case, Run
from .runs import run_benchmark as run_cases


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `benchmark` to its parser."""
    parser.add_argument("--out", type=path, required=True, metavar="FILE.json")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument(
        "--minutes",
        type=float,
        default=10.0,
        help="runs that would take longer are skipped (%(default)s)",
    )
    parser.add_argument("--frames", type=int, nargs="+", metavar="T", help="12, 24, 70 (all)")
    parser.add_argument("--grids", type=size, nargs="+", metavar="HxW", help="24x48, 40x60 (both)")
    parser.add_argument("--methods", nargs="+", type=_method, choices=METHODS, default=METHODS)
    parser.set_defaults(run=run_benchmark)


def run_benchmark(options: argparse.Namespace) -> int:
    """Run `benchmark --out FILE.json`: print the table, write every figure to the file."""
    check_out_file(options.out, ".json")
    if not options.minutes > 0:
        raise InputError(f"--minutes is {options.minutes:g}; give a number above 0.")
    device = Compute.choose(Settings(device=options.device)).device.type

    def report(run: Run) -> None:
        outcome = run.why or f"{run.seconds['total']:.2f} s"
        print(f"{run.case.name}, {run.method}: {outcome}", file=sys.stderr)

    document = run_cases(
        device=device,
        cases=_chosen_cases(options),
        methods=tuple(options.methods),
        minutes=options.minutes,
        report=report,
    )
    write_document(options.out, document)
    print(as_table(document))
    return 0


def _chosen_cases(options: argparse.Namespace) -> tuple[Case, ...]:
    chosen = tuple(
        case
        for case in CASES
        if case.frames in (options.frames or [case.frames])
        and case.grid in (options.grids or [case.grid])
    )
    if not chosen:
        raise InputError("There is no such case; choose frames of 12 24 70, grids of 24x48 40x60.")
    return chosen


def _method(text: str) -> str:
    return current(text, {"plain": "naive"})
