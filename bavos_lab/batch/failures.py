"""Errors of clips as sentences, and whether another attempt may go well."""

from __future__ import annotations

import errno
import traceback
from pathlib import Path

from bavos_core.errors import BackboneUnavailable, InputError
from bavos_io.errors import DecoderLost
from bavos_io.memory import is_out_of_memory

from .rows import Status

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_LARGEST_ERRNO = 4096  # above are FFmpeg's own numbers, which tell of the content


def full(error: Exception) -> str | None:
    """Return why no clip can be written any more, if that is what an error means."""
    for each in (error, error.__cause__):
        if isinstance(each, OSError) and each.errno in _FULL:
            return each.strerror or "no reason given"
    return None


def may_pass(error: InputError) -> bool:
    """Return whether the machine or the network is at fault, not the clip."""
    cause = error.__cause__
    if isinstance(error, BackboneUnavailable | DecoderLost) or (cause and is_out_of_memory(cause)):
        return True
    number = cause.errno if isinstance(cause, OSError) else None
    return number is not None and 0 < number < _LARGEST_ERRNO


def failure(error: Exception, name: str) -> tuple[Status, str]:
    """Return what an error means for a clip of a name, and the sentence for its row."""
    if isinstance(error, InputError):
        return (Status.FAILED if may_pass(error) else Status.BAD), str(error)
    if is_out_of_memory(error):
        return Status.FAILED, (
            f"There was not enough memory for {name!r}; use fewer workers, frames or patches."
        )
    if isinstance(error, OSError):
        return Status.FAILED, f"{name!r} failed for now ({error.strerror or error}); try again."
    where = traceback.extract_tb(error.__traceback__)[-1]
    return Status.FAILED, (
        f"{name!r} failed with {type(error).__name__} ({str(error)[:200]}) in "
        f"{Path(where.filename).name}, line {where.lineno}; please report it."
    )
