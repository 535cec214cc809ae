"""The MCP server: it hands calls to threads, tells their progress, and words what goes wrong."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any, cast

import anyio
from anyio import CapacityLimiter, from_thread
from anyio.to_thread import run_sync
from mcp import types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.types.version import HANDSHAKE_PROTOCOL_VERSIONS
from starlette.requests import Request

from bavos_core import Cancelled, InputError, __version__
from bavos_io.errors import echo

from .. import strings
from ..gateway.tool_sessions import SESSION
from ..service import Service
from ..sessions import Visitor, acting_as
from .calls import CALLS, Answer, Caller
from .offered import Offered, offered, schema

_EVERY = 0.2  # seconds between notes of progress

log = logging.getLogger(__name__)
Context = ServerRequestContext[Any, Any]


def server(service: Service) -> Server[Any]:
    """Return the server of a service's tools."""
    tools = _Tools(service)
    return Server(
        "bavos",
        version=__version__,
        title="Bavos",
        instructions=strings.MCP_ABOUT,
        on_list_tools=tools.listed,
        on_call_tool=tools.called,
    )


class _Tools:
    """The tools of a service."""

    def __init__(self, service: Service):
        self._service = service
        self._offered = offered(service.settings)
        self._threads: CapacityLimiter | None = None  # made in the event loop

    async def listed(self, _ctx: Context, _params: object) -> types.ListToolsResult:
        """Return all tools."""
        tools = [_described(name, tool) for name, tool in self._offered.items()]
        return types.ListToolsResult(tools=tools)

    async def called(
        self, ctx: Context, params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        """Call a tool in a thread, where its turn is waited for, and tell its progress."""
        self._threads = self._threads or CapacityLimiter(float("inf"))
        progress = _Progress()
        who, address = _visitor(ctx), _address(ctx)

        def work() -> types.CallToolResult:
            with acting_as(who):
                return self._outcome(params, who, address, progress)

        async with anyio.create_task_group() as group:
            group.start_soon(progress.tell, ctx)
            answer = await run_sync(work, limiter=self._threads)
            group.cancel_scope.cancel()
        return answer

    def _outcome(
        self, params: types.CallToolRequestParams, who: Visitor, address: str, progress: _Progress
    ) -> types.CallToolResult:
        try:
            given = self._given(params.name, params.arguments or {}, who)
            call = Caller(self._service, given, address, progress.note)
            return _wrapped(CALLS[params.name](call))
        except InputError as error:
            return _failed(str(error))
        except Cancelled:
            return _failed(strings.CANCELLED)
        except Exception as error:
            log.exception("A tool failed")
            return _failed(strings.failure(error))
        finally:  # nobody has a page open
            self._service.store.leave(who.session)

    def _given(self, name: str, sent: Mapping[str, Any], who: Visitor) -> dict[str, Any]:
        """Return all arguments of a call; raise InputError for unknown names."""
        tool = self._offered.get(name)
        if tool is None:
            raise InputError(f"There is no tool {echo(name)}; call {', '.join(self._offered)}.")
        for unknown in sent.keys() - tool.parameters.keys():
            known = ", ".join(tool.parameters) or "nothing"
            raise InputError(f"There is no parameter {echo(unknown)}; {name} takes {known}.")
        if name == "cancel" and not who.session:
            raise InputError(strings.MCP_NO_SESSION)
        usual = {key: about.get("default") for key, about in tool.parameters.items()}
        return {**usual, **sent}


class _Progress:
    """The progress of a call, which its thread notes and the event loop tells."""

    def __init__(self) -> None:
        self._latest = 0.0, ""

    def note(self, share: float, doing: str) -> None:
        """Take a report; raise Cancelled if nobody waits for the answer any more."""
        self._latest = share, doing
        try:
            from_thread.check_cancelled()
        except anyio.get_cancelled_exc_class():
            raise Cancelled from None

    async def tell(self, ctx: Context) -> None:
        """Send what is new, for as long as the call is under way; a slow client delays no work."""
        told = 0.0, ""
        while True:
            if self._latest != told:
                told = self._latest
                await ctx.session.report_progress(told[0], 1.0, told[1])
            await anyio.sleep(_EVERY)


def _visitor(ctx: Context) -> Visitor:
    """Return who calls; only protocols that begin with a handshake have sessions.

    Sessions of Gradio contain no space, so a page cannot act for a caller.
    """
    request = cast(Request, ctx.request)
    address = request.client.host if request.client else ""
    has_session = ctx.protocol_version in HANDSHAKE_PROTOCOL_VERSIONS
    session = request.headers.get(SESSION, "") if has_session else ""
    return Visitor(address, f"mcp {session}" if session else "")


def _address(ctx: Context) -> str:
    """Return this server's address as the caller sees it; the gate drops what is made up."""
    request = cast(Request, ctx.request)
    headers = request.headers
    scheme = headers.get("x-forwarded-proto", request.url.scheme).split(",")[0].strip()
    host = headers.get("x-forwarded-host", headers.get("host", "")).split(",")[0].strip()
    return f"{scheme}://{host}{request.scope.get('root_path', '')}"


def _described(name: str, tool: Offered) -> types.Tool:
    return types.Tool(
        name=name,
        description=tool.about,
        input_schema={**schema(tool.parameters), "additionalProperties": False},
        output_schema=schema(tool.answer),
        annotations=types.ToolAnnotations(
            read_only_hint=not tool.changes, destructive_hint=name == "delete"
        ),
    )


def _wrapped(answer: Answer) -> types.CallToolResult:
    content: list[types.ContentBlock] = [
        types.TextContent(type="text", text=json.dumps(answer.values, ensure_ascii=False))
    ]
    if answer.picture:
        content.append(types.ImageContent(data=answer.picture, mime_type="image/jpeg"))
    content += [types.ResourceLink(name=link["name"], uri=link["url"]) for link in answer.files]
    return types.CallToolResult(content=content, structured_content=answer.values)


def _failed(sentence: str) -> types.CallToolResult:
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=sentence)], is_error=True
    )
