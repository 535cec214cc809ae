"""Errors that users see, and the signal to cancel."""

from __future__ import annotations

from bavos_io.errors import InputError as InputError
from bavos_io.errors import echo as echo


class BackboneUnavailable(InputError):
    """Weights of a backbone that are neither on this machine nor reachable."""


class Cancelled(Exception):
    """Raised by a progress callback to cancel the work; partial results are removed."""
