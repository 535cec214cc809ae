"""The command `batch SOURCE --out DIR`.

Exit status 0: all clips are done. 3: some have failed. 130: stopped; the same command goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from bavos_core.options import add_settings, fetch, given_settings, path
from bavos_core.progress import silent
from bavos_core.settings import Settings, check
from bavos_io.download import is_url
from bavos_lab.options import add_workers, spread, with_known_backbone

from .clip import Segmenting
from .contents import CORRELATORS
from .manifest import MANIFEST
from .rows import Status
from .run import Batch
from .sheet import FIRST
from .sources import Source
from .tables import check_parquet
from .target import open_target

SOME_FAILED = 3


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `batch` to its parser."""
    parser.description = (
        "Segment many clips. Into DIR it writes the results of each (clips/), manifest.parquet "
        "with one row per clip, and a contact sheet (index.html). Run the same command again to go "
        "on where it was stopped, to add clips, or to try again what failed."
    )
    parser.add_argument("source", type=path, metavar="SOURCE",
                        help="folder of clips, a text file with one path or URL per line, or a CSV "
                        "or Parquet file with a column path and, if wanted, settings")  # fmt: skip
    parser.add_argument("--out", type=_out, required=True, metavar="DIR|URL",
                        help="results folder, or s3://, gs://, hf:// and others of fsspec",
                        )  # fmt: skip
    parser.add_argument("--retries", type=int, default=2, metavar="N",
                        help="further attempts after lost workers and lack of memory (%(default)s)",
                        )  # fmt: skip
    add_workers(parser)
    add_settings(parser.add_argument_group("settings of clips whose row has no others"))
    parser.set_defaults(run=run_batch)


def run_batch(options: argparse.Namespace) -> int:
    """Run `batch SOURCE --out DIR`; return the exit status. Raise InputError."""
    check(options.retries >= 0, f"--retries is {options.retries}; give 0 or more")
    check_parquet()
    began = time.monotonic()
    settings = _absolute(with_known_backbone(Settings(**given_settings(options))))
    source = Source(options.source, settings)
    count, task = _looked_at(source, options.out)
    with spread(options, count=count, on_cuda=settings.device != "cpu") as over:
        batch = Batch(options.out, source, count, retries=options.retries)
        try:
            batch.run(task, over)
        except KeyboardInterrupt:
            left = count - batch.meter.finished
            print(f"bavos: stopped with {left:,} of {count:,} clips left; the same command goes "
                  "on.", file=sys.stderr)  # fmt: skip
            return 130
    print(json.dumps(_document(batch, time.monotonic() - began)))
    return SOME_FAILED if batch.meter.failed else 0


def _looked_at(source: Source, out: str) -> tuple[int, Segmenting]:
    """Return how many clips there are and the task; print which columns are ignored."""
    count, columns = source.count(), source.columns()
    open_target(out).prepare()
    if columns and columns.ignored:
        names = ", ".join(columns.ignored)
        print(f"Note: the columns {names} are not settings and are ignored.", file=sys.stderr)
    if columns and "backbone" in columns.given:
        return count, Segmenting(out, None)
    fetch(source.settings, silent)
    return count, Segmenting(out, source.settings)


def _document(batch: Batch, seconds: float) -> dict[str, Any]:
    """Return what is printed at the end."""
    meter, place = batch.meter, batch.target.shown.rstrip("/")
    return {
        "clips": meter.finished,
        "done": meter.counts[Status.DONE],
        "failed": meter.failed,
        "made_now": meter.made,
        "frames": meter.frames,
        "seconds": round(seconds, 1),
        "manifest": f"{place}/{MANIFEST}",
        "contact_sheet": f"{place}/{FIRST}",
    }


def _out(text: str) -> str:
    return text if is_url(text) else os.path.abspath(path(text))


def _absolute(settings: Settings) -> Settings:
    """Return settings whose files are found from any folder."""
    weights, correlator = settings.weights, settings.correlator
    if isinstance(weights, Path):
        settings = replace(settings, weights=weights.absolute())
    if correlator in CORRELATORS or is_url(correlator):
        return settings
    return replace(settings, correlator=str(Path(correlator).absolute()))
