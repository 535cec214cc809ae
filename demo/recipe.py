"""Code that reproduces a result: command line, Python and HTTP API."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from bavos_core import Edit, Segmentation, backbones
from bavos_io.download import shown

from . import strings
from .clips import WHOLE
from .edits import Edits
from .store import Result


def code(result: Result, cut: Segmentation, edits: Edits, link: str) -> str:
    """Return code that reproduces exactly this cut; `link` is the address of the server."""
    settings = result.analysis.settings
    adapted = strings.ADAPTED in result.notices
    correlator = "correlator.safetensors" if adapted else shown(settings.correlator)
    weights = settings.weights and shown(settings.weights)
    option = f" --weights {weights}" if weights else ""
    plain = " (without the adaptation)" if adapted else ""
    part = _Part.of(*result.analysis.part)
    described = backbones.describe(settings.backbone)
    about = f"# Backbone: {described}\n" if described != settings.backbone else ""
    made = [edit for edit in edits if edit.holds_at(cut.cut)]
    changed = f".edited({_lines(map(_as_python, made))})" if made else ""
    passed = f", [{_lines(repr(edit.to_dict()) for edit in made)}]" if made else ""
    return f"""{about}# Command line (edits need Python or the page)
python -m bavos_core segment CLIP{part.options} --out results \\
    --backbone {settings.backbone}{option} --correlator {correlator} --frames {settings.frames} \\
    --patches {settings.patches} --tau {cut.tau!r}

# Python
from bavos_core import Edit, Settings, analyse, open_clip
analysis = analyse({part.clip}, Settings(backbone={settings.backbone!r}, weights={weights!r},
    correlator={correlator!r}, frames={settings.frames}, patches={settings.patches}))
cut = analysis{changed}.segment(n_clusters={cut.cut})

# This server, from Python{plain}
from gradio_client import Client, handle_file
client = Client("{link or "http://127.0.0.1:7860/"}")
summary, overlay = client.predict(handle_file("CLIP"), {settings.backbone!r},
    {settings.frames}, {settings.patches}{part.arguments}, api_name="/segment")
files = client.predict(summary["result"], {cut.cut}{passed}, api_name="/export")
"""


class _Part(NamedTuple):
    """How the part of a clip is given."""

    options: str  # on the command line
    clip: str  # in Python
    arguments: str  # over HTTP

    @classmethod
    def of(cls, start: float, end: float | None) -> _Part:
        """Return how to give seconds of a clip; nothing for a whole one."""
        if (start, end) == WHOLE:
            return cls("", 'open_clip("CLIP")', "")
        until = "" if end is None else f" --end {end!r}"
        clip = f'open_clip("CLIP", start={start!r}, end={end!r})'
        return cls(f" --start {start!r}{until}", clip, f", {start!r}, {end or 0!r}")


def _as_python(edit: Edit) -> str:
    """Return the call that creates an edit."""
    values = [repr(value) for value in (edit.cluster, edit.value) if value is not None]
    place = [] if edit.at is None else [f"at={edit.at}"]
    return f"Edit.{edit.action}({', '.join(values + place)})"


def _lines(values: Iterable[str]) -> str:
    """Return the content of brackets: values followed by commas, one per line."""
    return "".join(f"\n    {value}," for value in values) + "\n"
