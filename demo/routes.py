"""Answers to the viewer by plain HTTP: parts of a result, exact numbers, and the HTML file.

GET  gradio_api/bavos/RESULT/PART       one part, as bavos_lab.scene gives it
GET  gradio_api/bavos/RESULT/exact      a row of attention: sample, y, x, source, head
POST gradio_api/bavos/RESULT/html       one HTML file that works offline, in the given state
GET  gradio_api/bavos/arrival/ready     the id of this server's own result of the first example
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio
from anyio import CapacityLimiter, from_thread
from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from bavos_core import Cancelled, InputError
from bavos_io.stopping import stoppable

from . import strings
from .api import checked_head, checked_source
from .checks import number, whole
from .parts import ARRIVAL, NoSuchPart, NotYet
from .runs import Kind
from .service import Service
from .sessions import Visitor, acting_as
from .store import GONE
from .turns import Busy

PREFIX = "/gradio_api/bavos"
PICTURE = "preview.jpg"  # of the page, for shared links
_ASSETS = Path(__file__).parent.parent / "assets"
_PATIENCE = 8.0  # seconds that a request waits for a frame that is still to be made
_LOOK = 0.2  # seconds between looks whether it is there
_MOST_STATE = 200_000  # bytes of the state of a viewer
_KEPT = "private, max-age=3600, immutable"

log = logging.getLogger(__name__)
Endpoint = Callable[[Request], Awaitable[Response]]


def routes(service: Service) -> list[Route]:
    """Return the routes, for `launch(app_kwargs={"routes": …})`."""
    answers = Answers(service)
    return [
        Route(f"{PREFIX}/{PICTURE}", picture),
        Route(f"{PREFIX}/{ARRIVAL}/ready", politely(answers.ready)),
        Route(f"{PREFIX}/{{result}}/exact", politely(answers.exact)),
        Route(f"{PREFIX}/{{result}}/html", politely(answers.html), methods=["POST"]),
        Route(f"{PREFIX}/{{result}}/{{part:path}}", politely(answers.part)),
    ]


async def picture(_request: Request) -> Response:
    """Send the picture that shared links are shown with."""
    return FileResponse(_ASSETS / PICTURE, media_type="image/jpeg")


def politely(endpoint: Endpoint) -> Endpoint:
    """Return an endpoint whose errors are one sentence and a status."""

    async def guarded(request: Request) -> Response:
        try:
            with acting_as(Visitor(request.client.host if request.client else "", "")):
                return await endpoint(request)
        except NotYet:
            return _sentence(503, strings.NOT_YET, {"Retry-After": "1"})
        except Busy as error:
            return _sentence(503, str(error), {"Retry-After": "2"})
        except Cancelled:  # nobody listens any more
            return _sentence(503, strings.CANCELLED)
        except NoSuchPart as error:
            return _sentence(404, str(error))
        except InputError as error:
            return _sentence(410 if str(error) == GONE else 400, str(error))
        except Exception as error:
            log.exception("A request of the viewer failed")
            return _sentence(500, strings.failure(error))

    return guarded


def _sentence(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    return PlainTextResponse(text, status, {"Cache-Control": "no-store", **(headers or {})})


def _read(text: str | None) -> object:
    """Return the number in a text, or the text itself if it holds none."""
    try:
        return float(text or "")
    except ValueError:
        return text


def _finite(text: str) -> float:
    """Return a number; refuse NaN and infinity, and what is too large for another one."""
    if not math.isfinite(found := float(text)):
        raise ValueError(text)
    return found


async def _state_in(request: Request) -> dict[str, Any]:
    """Return the state of a viewer that a request brings; raise InputError for anything else."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_STATE:
            raise InputError(strings.BAD_STATE)
    try:
        state = json.loads(body, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise InputError(strings.BAD_STATE) from error
    if not isinstance(state, dict):
        raise InputError(strings.BAD_STATE)
    return state


class Answers:
    """One method per route."""

    def __init__(self, service: Service):
        self._service = service
        self._threads: CapacityLimiter | None = None  # made in the event loop

    async def part(self, request: Request) -> Response:
        """Send a part; wait a while for a frame that is still to be made."""
        result, name = request.path_params["result"], request.path_params["part"]
        until = anyio.current_time() + _PATIENCE
        while True:
            try:
                part = await self._briefly(request, self._service.parts.get, result, name)
                break
            except NotYet:
                if anyio.current_time() > until or await request.is_disconnected():
                    raise
                await asyncio.sleep(_LOOK)
        headers = {"Cache-Control": _KEPT, "X-Content-Type-Options": "nosniff"}
        return Response(part, media_type="application/octet-stream", headers=headers)

    async def exact(self, request: Request) -> Response:
        """Send a row of attention in exact numbers."""
        asked, key = request.query_params, request.path_params["result"]
        last = len(self._service.result(key).analysis.frames) - 1
        place = (
            whole(_read(asked.get("sample")), "sample", 0, last),
            number(_read(asked.get("y")), "y", 0, 1),
            number(_read(asked.get("x")), "x", 0, 1),
        )
        one = checked_head(_read(asked.get("head", "-1")))
        source = checked_source(asked.get("source"))
        row = await self._briefly(request, self._service.exact, key, place, source, one)
        return JSONResponse({"row": row}, headers={"Cache-Control": _KEPT})

    async def html(self, request: Request) -> Response:
        """Send a result as one HTML file, in the state of the viewer that asks."""
        state = await _state_in(request)
        key = request.path_params["result"]
        path = await self._in_thread(request, self._service.html, key, state)
        return FileResponse(path, media_type="text/html", filename=quote(path.name))

    async def ready(self, _request: Request) -> Response:
        """Send the id of the first example's own result, or null."""
        result = self._service.arrived()
        found = {"result": result.id if result else None}
        return JSONResponse(found, headers={"Cache-Control": "no-store"})

    async def _briefly(self, request: Request, work: Callable[..., Any], *values: Any) -> Any:
        """Do a short piece of work, in its turn."""

        def in_turn() -> Any:
            with self._service.jobs.briefly():
                return work(*values)

        return await self._in_thread(request, in_turn)

    async def _in_thread(self, request: Request, work: Callable[..., Any], *values: Any) -> Any:
        """Do work that waits for its turn in a thread that nothing else needs, while one listens.

        When the request breaks off, the work ends at its next checkpoint.
        """
        looked = time.monotonic()

        def left() -> bool:
            nonlocal looked
            if time.monotonic() - looked < _LOOK:
                return False
            looked = time.monotonic()
            return from_thread.run(request.is_disconnected)

        def stopped() -> Any:
            with (
                self._service.jobs.runs.cancellable(Kind.BRIEF, object(), left) as stop,
                stoppable(stop.check),
            ):
                return work(*values)

        self._threads = self._threads or CapacityLimiter(math.inf)
        return await run_sync(stopped, limiter=self._threads)
