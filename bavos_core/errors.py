"""The one error type for input that a user can mend, and the signal that a job was stopped."""

from __future__ import annotations


class InputError(ValueError):
    """Something given to Bavos cannot be used.

    The message is one sentence or two for the person who gave it: what was wrong and what to do.
    The page shows it as a notice, the command line prints it and ends with status 2.
    """


class BackboneUnavailable(InputError):
    """The weights of a backbone are neither on this machine nor within reach."""


class Cancelled(Exception):
    """Raised by a progress callback to stop the work; everything half-made is cleaned up."""
