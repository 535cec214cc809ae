"""Memory: how much of it this process may use, and errors that say that none is left."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from .errors import InputError

NO_MEMORY = (
    "There is not enough memory for this; choose fewer frames or patches, or a smaller clip."
)
_UNKNOWN = 8 * 2**30  # bytes of a machine that does not say what it has
_NO_LIMIT = 2**60  # from here on, a number in a limit's file means that there is none
_SIGNS = ("can't allocate memory", "out of memory", "not enough memory")  # of torch's errors


def usable_bytes(root: Path = Path("/")) -> int:
    """Return the memory that this process may use: all there is, or its container's limit.

    root: of the file system that tells, for tests.
    """
    return min([_installed(root), *_limits(root)])


def _installed(root: Path) -> int:
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemTotal:"))
    except (OSError, ValueError, StopIteration):  # not Linux
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows
        return _UNKNOWN


def _limits(root: Path) -> Iterator[int]:
    """Yield the limits of the control groups that this process is in, of version 2 or 1."""
    mounted = root / "sys/fs/cgroup"
    groups = {PurePosixPath("/")}
    try:
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            own = PurePosixPath("/", line.split(":", 2)[2].lstrip("/"))
            groups |= {own, *own.parents}
    except (OSError, IndexError):  # not Linux
        pass
    for group in groups:
        for name in ("memory.max", "memory/memory.limit_in_bytes"):
            kind, _, file = name.rpartition("/")
            try:
                limit = int((mounted / kind / str(group).lstrip("/") / file).read_text())
            except (OSError, ValueError):  # absent, or "max"
                continue
            if 0 < limit < _NO_LIMIT:
                yield limit


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that no memory is left: Python's, NumPy's, torch's, the OS's."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if isinstance(error, RuntimeError):
        return any(sign in str(error).lower() for sign in _SIGNS)
    return isinstance(error, MemoryError)


@contextmanager
def enough_memory() -> Iterator[None]:
    """Raise InputError in place of an error that says that no memory is left."""
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error):
            raise InputError(NO_MEMORY) from error
        raise
