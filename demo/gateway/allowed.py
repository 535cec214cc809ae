"""The paths that are served. Everything else is refused, also what a new Gradio adds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import NamedTuple

API = "/gradio_api"
FILE = f"{API}/file="


class Kind(Enum):
    """Kinds of requests."""

    PLAIN = "answered at once"
    STREAM = "answered for as long as the client listens"
    CALL = "an event of the page or a call of the API"
    CANCEL = "ends something"
    UPLOAD = "has a body with limits of its own"
    MCP = "has a body that may hold a clip"


class _Served(NamedTuple):
    methods: str
    pattern: str
    kind: Kind


_READ = "GET HEAD"
_ID = r"[\w-]{1,64}"
_SERVED = (
    _Served(_READ, "/", Kind.PLAIN),
    _Served(_READ, "/(config|theme.css|favicon.ico|robots.txt|manifest.json)", Kind.PLAIN),
    _Served(_READ, r"/(assets|static)/[\w./@-]{1,200}", Kind.PLAIN),
    _Served(_READ, f"{API}/(info|app_id|startup-events)", Kind.PLAIN),
    _Served(_READ, f"{FILE}.+", Kind.PLAIN),
    _Served(_READ, f"{API}/bavos/.+", Kind.PLAIN),
    _Served("POST", f"{API}/bavos/{_ID}/html", Kind.PLAIN),
    _Served("GET", f"{API}/(heartbeat/{_ID}|queue/data|upload_progress)", Kind.STREAM),
    _Served("GET", f"{API}/call/(v2/)?{_ID}/{_ID}", Kind.STREAM),
    _Served("POST", f"{API}/(queue/join|call/(v2/)?{_ID})", Kind.CALL),
    _Served("POST", f"{API}/(cancel|reset)", Kind.CANCEL),
    _Served("POST", f"{API}/upload", Kind.UPLOAD),
    _Served("GET", f"{API}/mcp(/.*)?", Kind.STREAM),
    _Served("POST", f"{API}/mcp(/.*)?", Kind.MCP),
    _Served("DELETE", f"{API}/mcp(/.*)?", Kind.CANCEL),
)
_PATTERNS = [(row, re.compile(row.pattern, re.ASCII | re.DOTALL)) for row in _SERVED]


def kind_of(method: str, path: str, folders: Sequence[Path] = ()) -> Kind | None:
    """Return what a request is, or None if it is not served. folders: files are sent from these."""
    for row, pattern in _PATTERNS:
        if method in row.methods.split() and pattern.fullmatch(path):
            outside = path.startswith(FILE) and not within(path[len(FILE) :], folders)
            return None if outside else row.kind
    return None


def within(path: str, folders: Sequence[Path]) -> bool:
    """Return whether a path, which must be absolute, leads to something in one of the folders."""
    try:
        found = Path(path).resolve()
    except (OSError, ValueError, RuntimeError):  # too long, with a null byte, or a loop of links
        return False
    return Path(path).is_absolute() and any(folder in found.parents for folder in folders)
