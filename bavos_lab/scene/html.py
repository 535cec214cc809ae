"""One HTML file with a viewer and all of its parts, that works without a network."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bavos_core import Analysis
from bavos_core.settings import AttentionSource
from bavos_io.clip import Clip
from bavos_io.files import atomic_write

from .base import base_part
from .compact import BUDGET, attention_part
from .readings import readings_part
from .whole import Scene

_LIMIT = 7_900_000  # bytes that a file with the analysed frames shall have at most
_PER_BYTE = 4 / 3  # of base64
_LEAST = 500_000  # bytes of a source that every file has, however large the rest is
_WORTH = 1_500_000  # bytes below which a source that is not needed is left out
_SMALL = 700_000  # bytes of key-similarity, whose one head has few components

_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; \
script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; media-src blob:">
<title>{title}</title>
<style>html, body {{ margin: 0; height: 100% }} main {{ min-height: 100% }}</style>
</head>
<body>
<main id="viewer"></main>
"""
_PART = '<script type="text/plain" data-part="{name}">{data}</script>\n'
# `viewer_js` defines Bavos. A part that is not in the file is `final`: asking again is of no use.
_TAIL = """<script>
{program}
</script>
<script>
(() => {{
  const found = (name) => document.querySelector(`script[data-part="${{CSS.escape(name)}}"]`);
  const missing = (name) => new Error(`This file has no part ${{name}}.`);
  const part = async (name) => {{
    if (!found(name)) throw Object.assign(missing(name), {{ final: true }});
    return Uint8Array.from(atob(found(name).textContent), (c) => c.charCodeAt(0)).buffer;
  }};
  const host = {{ part, has: (name) => found(name) !== null }};
  Bavos.mount(document.getElementById('viewer'), host, {options}).open();
}})();
</script>
</body>
</html>
"""


def write_html(
    path: Path,
    analysis: Analysis,
    clip: Clip | None = None,
    *,
    state: Mapping[str, Any],
    viewer_js: str,
    viewer_css: str,
) -> None:
    """Write a viewer of an analysis into one HTML file.

    clip: to show all frames of the clip, not only those that were analysed; the file then has no
    limit of size. state: the viewer's state to begin with, JSON-ready. viewer_js: a program that
    defines `Bavos.mount`; viewer_css: its style sheet.
    """
    room = _LIMIT - len(viewer_js.encode()) - len(viewer_css.encode())
    frames = {f"frame/{index}": part for index, part in Scene(analysis).frames(clip)}
    parts = {**frames, "readings": readings_part(analysis)}
    room -= int(sum(map(len, parts.values())) * _PER_BYTE)
    attention = dict(_attention(Scene(analysis), int(room / _PER_BYTE)))
    parts.update({f"attention/{source}": part for source, part in attention.items()})
    base = base_part(analysis, attention)
    options = {"css": viewer_css, "state": dict(state)}
    with atomic_write(path) as draft, draft.open("w", encoding="utf-8") as file:
        file.write(_HEAD.format(title=html.escape(f"{analysis.clip_name} – Bavos")))
        for name, part in {"base": base, **parts}.items():
            file.write(_PART.format(name=name, data=base64.b64encode(part).decode()))
        file.write(_TAIL.format(program=_in_script(viewer_js), options=_json(options)))


def _attention(scene: Scene, room: int) -> Iterator[tuple[AttentionSource, bytes]]:
    """Yield the parts of sources: those that every file has, and others if there is room."""
    needed = {"key-similarity", "cross-frame", scene.analysis.source}
    wanted = sorted(scene.sources, key=lambda s: (s not in needed, s != "key-similarity"))
    left = sum(source in needed for source in wanted)
    for source in wanted:
        if source not in needed and room < _WORTH:
            return
        share = _SMALL if source == "key-similarity" else room // max(left, 1)
        part = attention_part(scene.analysis, source, budget=min(max(share, _LEAST), BUDGET))
        room, left = room - len(part), left - 1
        yield source, part


def _json(value: object) -> str:
    """Return a value as JSON that may stand in a script element."""
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c")


def _in_script(program: str) -> str:
    """Return a program that does not end, or comment out, the script element around it."""
    return re.sub(r"<(?=/script|!--)", r"\\x3c", program, flags=re.IGNORECASE)
