"""Settings on the command line, shared by the commands of the lab."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TypeVar

from bavos_core import backbones
from bavos_core.settings import EncoderSettings, check
from bavos_lab.workers import Numbered, Results, Task
from bavos_lab.workers.cluster import cluster_share, joined, over_cluster
from bavos_lab.workers.machine import share_out
from bavos_lab.workers.processes import over_processes

SomeSettings = TypeVar("SomeSettings", bound=EncoderSettings)

# Spreads a task over workers: takes numbered items and yields numbered results as they come.
Over = Callable[[Task, Iterable[Numbered]], Results]


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Add the options that say who works."""
    parser.add_argument("--workers", type=int, metavar="N",
                        help="processes (default: one a GPU, or as many as cores and memory allow)",
                        )  # fmt: skip
    parser.add_argument("--ray", nargs="?", const="auto", metavar="ADDRESS",
                        help="work on a Ray cluster: this machine's, HOST:PORT, or local for a new "
                        "one on this machine")  # fmt: skip


@contextmanager
def spread(options: argparse.Namespace, *, count: int, on_cuda: bool) -> Iterator[Over]:
    """Yield the function that spreads a task over the workers that were chosen.

    count: of items. on_cuda: whether GPUs may be used. Raise InputError.
    """
    wanted = options.workers
    check(wanted is None or wanted >= 1, f"--workers is {wanted}; give 1 or more")
    if options.ray:
        with joined(options.ray):
            yield partial(over_cluster, share=cluster_share(wanted, count, on_cuda=on_cuda))
    else:
        yield partial(over_processes, share=share_out(wanted, count, on_cuda=on_cuda))


def with_known_backbone(settings: SomeSettings) -> SomeSettings:
    """Return settings with `auto` or an alias replaced by the backbone that it stands for.

    Print a note to stderr if it is a substitute.
    """
    name, substitute = backbones.resolve(settings.backbone, weights=settings.weights)
    if substitute:
        print(f"Note: {substitute}", file=sys.stderr)
    return replace(settings, backbone=name)
