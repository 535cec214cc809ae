"""Limits that the worker sets on itself before it reads the file."""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
from typing import Any

import av

from . import THREADS


def load_all_of_pyav() -> None:
    """Import the modules that PyAV imports when they are needed, while files may be opened."""
    for module in pkgutil.walk_packages(av.__path__, "av."):
        if not module.name.endswith(("__main__", "datasets")):
            importlib.import_module(module.name)


def confine(request: dict[str, Any]) -> None:
    """Bound time and memory, and forbid opening and writing files, where the system can do so."""
    try:
        import resource
    except ImportError:  # Windows
        return
    bounds = {
        resource.RLIMIT_AS: request["memory"],
        resource.RLIMIT_CPU: THREADS * request["cpu_seconds"],
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 0,  # beside those that are open
    }
    for kind, bound in bounds.items():
        hard = resource.getrlimit(kind)[1]
        bound = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        with contextlib.suppress(OSError, ValueError):  # not every system has every limit
            resource.setrlimit(kind, (bound, bound))
