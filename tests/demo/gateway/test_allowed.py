"""Every route of the app is reviewed, or refused."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi.routing import APIRoute
from gradio.routes import App
from starlette.routing import Mount, Route

from demo.gateway.allowed import kind_of
from demo.gateway.said import NOT_SERVED
from demo.page import build
from demo.server import launch_options
from demo.service import Service

REVIEWED = {  # served: what each does with anything that a stranger sends was looked at
    "GET /", "HEAD /", "GET /config", "GET /theme.css", "GET /favicon.ico", "GET /robots.txt",
    "GET /manifest.json", "GET /assets/{path:path}", "GET /static/{path:path}",
    "GET /gradio_api/info", "GET /gradio_api/app_id", "GET /gradio_api/startup-events",
    "GET /gradio_api/file={path_or_url:path}", "HEAD /gradio_api/file={path_or_url:path}",
    "GET /gradio_api/heartbeat/{session_hash}", "GET /gradio_api/queue/data",
    "GET /gradio_api/upload_progress", "GET /gradio_api/call/{api_name}/{event_id}",
    "GET /gradio_api/call/v2/{api_name}/{event_id}", "POST /gradio_api/call/{api_name}",
    "POST /gradio_api/call/v2/{api_name}", "POST /gradio_api/queue/join",
    "POST /gradio_api/cancel", "POST /gradio_api/reset", "POST /gradio_api/upload",
}  # fmt: skip
OURS = re.compile(r"(GET|HEAD|POST) /gradio_api/(bavos/|upload$)|\w+ /gradio_api/mcp")


def routes_of(place: object) -> Iterator[tuple[str, str]]:
    """Method and path of every route, also of routers that were included."""
    for route in getattr(place, "routes", ()):
        router = getattr(route, "original_router", None)
        if router is not None:
            yield from routes_of(router)
        elif isinstance(route, Mount):
            yield "GET", f"{route.path}/x"
        else:
            assert isinstance(route, (Route, APIRoute)), f"{route!r}: look at what it serves"
            yield from ((method, route.path) for method in sorted(route.methods or {"GET"}))


@pytest.fixture(scope="module")
def all_routes(served: Service) -> list[tuple[str, str]]:
    options = launch_options(served)
    app = App.create_app(
        build(served), app_kwargs=options["app_kwargs"], mcp_server=options.get("mcp_server")
    )
    return list(routes_of(app))


def filled(path: str, folder: Path) -> str:
    """A path of a route: with a file that may be sent, or with x."""
    found = path.replace("file={path_or_url:path}", f"file={folder / 'x'}")
    return re.sub(r"\{[^}]+\}", "x", found)


def test_every_route_is_reviewed_or_refused(all_routes, served: Service, server: str) -> None:
    """A new version of Gradio cannot add one that nobody looked at."""
    folder = served.store.cache.resolve()
    passed, refused = set(), []
    for method, path in all_routes:
        asked = filled(path, folder)
        if kind_of(method, asked, [folder]):
            passed.add(f"{method} {path}")
        else:
            refused.append((method, asked))
    assert {one for one in passed if not OURS.match(one)} <= REVIEWED
    assert {one for one in REVIEWED if not OURS.match(one)} <= passed, "no longer there"
    assert len(refused) > 50
    with httpx.Client(base_url=server) as client:
        for method, asked in refused:
            answer = client.request(method, asked)
            assert answer.status_code == 404, asked
            assert method == "HEAD" or NOT_SERVED in answer.text, asked


@pytest.mark.parametrize(
    "path",
    [
        "http://example.org/x", "https:/example.org", "/etc/passwd", "/proc/self/environ", "app.py",
        "file:///etc/passwd", "//etc/passwd", "../app.py", "a" * 5000, "\0", "~/.bashrc", "",
    ],
)  # fmt: skip
def test_files_from_elsewhere_are_not_sent(path: str, served: Service, server: str) -> None:
    folder = served.store.cache
    for asked in (path, f"{folder}/../{path}", f"{folder}/../.in-use"):
        answer = httpx.get(
            f"{server}gradio_api/file=" + httpx.QueryParams({"": asked}).__str__()[1:]
        )
        assert answer.status_code == 404
        assert answer.text == NOT_SERVED


def test_a_link_out_of_the_folder_leads_nowhere(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "file").write_text("x")
    (inside / "link").symlink_to(outside / "file")
    assert kind_of("GET", f"/gradio_api/file={inside}/file", [inside])
    assert not kind_of("GET", f"/gradio_api/file={inside}/link", [inside])
    assert not kind_of("GET", f"/gradio_api/file={inside}", [inside])


def test_other_methods_and_sockets_are_refused(server: str) -> None:
    for method in ("PUT", "DELETE", "PATCH", "TRACE", "OPTIONS"):
        assert httpx.request(method, f"{server}gradio_api/upload").status_code == 404
