"""Connections: how many there may be, and how long one may stay without asking for anything."""

from __future__ import annotations

from typing import Any

import uvicorn

_TOGETHER = 1000  # connections
_EACH = 250  # connections of one peer
_WITHOUT_REQUEST = 15.0  # seconds


def limit(server: uvicorn.Server, *, each_peer: bool) -> None:
    """Bound the connections of a server that runs: it looks at its limits for each new one.

    each_peer: also those of each address, which behind a proxy would be those of all visitors.
    """
    config = server.config
    config.limit_concurrency = _TOGETHER
    config.http_protocol_class = _bounded(config.http_protocol_class, _EACH if each_peer else 0)
    config.encoded_headers = []  # the name of the program


def _bounded(protocol: Any, each: int) -> Any:
    """Return a protocol class whose connections are closed when they are too many, or idle."""

    class Bounded(protocol):  # type: ignore[misc]
        def connection_made(self, transport: Any) -> None:
            """Look at the number of connections, and watch this one."""
            super().connection_made(transport)
            peer = self.client and self.client[0]
            if (
                each
                and sum(one.client and one.client[0] == peer for one in self.connections) > each
            ):
                transport.abort()
                return
            self._watch(self)

        def _watch(self, last: object) -> None:
            """Close the connection if no request was begun since the last look, or has ended."""
            if self.transport.is_closing():
                return
            if last is self.cycle:
                self.transport.close()
                return
            waits = self.cycle is None or self.cycle.response_complete
            now = self.cycle if waits else self
            self.loop.call_later(_WITHOUT_REQUEST, self._watch, now)

    return Bounded
