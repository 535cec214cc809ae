"""Addresses: what is one, and how it is shown without its secrets."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from .errors import InputError


def is_url(text: str) -> bool:
    """Return whether a text is a URL rather than a path."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text) is not None


def shown_address(url: str) -> str:
    """Return a URL for messages, without user, password and query: they may hold secrets.

    Raise InputError for what is no valid address.
    """
    try:
        parts = urlsplit(url)
        netloc = parts.netloc.rpartition("@")[2]
        return parts._replace(netloc=netloc, query="", fragment="").geturl()
    except ValueError:
        raise InputError(f"{url.partition(':')[0]}://… is not a valid address; check it.") from None
