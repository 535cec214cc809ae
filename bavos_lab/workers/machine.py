"""The cores, memory and GPUs of this machine, shared out among workers."""

from __future__ import annotations

import os

from bavos_io.memory import usable_bytes

from . import Share

_MEMORY = 3 * 2**30  # bytes that a worker may need


def share_out(workers: int | None, items: int, *, on_cuda: bool) -> Share:
    """Divide the cores of this machine, and its CUDA devices, among workers for some items.

    workers: None for one a CUDA device or, without these, as many as cores and memory allow.
    """
    devices = _devices() if on_cuda else ()
    count = workers or len(devices) or max(1, min(cores(), usable_bytes() // _MEMORY))
    count = min(count, items)
    return Share(count, max(1, cores() // count), devices)


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # only on Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _devices() -> tuple[str, ...]:
    """Return the CUDA devices that this process may use."""
    import torch  # takes seconds

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(i) for i in range(torch.cuda.device_count())]
    return tuple(names[: torch.cuda.device_count()])
