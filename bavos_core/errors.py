"""The error for input that cannot be used, and the signal to cancel."""

from __future__ import annotations


class InputError(ValueError):
    """Input that cannot be used.

    The message tells the user in one or two sentences what was wrong and what to do. The page shows
    it as a notice; the command line prints it and exits with status 2.
    """


class BackboneUnavailable(InputError):
    """Weights of a backbone that are neither on this machine nor reachable."""


class Cancelled(Exception):
    """Raised by a progress callback to cancel the work; partial results are removed."""
