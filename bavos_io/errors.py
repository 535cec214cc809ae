"""The error for input that cannot be used."""

from __future__ import annotations


class InputError(ValueError):
    """Input that cannot be used.

    The message tells the user in one or two sentences what was wrong and what to do. The page shows
    it as a notice; the command line prints it and exits with status 2.
    """
