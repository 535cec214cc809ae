"""Workers on a Ray cluster: Ray Data over a pool of actors."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from types import ModuleType
from typing import TYPE_CHECKING, Any

from bavos_io.errors import InputError
from bavos_io.process import prepare_process

from . import Numbered, Results, Share, Task, Unfit, Work

if TYPE_CHECKING:
    import pyarrow as pa
    from ray.data import Dataset

_WINDOW = 10_000  # items that are handed to Ray at once
_BLOCKS = 50  # a worker and window, at least: a block is lost with its node
_LARGEST = 16  # items of a block
_ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0"}


@contextmanager
def joined(address: str, *, cpus: int | None = None) -> Iterator[None]:
    """Join a Ray cluster and leave it at the end.

    address: "auto" for the one of this machine, "local" for a new one on it, or HOST:PORT.
    cpus: of a new one; None for all cores.
    Raise InputError if Ray is not installed or no cluster answers.
    """
    try:
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        import ray
    except ImportError as error:
        raise InputError('Ray is not installed; run pip install "bavos[ray]".') from error
    try:
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if address == "local":
            quiet |= {"include_dashboard": False, "num_cpus": cpus}
        with _own_signals():
            ray.init(address, **quiet)
    except Exception as error:  # Ray raises that very class for a node that does not start
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise InputError(
            f"No Ray cluster answers at {address!r} ({reason:.200}); start one with ray start "
            "--head, or give --ray local or another address."
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep this program's handler of SIGTERM, which Ray would replace."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread():  # only it may handle signals
        signal.signal(signal.SIGTERM, before)


def cluster_share(workers: int | None, items: int, *, on_cuda: bool) -> Share:
    """Return how many workers of how many threads suit the cluster that was joined.

    workers: None for one a GPU or, without any, one a core.
    """
    import ray

    has = ray.cluster_resources()
    gpus = int(has.get("GPU", 0)) if on_cuda else 0
    cpus = max(1, int(has.get("CPU", 1)))
    count = min(workers or gpus or cpus, items)
    return Share(count, max(1, cpus // count), ("any",) * gpus)


def over_cluster(task: Task, items: Iterable[Numbered], share: Share) -> Results:
    """Yield (number, result) of every item as results come; None where a worker was lost.

    As `over_processes`, on the cluster that was joined. With a worker, every item that waits for it
    is lost; so lost items run once more, one at a time, and only those lost again give None.
    """
    left = iter(items)
    while window := dict(islice(left, _WINDOW)):
        yield from _arrived(task, window, share, alone=False)
        yield from _arrived(task, window, share, alone=True)
        yield from ((number, None) for number in sorted(window))


def _arrived(task: Task, missing: dict[int, Any], share: Share, *, alone: bool) -> Results:
    """Yield what comes of the missing items and take it out of them."""
    from ray.exceptions import RayError

    try:
        for number, result in _over_window(task, list(missing.items()), share, alone):
            if isinstance(result, Unfit):
                raise InputError(result.sentence)
            if number in missing:  # else Ray has repeated a block
                del missing[number]
                yield number, result
    except RayError as error:
        raise InputError(
            f"The Ray cluster failed ({str(error).strip().splitlines()[-1]:.300}); see that "
            "Bavos is installed on all of its nodes."
        ) from error


def _over_window(
    task: Task, window: list[Numbered], share: Share, alone: bool
) -> Iterator[Numbered]:
    import ray

    if window:
        results = _spread(ray.data, task, window, share, alone)
        for batch in results.iter_batches(batch_size=None, batch_format="pyarrow"):
            yield from _unpacked(batch)


def _spread(
    data: ModuleType, task: Task, window: list[Numbered], share: Share, alone: bool
) -> Dataset:
    """Return the results of a window as a data set that is yet to be computed.

    alone: each item is a block, no item waits for a busy worker, and each may be lost once.
    """
    rows = 1 if alone else max(1, min(_LARGEST, len(window) // (share.workers * _BLOCKS)))
    blocks = [_table(window[begin : begin + rows]) for begin in range(0, len(window), rows)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray's advice on its own settings
        _configure(data.DataContext.get_current())
        return data.from_arrow(blocks).map_batches(
            _Actor,
            fn_constructor_args=(pickle.dumps(task),),
            compute=data.ActorPoolStrategy(
                min_size=1,
                max_size=share.workers,
                max_tasks_in_flight_per_actor=1 if alone else None,
            ),
            batch_size=None,
            batch_format="pyarrow",
            num_cpus=share.threads,
            num_gpus=1 if share.devices else None,
            max_task_retries=int(alone),  # without end by default, also for what kills each worker
            runtime_env={"env_vars": Share(1, share.threads).environment(0)},
        )


def _configure(context: Any) -> None:
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # a lost block is no fault
    context.enable_progress_bars = False
    context.max_errored_blocks = -1  # what is lost with them is found by its number


def _table(items: Iterable[Numbered]) -> pa.Table:
    """Return numbered things as a table of their numbers and their pickles."""
    import pyarrow as pa

    numbers, things = zip(*items, strict=True)
    return pa.table({"number": list(numbers), "pickle": [pickle.dumps(thing) for thing in things]})


def _unpacked(table: pa.Table) -> Iterator[Numbered]:
    numbers, things = (table.column(name).to_pylist() for name in ("number", "pickle"))
    for number, thing in zip(numbers, things, strict=True):
        yield number, pickle.loads(thing)  # noqa: S301 – the cluster's own


class _Actor:
    """A worker. Like all that Ray gets, it must not fail for what the driver should be told."""

    def __init__(self, task: bytes) -> None:
        prepare_process()
        self._task: Task = pickle.loads(task)  # noqa: S301 – the driver's own
        self._work: Work | None = None

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Work on the items of a block."""
        return _table([(number, self._result(item)) for number, item in _unpacked(batch)])

    def _result(self, item: Any) -> Any:
        try:
            self._work = self._work or self._task.begin()
        except InputError as error:
            return Unfit(str(error))
        return self._work(item)
