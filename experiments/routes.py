"""Every route of a running server, asked by a stranger with twenty kinds of bodies.

    python -m experiments.routes --out experiments/figures/routes.csv

Each answer must be a refusal or harmless. At the end the server has written no traceback, runs no
process, and keeps no file that it was not sent as an upload. Linux only.
"""

from __future__ import annotations

import gzip
import json
import re
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import httpx
from fastapi import FastAPI
from gradio.routes import App

from demo.page import build
from demo.server import launch_options
from demo.service import Service
from demo.settings import DemoSettings

from .common import Row, markdown, parser_of, write_rows
from .server import Server, connected, serving

_JSON = {"Content-Type": "application/json"}
_FORM = {"Content-Type": "multipart/form-data; boundary=b"}
_CALL: dict[str, Any] = {"data": [], "fn_index": 0, "session_hash": "stranger"}


class Asked(NamedTuple):
    """One kind of request."""

    name: str
    method: str = ""  # that of the route
    content: Any = b""
    headers: Mapping[str, str] = MappingProxyType({})


def kinds() -> list[Asked]:
    """Return the requests that every route is asked with."""
    path = {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}
    part = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n--b--\r\n'
    bodies: dict[str, Any] = {
        "wrong types": {"data": "x", "fn_index": "y", "session_hash": 7, "event_id": []},
        "lists for numbers": {**_CALL, "data": [[[1]], [2], {}, [], [], []]},
        "nulls": {"data": None, "fn_index": None, "session_hash": None},
        "NaN": {**_CALL, "data": [float("nan")] * 6},
        "a name of 1 MB": {**_CALL, "data": ["x" * 1_000_000]},
        "a path outside": {**_CALL, "data": [path] * 6},
        "the session of another": {**_CALL, "session_hash": "warm-up", "event_id": "warm-up"},
        "huge numbers": {**_CALL, "fn_index": 10**30, "data": [10**300] * 6},
        "a call": {**_CALL, "data": ["x"] * 6},
    }
    return [
        Asked("nothing"),
        *(Asked(name, content=json.dumps(body), headers=_JSON) for name, body in bodies.items()),
        Asked("deep nesting", content="[" * 50_000 + "]" * 50_000, headers=_JSON),
        Asked("a form without a file", content=part, headers=_FORM),
        Asked("gzip", content=gzip.compress(b"{}"), headers={**_JSON, "Content-Encoding": "gzip"}),
        Asked("another content type", content="{}", headers={"Content-Type": "text/xml"}),
        Asked("binary", content=bytes(range(256)) * 64),
        Asked("another origin", headers={"Origin": "https://evil.example"}),
        Asked("no origin at all", headers={"Origin": "null"}),
        Asked("another host", headers={"Host": "evil.example"}),
        Asked("in chunks", content=[b"{", b'"data":', b"[]}"], headers=_JSON),
        *(Asked(method, method) for method in ("HEAD", "OPTIONS", "PUT", "DELETE")),
    ]


def routes() -> list[tuple[str, str]]:
    """Return method and path of every route of the app, with something in place of parameters."""
    service = Service(DemoSettings(backbone="descriptors"))
    options = launch_options(service)
    app = App.create_app(
        build(service), app_kwargs=options["app_kwargs"], mcp_server=options.get("mcp_server")
    )
    found = sorted({(method, path) for method, path in _walked(app) if method != "HEAD"})
    service.close()
    return [(method, re.sub(r"\{[^}]+\}", "cut", path)) for method, path in found]


def _walked(place: FastAPI | Any) -> Iterator[tuple[str, str]]:
    for route in getattr(place, "routes", ()):
        if router := getattr(route, "original_router", None):
            yield from _walked(router)
        else:
            yield from (
                (method, route.path) for method in getattr(route, "methods", None) or ["GET"]
            )


def ask(server: Server, method: str, path: str, asked: Asked, address: str) -> Row:
    """Ask a route once; return its status and the beginning of what it says."""
    content = iter(asked.content) if isinstance(asked.content, list) else asked.content
    headers = {"X-Forwarded-For": address, **asked.headers}
    used, url = asked.method or method, f"{server.address.rstrip('/')}{path}"
    try:
        with httpx.stream(used, url, content=content, headers=headers, timeout=30) as answer:
            said, status = next(answer.iter_raw(), b""), answer.status_code
    except httpx.TransportError as error:
        said, status = type(error).__name__.encode(), 0
    first = re.sub(r"[^\x20-\x7e]+", " ", said[:60].decode("latin-1"))
    return {"method": used, "route": path, "asked with": asked.name, "status": status,
            "answer": first}  # fmt: skip


def main() -> None:
    """Ask every route with every kind of body, then look at what the server has become."""
    args = parser_of(__doc__ or "").parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "tmp"
        folder.mkdir()
        with serving(folder, 3600, BAVOS_PROXIES=1) as server:
            connected(server, Path(name), "10.0.0.1").close()
            before = {path for path in folder.rglob("*") if path.is_file()}
            every = [(*route, asked) for route in routes() for asked in kinds()]
            rows = write_rows(
                args.out,
                (ask(server, *one, f"10.1.{i // 50}.1") for i, one in enumerate(every)),
            )
            time.sleep(3)
            files = {path for path in folder.rglob("*") if path.is_file()} - before
            processes = server.decoders()
        log = (folder.parent / "server.log").read_text()
    counted = Counter(row["status"] for row in rows)
    print(markdown(["status", "answers"], sorted(counted.items())))
    print(f"new files: {len(files)}; processes: {len(processes)}; lines of the log: "
          f"{len(log.splitlines())}; tracebacks: {log.count('Traceback')}")  # fmt: skip
    if files or processes or "Traceback" in log or counted[500] or counted[0]:
        raise SystemExit(f"Look at {sorted(map(str, files))} and the log:\n{log[-3000:]}")


if __name__ == "__main__":
    main()
