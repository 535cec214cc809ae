"""The measurements, each in a process of its own so that its peak of memory is its own.

Time is the wall time of one run after the inputs are built; memory is the peak above the inputs.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from bavos_core.attention import AttentionRows
from bavos_core.clustering import assign, find_clusters
from bavos_core.distances import KEPT_BYTES, Windows
from bavos_core.hierarchy import build_hierarchy
from bavos_core.settings import WINDOW, Settings

from ..partitions import adjusted_rand_index
from .machine import machine
from .naive import naive_centroids, naive_labels
from .scene import HEADS, scene

Method = Literal["naive", "exact", "fast", "tree"]
METHODS: tuple[Method, ...] = (
    "naive",  # as the reference code does it: all heads at once, five products, row by row
    "exact",  # find_clusters and assign in float32
    "fast",  # the same with bfloat16 where it does not hurt
    "tree",  # what `segment` does by default: fast, fine leaves, hierarchy
)
TAU = 1.0
_GUESSED_RATE = {"naive": 4e-11, "exact": 1e-11, "fast": 7e-12, "tree": 7e-12}  # s per n²·M


@dataclass(frozen=True, kw_only=True)
class Case:
    """The size of a clustering problem."""

    frames: int
    grid: tuple[int, int]
    key_frames: int
    heads: int = HEADS

    @property
    def name(self) -> str:
        """The case in words, such as "12 × 24×48, 3 key frames, 8 heads"."""
        size = f"{self.grid[0]}×{self.grid[1]}"
        heads = f"{self.heads} head{'s' if self.heads > 1 else ''}"
        return f"{self.frames} × {size}, {self.key_frames} key frames, {heads}"

    @property
    def products(self) -> float:
        """The multiplications of one full product of each window's rows: n²·M, summed."""
        patches = self.grid[0] * self.grid[1]
        n = min(WINDOW, self.frames) * patches
        return (self.frames * patches / n) * n**2 * self.key_frames * patches


CASES = tuple(
    Case(frames=frames, grid=grid, key_frames=keys, heads=heads)
    for heads in (HEADS, 1)
    for grid in ((24, 48), (40, 60))
    for frames, keys in ((12, 3), (24, 4), (70, 7))
    if heads == HEADS or grid == (24, 48)
)


@dataclass(frozen=True)
class Run:
    """One measurement; if it did not finish, `seconds` is empty and `why` says why."""

    case: Case
    method: Method
    seconds: dict[str, float] = field(default_factory=dict)  # by stage, and "total"
    peak_mib: float | None = None
    clusters: int | None = None
    agreement: dict[str, float] = field(default_factory=dict)  # adjusted Rand with other methods
    why: str | None = None


def run_benchmark(
    *,
    device: str = "cpu",
    cases: tuple[Case, ...] = CASES,
    methods: tuple[Method, ...] = METHODS,
    minutes: float = 10.0,
    report: Callable[[Run], None] | None = None,
) -> dict[str, Any]:
    """Measure every case by every method within some minutes; return a document for JSON.

    The first case is measured by all methods, then the others, quick ones first. A run that is
    expected to take longer than the time left is skipped, and its `why` says so.
    """
    end = time.monotonic() + 60 * minutes
    rate = dict(_GUESSED_RATE)
    labels: dict[tuple[Case, Method], np.ndarray] = {}
    runs = []
    for case, method in _order(cases, methods):
        left = end - time.monotonic()
        if rate[method] * case.products > left:
            run = Run(case, method, why=f"left out: more than the {left:.0f} s that were left")
        else:
            run, found = _measure_alone(case, method, device, limit=left)
            if found is not None:
                labels[case, method] = found
                rate[method] = run.seconds["total"] / case.products
        runs.append(run)
        if report:
            report(run)
    return {
        "date": date.today().isoformat(),
        "machine": machine(device),
        "tau": TAU,
        "runs": [_with_agreement(run, labels) for run in runs],
    }


def _order(cases: tuple[Case, ...], methods: tuple[Method, ...]) -> Iterator[tuple[Case, Method]]:
    yield from ((cases[0], method) for method in methods)
    others = [(case, method) for case in cases[1:] for method in methods]
    yield from sorted(others, key=lambda pair: pair[0].products * _GUESSED_RATE[pair[1]])


def _with_agreement(run: Run, labels: dict[tuple[Case, Method], np.ndarray]) -> dict[str, Any]:
    found = labels.get((run.case, run.method))
    others = {m: labels[run.case, m] for m in ("naive", "exact") if (run.case, m) in labels}
    agreement = {
        method: adjusted_rand_index(found, other)
        for method, other in others.items()
        if found is not None and method != run.method
    }
    return {**asdict(run), "agreement": agreement}


# ---- one run ------------------------------------------------------------------------------------


def _measure_alone(
    case: Case, method: Method, device: str = "cpu", *, limit: float
) -> tuple[Run, np.ndarray | None]:
    """Run `measure` in a new process for at most `limit` seconds; no labels if it did not end."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measure_and_send, args=(sender, case, method, device))
    process.start()
    sender.close()
    try:
        if not receiver.poll(limit):
            return Run(case, method, why=f"stopped after {limit:.0f} s"), None
        answer = receiver.recv()
    except EOFError:  # the system kills a process that takes too much memory
        return Run(case, method, why="the process died, out of memory perhaps"), None
    finally:
        process.kill()
        process.join()
    return answer


def _measure_and_send(sender: Any, case: Case, method: Method, device: str) -> None:
    sender.send(measure(case, method, device))


@torch.no_grad()
def measure(case: Case, method: Method, device: str = "cpu") -> tuple[Run, np.ndarray]:
    """Run one method on one case; return the run and the label of every patch (T·N,).

    The peak of memory is that of this process: see `run_benchmark`.
    """
    made = scene(case.frames, case.grid, case.key_frames, heads=case.heads)
    attention = AttentionRows(made.queries.to(device), made.keys.to(device), made.scale)
    _warm_up(device)
    memory = _Memory(device)
    stages = _Stages(device)
    labels, clusters = _METHOD_STEPS[method](attention, stages)
    run = Run(case, method, stages.seconds, memory.peak_mib(), clusters)
    return run, labels.cpu().numpy()


def _naive(attention: AttentionRows, stages: _Stages) -> tuple[Tensor, int]:
    with stages("find clusters"):
        centroids = naive_centroids(attention, TAU)
    with stages("assign"):
        labels = naive_labels(attention, centroids)
    return labels, len(centroids)


def _paper(dtype: torch.dtype) -> Callable[[AttentionRows, _Stages], tuple[Tensor, int]]:
    def run(attention: AttentionRows, stages: _Stages) -> tuple[Tensor, int]:
        with stages("find clusters"):
            windows = Windows(attention, dtype, keep=KEPT_BYTES)
            centroids = find_clusters(windows, TAU).centroids
        with stages("assign"):
            labels = assign(windows, centroids).labels.flatten()
        return labels, len(centroids)

    return run


def _tree(attention: AttentionRows, stages: _Stages) -> tuple[Tensor, int]:
    with stages("grow"):
        growth = build_hierarchy(attention, Settings(), dtype=torch.bfloat16)
    with stages("cut"):
        cut = growth.tree.cut(TAU)
    labels = torch.from_numpy(cut)[growth.assignment.labels.flatten().cpu()]
    return labels, int(cut.max()) + 1


_METHOD_STEPS: dict[Method, Callable[[AttentionRows, Any], tuple[Tensor, int]]] = {
    "naive": _naive,
    "exact": _paper(torch.float32),
    "fast": _paper(torch.bfloat16),
    "tree": _tree,
}


def _warm_up(device: str) -> None:
    """Load the libraries that the first product of a process needs."""
    for dtype in (torch.float32, torch.bfloat16):
        square = torch.ones(512, 512, dtype=dtype, device=device)
        (square @ square).sum().item()


class _Stages:
    """Seconds by stage and in total."""

    def __init__(self, device: str):
        self.seconds: dict[str, float] = {"total": 0.0}
        self._device = device

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        if self._device == "cuda":
            torch.cuda.synchronize()
        self.seconds[name] = time.perf_counter() - start
        self.seconds["total"] += self.seconds[name]


class _Memory:
    """Peak memory above the present, in MiB; None where the system does not report it."""

    def __init__(self, device: str):
        self._cuda = device == "cuda"
        if self._cuda:
            torch.cuda.reset_peak_memory_stats()
        elif sys.platform == "linux":
            Path("/proc/self/clear_refs").write_text("5")  # resets the peak
        self._before = self._peak()

    def _peak(self) -> float | None:
        if self._cuda:
            return torch.cuda.max_memory_allocated() / 2**20
        if sys.platform != "linux":
            return None
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024

    def peak_mib(self) -> float | None:
        """Return the peak above the start, in MiB."""
        peak = self._peak()
        return None if peak is None or self._before is None else peak - self._before
