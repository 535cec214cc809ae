"""The gate: every request passes it, or is answered here in one sentence."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
    nullcontext,
    suppress,
)
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from fastapi import HTTPException
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import state
from .allowed import API, Kind, kind_of
from .bodies import LARGE, announced, replayed, whole_body
from .calls import cancels, checked
from .origins import Names, client_address, trusted
from .pages import Pages
from .rates import AtOnce, Rate
from .said import BAD_CALL, FAILED, NOT_SERVED, TWO_LENGTHS, UNHEARD, Refusal
from .tool_sessions import SESSION, ToolSessions

_SMALL = 512 * 1024  # bytes of a body
_GLANCED = 4096  # bytes of a body that is looked at before it counts: it may cancel something
_UNHEARD = 64  # answers that wait in a session, or are being made
_CANCELLED = b'"notifications/cancelled"'  # in a message of MCP that ends a job
_UNREAD = 60.0  # seconds that an answer waits for a client to read on
_FAULTS = (LookupError, TypeError, ValueError)  # what Gradio raises for a call that makes no sense

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rules:
    """The choices of the operator."""

    names: Names = field(default_factory=Names)
    proxies: int = 0  # in front of the server
    folders: tuple[Path, ...] = ()  # files are sent from these


class Keeper:
    """Remembers addresses and sessions."""

    def __init__(self, rules: Rules):
        self.rules = rules
        self._posts = Rate(20, 100)
        self._cancels = Rate(20, 200)
        self._cancelling = AtOnce(16, 200)  # beside the others, so that these never refuse it
        self._plain = AtOnce(64, 400)
        self._streams = AtOnce(100, 800)
        self._large = AtOnce(2, 4)
        self.tool_sessions = ToolSessions()
        self._pages = Pages(lambda session: state.forget(self._app, session))
        self._app: Any = None

    @asynccontextmanager
    async def lifespan(self, app: Any) -> AsyncIterator[None]:
        """Keep the states of open sessions while an app runs."""
        states = state.States(self._pages.is_open)
        states.set_blocks(app.get_blocks())
        app.state_holder, self._app = states, app
        yield

    @contextmanager
    def admitted(self, kind: Kind, address: str, session: str) -> Iterator[None]:
        """Count a request while the block runs; raise Refusal for one too many."""
        if kind is not Kind.STREAM:
            with (self._cancelling if kind is Kind.CANCEL else self._plain).one(address):
                yield
        elif session:
            with self._streams.one(address), self._pages.listening(address, session):
                yield
        else:
            with self._streams.one(address):
                yield

    def count(self, kind: Kind, address: str) -> None:
        """Count a request that changes something; raise Refusal for one too many."""
        (self._cancels if kind is Kind.CANCEL else self._posts).take(address)

    def room_for(self, headers: Headers, address: str) -> AbstractContextManager[None]:
        """Count a large body while the block runs; raise Refusal for one too many."""
        small = 0 <= announced(headers) <= _SMALL
        return nullcontext() if small else self._large.one(address)

    async def call(self, path: str, headers: Headers, receive: Receive, address: str) -> Called:
        """Read and check a call; raise Refusal for one that is not taken."""
        body = await whole_body(headers, receive, _SMALL)
        glanced = len(body) <= _GLANCED and cancels(self._app.get_blocks(), path, body)
        (self._cancels if glanced else self._posts).take(address)
        session = checked(self._app.get_blocks(), path, body)
        if session:
            self._check_heard(session, glanced)
            self._pages.arrive(address, session)
        elif not glanced:
            self._pages.check_room(address)
        return Called(replayed(body, receive), session)

    def _check_heard(self, session: str, cancels: bool) -> None:
        """Raise Refusal if too many answers wait in a session; they are kept until it asks."""
        kept = self._app.get_blocks()._queue.pending_event_ids_session.get(session, ())
        if len(kept) >= _UNHEARD and not cancels:
            raise Refusal(429, UNHEARD, wait=5)

    def began(self, address: str, answer: bytes) -> None:
        """Note the session that Gradio gave to a call without one."""
        with suppress(ValueError, KeyError, TypeError, Refusal):
            self._pages.arrive(address, str(json.loads(answer)["event_id"]))


@dataclass(frozen=True)
class Called:
    """A call that is taken."""

    receive: Receive
    session: str


class Answer:
    """Passes an answer on, and knows how far it has come."""

    def __init__(self, send: Send):
        self._send = send
        self.started = False
        self.ended = False
        self.on_start: Callable[[Headers], None] = lambda _: None  # is told the headers
        self.body = b""  # of the first message, which is all of a short answer

    async def __call__(self, message: Message) -> None:
        """Send a message; raise TimeoutError if the client reads nothing for a while."""
        if message["type"] == "http.response.start":
            self.started = True
            headers = MutableHeaders(scope=message)
            headers.setdefault("X-Content-Type-Options", "nosniff")
            self.on_start(headers)
        else:
            self.body = self.body or message.get("body", b"")
            self.ended = not message.get("more_body", False)
        await asyncio.wait_for(self._send(message), _UNREAD)


class Gate:
    """The middleware. It must come before every route."""

    def __init__(self, app: ASGIApp, keeper: Keeper):
        self._app = app
        self._keeper = keeper

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            answer, path = Answer(send), _path(scope)
            try:
                await self._pass(scope, receive, answer, path)
            except Refusal as refusal:
                await _end(refusal, scope, receive, answer, path)
            except Exception as error:
                await _end(_failed(error, scope, path, answer), scope, receive, answer, path)

    async def _pass(self, scope: Scope, receive: Receive, answer: Answer, path: str) -> None:
        rules, method = self._keeper.rules, scope["method"]
        scope["headers"] = trusted(scope["headers"], rules.proxies)
        headers = Headers(scope=scope)
        rules.names.check_host(headers)
        if "content-length" in headers and "transfer-encoding" in headers:
            raise Refusal(400, TWO_LENGTHS, close=True)
        kind = kind_of(method, path, rules.folders)
        if kind is None:
            raise Refusal(404, NOT_SERVED)
        if method not in ("GET", "HEAD"):
            rules.names.check_origin(headers)
        peer = scope["client"] or ("", 0)
        address = client_address(peer[0], headers, rules.proxies)
        scope["client"] = (address, peer[1])
        session = _session(scope, path) if kind is Kind.STREAM else ""
        with self._keeper.admitted(kind, address, session):
            await self._admit(kind, address, scope, receive, answer, path)

    async def _admit(
        self, kind: Kind, address: str, scope: Scope, receive: Receive, answer: Answer, path: str
    ) -> None:
        if scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, answer)
        elif kind is Kind.CALL:
            called = await self._keeper.call(path, Headers(scope=scope), receive, address)
            await self._app(scope, called.receive, answer)
            if not called.session:
                self._keeper.began(address, answer.body)
        elif kind is Kind.MCP:
            await self._forward_to_tools(address, scope, receive, answer)
        else:
            self._keeper.count(kind, address)
            self._keeper.tool_sessions.ended(address, Headers(scope=scope).get(SESSION, ""))
            await self._forward(kind, scope, receive, answer)

    async def _forward(self, kind: Kind, scope: Scope, receive: Receive, answer: Answer) -> None:
        if kind is not Kind.UPLOAD:
            receive = replayed(await whole_body(Headers(scope=scope), receive, _SMALL), receive)
        await self._app(scope, receive, answer)

    async def _forward_to_tools(
        self, address: str, scope: Scope, receive: Receive, answer: Answer
    ) -> None:
        headers, sessions = Headers(scope=scope), self._keeper.tool_sessions
        with self._keeper.room_for(headers, address):
            body = await whole_body(headers, receive, LARGE)
            cancels = len(body) <= _GLANCED and _CANCELLED in body
            self._keeper.count(Kind.CANCEL if cancels else Kind.MCP, address)
            if SESSION not in headers:
                sessions.check_room(address)
            answer.on_start = lambda given: sessions.used(address, given.get(SESSION, ""))
            sessions.used(address, headers.get(SESSION, ""))
            await self._app(scope, replayed(body, receive), answer)


async def _unfit(request: Request, _error: Exception) -> Response:
    """Answer a body of another form than Gradio expects; its own answer would hold all of it."""
    return Refusal(422, BAD_CALL).response(_path(request.scope))


HANDLERS = {RequestValidationError: _unfit}


def _path(scope: Scope) -> str:
    """Return the path of a request below the address under which the page stands."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    return path.removeprefix(root) if root and path.startswith(f"{root}/") else path


def _session(scope: Scope, path: str) -> str:
    """Return the session that a stream is for; "" if it is for none."""
    if path.startswith((f"{API}/heartbeat/", f"{API}/call/")):
        return path.rpartition("/")[2]
    asked = parse_qs(scope["query_string"].decode("latin-1"), max_num_fields=20)
    return asked.get("session_hash", [""])[0][:64]


async def _end(refusal: Refusal, scope: Scope, receive: Receive, answer: Answer, path: str) -> None:
    """Answer with a sentence, or end an answer that has begun already."""
    with suppress(OSError):  # the client has gone, or does not read
        if not answer.started:
            await refusal.response(path)(scope, receive, answer)
        elif not answer.ended:
            await answer({"type": "http.response.body", "body": b"", "more_body": False})


def _fault(method: str, path: str) -> Refusal | None:
    """Return what is said if Gradio cannot make sense of a request; None where we answer it."""
    if kind_of(method, path) in (Kind.CALL, Kind.CANCEL):
        return Refusal(400, BAD_CALL)
    own = path.startswith(f"{API}/bavos/")
    return Refusal(404, NOT_SERVED) if method == "GET" and not own else None


def _failed(error: Exception, scope: Scope, path: str, answer: Answer) -> Refusal:
    """Return what is said of an error, and log it: a line for a client's, all for one of ours."""
    line = f"{scope['method']} {path[:60]}: {type(error).__name__}: {' '.join(str(error).split())}"
    if isinstance(error.__cause__, HTTPException) or isinstance(error, asyncio.TimeoutError):
        log.info("%.200s", line)  # a stream for nobody, or a client that stopped reading
        return Refusal(400, BAD_CALL)
    fault = _fault(scope["method"], path)
    if fault and isinstance(error, _FAULTS) and not answer.started:
        log.warning("%.200s", line)
        return fault
    log.exception("A request failed: %.200s", line)
    return Refusal(500, FAILED)
