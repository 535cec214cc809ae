"""Starts the page as a server and cleans up when it ends."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from bavos_core import InputError
from bavos_io.decoder import end_all

from . import strings
from .ending import ENDING
from .examples import EXAMPLES
from .gateway import HANDLERS, Gate, Keeper, Names, Rules, Uploads, limit
from .gpu import ZERO_GPU
from .jobs import BRIEF_WAITING
from .page import build
from .panels.events import script
from .routes import PICTURE, PREFIX, routes
from .service import Service
from .settings import DemoSettings, check_start
from .theme import theme
from .tools import Mounted

HEAD = """
<meta name="description" content="{about}">
<meta property="og:title" content="Bavos: objects of a video from attention">
<meta property="og:description" content="{about}">
<meta property="og:type" content="website">
<meta property="og:image" content="{picture}">
<meta name="twitter:card" content="summary_large_image">
"""
_SPARE_THREADS = 64  # for what runs, and for Cancel, beside all that wait
CSS = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")


def launch() -> None:
    """Build the page and serve it until the process is stopped."""
    try:
        settings = DemoSettings.from_environment()
        check_start(settings)
    except InputError as error:
        sys.exit(str(error))
    with ENDING.begun() as steps:
        service = Service(settings, examples=sorted(EXAMPLES.glob("*.mp4")))
        steps += [service.store.close, end_all, service.stop]
    os.environ["GRADIO_TEMP_DIR"] = str(service.store.cache)
    prepare_gradio()
    warm_up = threading.Thread(target=service.warm_up, args=(settings.backbone,), daemon=True)
    if settings.warm_up and not ZERO_GPU:
        warm_up.start()
    try:
        page = build(service)
        with ENDING.begun() as steps:
            steps.append(lambda: _refuse(page))
        service.store.keep_cached()
        threading.Thread(target=service.store.sweep_for_ever, daemon=True).start()
        page.launch(**launch_options(service), prevent_thread_lock=True)
        limit(page.server, each_peer=not settings.proxies)
        page.block_thread()
    finally:
        service.close()


def _refuse(page: gr.Blocks) -> None:
    """Take no more requests."""
    if server := getattr(page, "server", None):
        server.should_exit = True


def prepare_gradio() -> None:
    """Set what Gradio and its web server read from the environment when they start."""
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # what clients get wrong
    os.environ["FORWARDED_ALLOW_IPS"] = ""  # the gate tells who asks
    # No statistics of events, which nobody sees: they would be computed anew after each of them.
    os.environ["GRADIO_ANALYTICS_MAX_EVENTS"] = "1"
    os.environ["GRADIO_ANALYTICS_CACHE_FREQUENCY"] = str(10**9)


def launch_options(service: Service) -> dict[str, Any]:
    """Return the arguments of `Blocks.launch`."""
    settings = service.settings
    keeper, tools = Keeper(rules(service)), Mounted(service)
    uploads = Uploads(service.store, settings.max_upload_mib * 2**20)

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        async with keeper.lifespan(app), tools.lifespan():
            yield

    return {
        "theme": theme(),
        "css": CSS,
        "js": script("page.js"),
        "head": head(),
        "app_kwargs": {
            "routes": [*routes(service), *uploads.routes, *tools.routes],
            "middleware": [Middleware(Gate, keeper=keeper)],
            "lifespan": lifespan,
            "exception_handlers": HANDLERS,
        },
        "max_file_size": f"{settings.max_upload_mib}mb",
        "allowed_paths": [str(EXAMPLES)],
        "footer_links": ["api", "settings"],
        "state_session_capacity": 2000,
        "enable_monitoring": False,
        "max_threads": settings.queue_size + BRIEF_WAITING + _SPARE_THREADS,
        "mcp_server": False,  # of Gradio; see demo/tools
    }


def rules(service: Service) -> Rules:
    """Return whom the gate admits, and which files it lets out."""
    settings, env = service.settings, os.environ
    listening = env.get("GRADIO_SERVER_NAME", "127.0.0.1")
    names = Names.of(settings.hosts, space=env.get("SPACE_HOST", ""), listening=listening)
    return Rules(names, settings.proxies, (service.store.cache.resolve(), EXAMPLES.resolve()))


def head() -> str:
    """Return the tags from which a preview of a shared link is made; crawlers want a full URL."""
    host = os.environ.get("SPACE_HOST", "")
    picture = f"{f'https://{host}' if host else ''}{PREFIX}/{PICTURE}"
    return HEAD.format(about=strings.ABOUT, picture=picture)
