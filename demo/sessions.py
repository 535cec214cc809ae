"""Who makes the request that is being handled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

from gradio.context import LocalContext


class Visitor(NamedTuple):
    """Who asks: shares of the server go by address; a page, and what it runs, is a session."""

    address: str
    session: str


NOBODY = Visitor("", "")
_acting: ContextVar[Visitor | None] = ContextVar("visitor", default=None)


def visitor() -> Visitor:
    """Return who makes the current request; NOBODY outside a request.

    Store and jobs call this by themselves, so that no handler can forget to pass the visitor on and
    act for another one.
    """
    if acting := _acting.get():
        return acting
    request = LocalContext.request.get(None)
    if not request:
        return NOBODY
    client = request.client
    return Visitor(client.host if client else "", str(request.session_hash or ""))


def leaving() -> Callable[[], bool]:
    """Return a function that tells whether the client of the current event no longer listens.

    Gradio knows when the stream of an event breaks off, but lets its handler work on.
    """
    blocks = LocalContext.blocks.get(None)
    events = getattr(getattr(blocks, "_queue", None), "event_ids_to_events", {})
    event = events.get(LocalContext.event_id.get(None))
    return lambda: event is not None and not event.alive


@contextmanager
def acting_as(who: Visitor) -> Iterator[None]:
    """Handle a request, which Gradio knows nothing of, for a visitor."""
    token = _acting.set(who)
    try:
        yield
    finally:
        _acting.reset(token)
