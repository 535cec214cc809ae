"""Starts the page as a server and cleans up when it ends."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from bavos_core import InputError

from . import strings
from .examples import EXAMPLES
from .gpu import ZERO_GPU
from .jobs import BRIEF_WAITING
from .page import build
from .panels.events import script
from .routes import PICTURE, PREFIX, routes
from .service import Service
from .settings import DemoSettings
from .theme import theme

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
    except InputError as error:
        sys.exit(str(error))
    service = Service(settings, examples=sorted(EXAMPLES.glob("*.mp4")))
    # With the other files that are deleted when this server ends, or when the next one starts.
    os.environ.setdefault("GRADIO_TEMP_DIR", str(service.store.cache))
    warm_up = threading.Thread(target=service.warm_up, args=(settings.backbone,), daemon=True)
    if settings.warm_up and not ZERO_GPU:
        warm_up.start()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        page = build(service)
        service.store.keep_cached()
        threading.Thread(target=service.store.sweep_for_ever, daemon=True).start()
        page.launch(**launch_options(service))
    finally:
        service.close()
        if warm_up.is_alive():  # a thread that runs torch must not outlive the interpreter
            warm_up.join(10)


def launch_options(service: Service) -> dict[str, Any]:
    """Return the arguments of `Blocks.launch`."""
    settings = service.settings
    return {
        "theme": theme(),
        "css": CSS,
        "js": script("page.js"),
        "head": head(),
        "app_kwargs": {"routes": routes(service)},
        "max_file_size": f"{settings.max_upload_mib}mb",
        "allowed_paths": [str(EXAMPLES)],
        "footer_links": ["api", "settings"],
        # Gradio keeps a quarter of a MiB per visitor, also of those who have left.
        "state_session_capacity": 5 * settings.queue_size,
        "max_threads": settings.queue_size + BRIEF_WAITING + _SPARE_THREADS,
        "mcp_server": importlib.util.find_spec("mcp") is not None,
    }


def head() -> str:
    """Return the tags from which a preview of a shared link is made; crawlers want a full URL."""
    host = os.environ.get("SPACE_HOST", "")
    picture = f"{f'https://{host}' if host else ''}{PREFIX}/{PICTURE}"
    return HEAD.format(about=strings.ABOUT, picture=picture)
