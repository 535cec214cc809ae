"""Bodies of requests: how large, and how slow, they may be."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.types import Message, Receive

from .said import CUT_OFF, TOO_SLOW, Refusal, too_large

LARGE = 48 * 2**20  # bytes of a body that may hold a clip in base64
_IDLE = 30.0  # seconds without anything
_SLOWEST = 2048  # bytes a second, on the whole
_DRAINED = 16 * 2**20, 10.0  # bytes and seconds that are read in vain, so that a client hears why


@dataclass
class Patient:
    """Receives a body, and gives up when it comes too slowly."""

    receive: Receive
    idle: float = _IDLE
    started: float = field(default_factory=time.monotonic)
    got: int = 0

    async def __call__(self) -> Message:
        """Return the next message; raise Refusal when the client is too slow."""
        spent = time.monotonic() - self.started
        patience = min(self.idle, self.idle + self.got / _SLOWEST - spent)
        try:
            message = await asyncio.wait_for(self.receive(), max(patience, 0))
        except asyncio.TimeoutError as error:
            raise Refusal(408, TOO_SLOW, close=True) from error
        self.got += len(message.get("body", b""))
        return message


def announced(headers: Headers) -> int:
    """Return how many bytes a body says it has; -1 if it does not say so."""
    said = headers.get("content-length", "")
    return int(said) if said.isascii() and said.isdigit() else -1


async def whole_body(headers: Headers, receive: Receive, limit: int) -> bytes:
    """Return a whole body; raise Refusal for one that is too large, too slow or cut off."""
    if announced(headers) > limit:
        await drain(receive)
        raise Refusal(413, too_large(limit), close=True)
    patient, parts, more = Patient(receive), [], True
    while more:
        message = await patient()
        if message["type"] == "http.disconnect":
            raise Refusal(400, CUT_OFF)
        more = message.get("more_body", False)
        if patient.got > limit:
            if more:
                await drain(receive)
            raise Refusal(413, too_large(limit), close=True)
        parts.append(message.get("body", b""))
    return b"".join(parts)


async def drain(receive: Receive) -> None:
    """Read on for a while without keeping anything: many clients send all before they listen."""
    most, seconds = _DRAINED
    patient = Patient(receive, idle=2.0)
    while patient.got < most and time.monotonic() - patient.started < seconds:
        with suppress(Refusal):
            message = await patient()
            if message.get("more_body", False):
                continue
        return


def replayed(body: bytes, receive: Receive) -> Receive:
    """Return a way to receive a body that was read already, and then what comes after it."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again
