"""Who is asking."""

from __future__ import annotations

from gradio.context import LocalContext


def session() -> str:
    """The session of the request that is answered here and now; "" for the server itself.

    Asked for where results are kept, not handed down by every handler: one that forgot to would
    open everybody's results to everybody.
    """
    request = LocalContext.request.get(None)
    return str(request.session_hash) if request else ""
