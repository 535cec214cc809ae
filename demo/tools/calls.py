"""Each tool: what it asks of the service, and what it answers."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from PIL import Image

from bavos_core import InputError
from bavos_io.errors import echo

from .. import images, strings
from ..answers import as_json, attention_as_json, cut_as_json
from ..api import (
    checked_clusters,
    checked_head,
    checked_part,
    checked_preset,
    checked_query,
    checked_sample,
    checked_source,
)
from ..checks import text
from ..edits import checked_edits
from ..runs import Kind
from ..service import Service
from ..turns import Report
from .clips import UPLOAD, given_clip

_SIDE = 640  # pixels of the longer side of a picture in an answer


@dataclass
class Answer:
    """JSON values, perhaps a picture, and files that the client can fetch."""

    values: dict[str, Any]
    picture: str = ""  # JPEG in base64
    files: list[dict[str, str]] = field(default_factory=list)  # name and url of each


@dataclass(frozen=True)
class Caller:
    """One call: its arguments, this server's address as the caller sees it, and its progress."""

    service: Service
    given: Mapping[str, Any]
    address: str
    report: Report

    def link(self, path: Path) -> dict[str, str]:
        """Return name and address of a file."""
        return {"name": path.name, "url": f"{self.address}/gradio_api/file={quote(str(path))}"}

    @property
    def result(self) -> str:
        """The id of a result."""
        return text(self.given["result"], "result")


def segment(call: Caller) -> Answer:
    """Segment a clip, and show its first analysed frame."""
    given, service = call.given, call.service
    preset = checked_preset(given["frames"], given["patches"], service.settings)
    part, backbone = checked_part(given["start"], given["end"]), text(given["backbone"], "backbone")
    with (
        given_clip(given["clip"], service, call.address) as path,
        service.jobs.cancellable(Kind.SEGMENTING) as stop,
    ):
        made, overlay = service.painted(
            str(path), backbone, preset, stop.raising(call.report), part=part
        )
    cut = made.analysis.segment()
    link = call.link(overlay)
    values = {
        **as_json(made),
        "objects": cut.objects,
        "page": f"{call.address}/?result={made.id}",
        "overlay": link["url"],
    }
    return Answer(values, _jpeg(images.objects_frame(made.analysis, cut, 0)), [link])


def cut(call: Caller) -> Answer:
    """Describe a cut, and show a frame of it."""
    made, clusters = checked_edits(call.given["edits"]), checked_clusters(call.given["n_clusters"])
    with call.service.jobs.briefly(call.report):
        found, one = call.service.cut(call.result, clusters, made)
        sample = checked_sample(call.given["sample_index"], found)
        return Answer(
            cut_as_json(found, one), _jpeg(images.objects_frame(found.analysis, one, sample))
        )


def attend(call: Caller) -> Answer:
    """Tell where a patch attends most, and show it."""
    given, service = call.given, call.service
    source, head = checked_source(given["source"]), checked_head(given["head"])
    if not isinstance(given["rows"], bool):
        raise InputError(f"rows is {echo(given['rows'])}; give true or false.")
    with service.jobs.briefly(call.report):
        found = service.result(call.result)
        query = checked_query(found, given["sample_index"], given["y"], given["x"])
        _, row = service.attention(call.result, query, source, head)
        heat = images.heat_frame(found.analysis, row, query)
        link = call.link(service.files.heatmap(found, row, query))
    values = attention_as_json(found, row, rows=given["rows"])
    return Answer({**values, "video": link["url"]}, _jpeg(heat), [link])


def export(call: Caller) -> Answer:
    """Write all files of a cut."""
    made, clusters = checked_edits(call.given["edits"]), checked_clusters(call.given["n_clusters"])
    with call.service.jobs.cancellable(Kind.FILES) as stop:
        report = stop.raising(call.report)
        paths = call.service.downloads(call.result, clusters, made, report)
    links = [call.link(path) for path in paths]
    return Answer({"files": links}, files=links)


def html(call: Caller) -> Answer:
    """Write one HTML file."""
    made = [edit.to_dict() for edit in checked_edits(call.given["edits"])]
    state = {"n": checked_clusters(call.given["n_clusters"]), "edits": made}
    with call.service.jobs.cancellable(Kind.FILES) as stop:
        path = call.service.html(call.result, state, stop.raising(call.report))
    link = call.link(path)
    return Answer({"files": [link]}, files=[link])


def cancel(call: Caller) -> Answer:
    """Stop the jobs of the caller's session."""
    call.service.jobs.cancel()
    return Answer({"said": strings.MCP_CANCELLED})


def delete(call: Caller) -> Answer:
    """Delete a result and its files."""
    call.service.delete(call.result)
    return Answer({"said": strings.DELETED})


def upload(call: Caller) -> Answer:
    """Tell how a clip comes to this server."""
    command = UPLOAD.format(address=call.address)
    return Answer({"said": strings.MCP_UPLOAD.format(command=command), "command": command})


CALLS: dict[str, Callable[[Caller], Answer]] = {
    call.__name__: call for call in (segment, cut, attend, export, html, cancel, delete, upload)
}


def _jpeg(picture: np.ndarray) -> str:
    """Return a picture (H, W, 3) uint8 as a small JPEG in base64."""
    made, buffer = Image.fromarray(picture), io.BytesIO()
    made.thumbnail((_SIDE, _SIDE))
    made.save(buffer, "JPEG", quality=80)
    return base64.b64encode(buffer.getvalue()).decode()
