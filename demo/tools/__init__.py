"""MCP: the same service as tools for language models, at /gradio_api/mcp.

Gradio's own MCP refuses the addresses of its uploads, answers with the text of Python objects, and
lets all callers share one session.
"""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from .. import strings
from ..gateway.allowed import API
from ..gateway.bodies import LARGE
from ..gateway.tool_sessions import IDLE
from ..service import Service

PATH = f"{API}/mcp"
_METHODS = ["GET", "POST", "DELETE"]
_MOST_SESSIONS = 500


class Mounted:
    """The tools of one server, or a sentence if the package `mcp` is not installed."""

    def __init__(self, service: Service):
        self._manager: Any = None
        if importlib.util.find_spec("mcp"):
            from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

            from .server import server

            self._manager = StreamableHTTPSessionManager(
                server(service),
                max_request_body_size=LARGE,
                max_sessions=_MOST_SESSIONS,
                session_idle_timeout=IDLE,
            )

    @property
    def routes(self) -> list[BaseRoute]:
        """The routes, for `launch(app_kwargs={"routes": …})`."""
        return [Route(path, self, methods=_METHODS) for path in (PATH, f"{PATH}/")]

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Serve while the block runs."""
        if self._manager is None:
            yield
            return
        async with self._manager.run():
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if self._manager is None:
            answer = PlainTextResponse(strings.NO_MCP, 501)
            await answer(Request(scope).scope, receive, send)
        else:
            await self._manager.handle_request(scope, receive, send)
