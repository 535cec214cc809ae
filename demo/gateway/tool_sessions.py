"""The sessions of MCP clients: so many of each address."""

from __future__ import annotations

import time
from collections import defaultdict

from .said import TOO_MANY_SESSIONS, Refusal

SESSION = "mcp-session-id"  # the header that names one
_EACH = 20
IDLE = 600.0  # seconds after which the tools end a session without requests


class ToolSessions:
    """Knows which sessions are in use, and by whom."""

    def __init__(self) -> None:
        self._used: defaultdict[str, dict[str, float]] = defaultdict(dict)  # when, last

    def check_room(self, address: str) -> None:
        """Raise Refusal if an address has as many sessions as it may have."""
        oldest = time.monotonic() - IDLE
        for other, known in list(self._used.items()):
            self._used[other] = {name: last for name, last in known.items() if last > oldest}
            if not self._used[other]:
                del self._used[other]
        if len(self._used.get(address, ())) >= _EACH:
            raise Refusal(429, TOO_MANY_SESSIONS, wait=60)

    def used(self, address: str, session: str) -> None:
        """Note that a session was used, or begun."""
        known = self._used[address]
        if session and (session in known or len(known) < _EACH):  # names may be made up
            known[session] = time.monotonic()

    def ended(self, address: str, session: str) -> None:
        """Note that a client ended a session."""
        self._used.get(address, {}).pop(session, None)
