"""The command `evaluate DATASET --root DIR --out DIR`.

Exit status 0: done. 130: stopped with Ctrl-C; the same command goes on from there.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from filelock import FileLock
from tqdm import tqdm

from bavos_core.errors import InputError
from bavos_core.options import add_settings, fetch, given_settings, path
from bavos_core.settings import Settings, check
from bavos_io.files import atomic_write
from bavos_lab.grouping import GROUPINGS
from bavos_lab.options import add_workers, spread, with_known_backbone

from .datasets import DATASETS, Dataset, Selection
from .predictions import Pipeline, Predictions, SavedMasks
from .protocols import PROTOCOLS
from .report import as_csv, as_markdown, as_table, sequence_rows, total_rows, write_gallery
from .runner import Run, evaluate
from .spread import evaluate_over

_WORST = 8


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `evaluate` to its parser."""
    parser.description = (
        "Evaluate saved masks, or the masks of the pipeline, on a benchmark. Into DIR it "
        "writes results.md, totals.csv, sequences.csv, the scores of every frame (sequences/), "
        "the worst sequences as pictures (gallery/) and the pipeline's masks (masks/). "
        "Run the same command again to resume, or several times at once to share the work."
    )
    parser.add_argument("dataset", metavar="DATASET", choices=tuple(DATASETS),
                        help=", ".join(DATASETS))  # fmt: skip
    parser.add_argument("--root", type=Path, required=True, metavar="DIR",
                        help="folder of the unpacked dataset")  # fmt: skip
    parser.add_argument("--out", type=path, required=True, metavar="DIR")
    parser.add_argument("--protocol", nargs="+", choices=PROTOCOLS, default=PROTOCOLS,
                        help="protocols to score (default: all)")  # fmt: skip
    parser.add_argument("--split", metavar="NAME",
                        help="DAVIS: val, train or all; FBMS-59: Testset or Trainingset; others: "
                        "folder of the split")  # fmt: skip
    parser.add_argument("--sequences", nargs="+", default=(), metavar="NAME",
                        help="only these, in this order")  # fmt: skip
    parser.add_argument("--subset", type=_range, metavar="FIRST:END",
                        help="positions of sequences (ytvis-2019 default: 600:900)")  # fmt: skip
    parser.add_argument("--gallery", type=int, default=_WORST, metavar="N",
                        help="worst sequences to show (%(default)s)")  # fmt: skip
    parser.add_argument("--predictions", type=Path, metavar="DIR",
                        help="saved masks, DIR/SEQUENCE/FRAME.png; else the pipeline runs",
                        )  # fmt: skip
    parser.add_argument("--grouping", choices=GROUPINGS, default="attention",
                        help="of patches by attention, or on the same features by k-means, "
                        "normalised cut or slot attention (%(default)s)")  # fmt: skip
    parser.add_argument("--slots", type=Path, metavar="FILE",
                        help="trained slots, for --grouping slots")  # fmt: skip
    add_workers(parser)
    add_settings(parser.add_argument_group("pipeline"))
    parser.set_defaults(run=run_evaluate)


def run_evaluate(options: argparse.Namespace) -> int:
    """Run `evaluate DATASET --root DIR --out DIR`; return the exit status. Raise InputError."""
    check(options.gallery >= 0, f"--gallery is {options.gallery}; give 0 or more")
    dataset = DATASETS[options.dataset]
    selection = Selection(
        split=options.split, sequences=tuple(options.sequences), subset=options.subset
    )
    run = Run(
        options.out.absolute(),  # for workers elsewhere
        _title(dataset, selection),
        dataset.sequences(options.root.absolute(), selection),
        _predictions(options),
        tuple(options.protocol),
        dataset.note,
    )
    try:
        results = _evaluate(run, options)
    except KeyboardInterrupt:
        left = len(run.missing())
        print(
            f"bavos_core: stopped with {left} of {len(run.sequences)} sequences left; "
            "the same command goes on.",
            file=sys.stderr,
        )
        return 130
    print(write_report(run, results, options.gallery))
    if run.note:
        print(run.note)
    return 0


def write_report(run: Run, results: list[dict[str, Any]], gallery: int) -> str:
    """Write results.md, both CSV files and the gallery; return the table of totals."""
    rows = sequence_rows(results)
    totals = total_rows(rows)
    with FileLock(run.out / ".locks" / "report"):
        names = write_gallery(run, results, gallery)
        for name, text in (
            ("sequences.csv", as_csv(rows)),
            ("totals.csv", as_csv(totals)),
            ("results.md", as_markdown(run, rows, names)),
        ):
            with atomic_write(run.out / name) as part:
                part.write_text(text, encoding="utf-8")
    return as_table(totals)


def _title(dataset: Dataset, selection: Selection) -> str:
    """Return the dataset and its selected part in words, for tables."""
    chosen = dataset.selection(selection)
    parts = [dataset.title]
    if chosen.sequences:
        parts.append(" ".join(chosen.sequences))
    elif chosen.split:
        parts.append(chosen.split)
    if chosen.subset:
        parts.append(f"sequences {chosen.subset[0]} to {chosen.subset[1] - 1}")
    return ", ".join(parts)


def _predictions(options: argparse.Namespace) -> Predictions:
    given, slots = given_settings(options), options.slots
    if options.grouping == "slots":
        check(slots is not None, "--grouping slots needs trained slots; give --slots FILE")
    else:
        check(slots is None, "only --grouping slots uses slots; leave out --slots")
    if options.predictions is None:
        settings, masks = with_known_backbone(Settings(**given)), options.out.absolute() / "masks"
        slots = slots and slots.absolute()
        return Pipeline(settings, masks, grouping=options.grouping, slots=slots)
    saved = "saved masks are not grouped again; leave out --predictions or --grouping"
    check(options.grouping == "attention", saved)
    if given:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise InputError(f"Saved masks take no settings; leave out --predictions or {names}.")
    if not options.predictions.is_dir():
        raise InputError(f"There is no folder {options.predictions}; give --predictions a folder.")
    return SavedMasks(options.predictions.absolute())


def _evaluate(run: Run, options: argparse.Namespace) -> list[dict[str, Any]]:
    with tqdm(
        total=len(run.sequences),
        desc="sequences",
        disable=None,  # on when stderr is a terminal
        leave=False,
    ) as bar:
        if isinstance(run.predictions, Pipeline):
            fetch(run.predictions.settings, lambda stage, _: bar.set_description_str(stage))

        def show(done: int, _of: int) -> None:
            bar.update(done - bar.n)

        if options.workers is None and options.ray is None:
            return evaluate(run, on_sequence=show)
        with spread(options, count=len(run.sequences), on_cuda=_on_cuda(run)) as over:
            return evaluate_over(run, over, on_sequence=show)


def _on_cuda(run: Run) -> bool:
    return isinstance(run.predictions, Pipeline) and run.predictions.settings.device != "cpu"


def _range(text: str) -> tuple[int, int]:
    try:
        first, end = (int(part) for part in text.split(":"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no range; write 600:900") from None
    if not 0 <= first < end:
        raise argparse.ArgumentTypeError(f"{text!r} holds nothing; write 600:900")
    return first, end
