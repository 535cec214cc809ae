"""The session of the current request."""

from __future__ import annotations

from gradio.context import LocalContext


def session() -> str:
    """Return the session of the request being handled; "" outside a request.

    The store calls this for every access, so that no handler can forget to pass the session on and
    expose the results of other visitors.
    """
    request = LocalContext.request.get(None)
    return str(request.session_hash) if request else ""
