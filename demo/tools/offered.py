"""The names of the tools, what they do, their parameters and their answers."""

from __future__ import annotations

from typing import Any, NamedTuple

from bavos_core import backbones
from bavos_core.settings import SOURCES

from ..examples import listed
from ..settings import DemoSettings


class Offered(NamedTuple):
    """A tool."""

    about: str
    parameters: dict[str, dict[str, Any]]  # JSON schemas, with a default unless it must be given
    answer: dict[str, dict[str, Any]]  # JSON schemas
    changes: bool = True  # something on the server


def _text(about: str, **more: Any) -> dict[str, Any]:
    return {"type": "string", "description": about, **more}


def _whole(about: str, least: int, default: int, **more: Any) -> dict[str, Any]:
    more = {"minimum": least, "default": default, **more}
    return {"type": "integer", "description": about, **more}


def _number(about: str, **more: Any) -> dict[str, Any]:
    return {"type": "number", "description": about, "minimum": 0, **more}


def _list(of: dict[str, Any], about: str = "") -> dict[str, Any]:
    return {"type": "array", "items": of, **({"description": about} if about else {})}


def _object(values: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": values, "required": list(values)}


_INT, _FLOAT, _BOOL = {"type": "integer"}, {"type": "number"}, {"type": "boolean"}
_STRING = {"type": "string"}
_RESULT = _text("the id that segment returned")
_CLUSTERS = _whole("number of clusters; more show smaller parts", 1, 8)
_SAMPLE = _whole("index of an analysed frame, from 0", 0, 0)
_EDITS = {
    **_list(
        {"type": "object"},
        'changes in order, each {"action", "cluster", "value", "at"}: action "merge" (value: the '
        'cluster to merge into), "name" (value: the name), "role" (value: "object" or '
        '"background") or "split" (at: the number of clusters)',
    ),
    "default": [],
}
_SAID = {"said": _text("what was done, in a sentence")}
_FILES = {"files": _list(_object({"name": _STRING, "url": _STRING}), "each with its address")}
_CUT = {
    "tau": _FLOAT,
    "clusters": _INT,
    "background": _list(_BOOL),
    "names": _list(_STRING),
    "roles": _list({"type": ["string", "null"]}, "of each cluster; null for an empty one"),
    "instances": _list(_list(_INT), "groups of clusters with similar attention"),
    "splits": {"type": "object"},
    "leaves": _INT,
}
_SEGMENTED = {
    "result": _text("the id of the result"),
    "page": _text("address at which people see it"),
    "overlay": _text("address of the clip with its objects coloured"),
    "backbone": _STRING,
    "start": _FLOAT,
    "frames": _INT,
    "analysed": _list(_INT, "numbers in the clip of the analysed frames"),
    "size": _list(_INT, "height and width in pixels"),
    "grid": _list(_INT, "rows and columns of patches"),
    "tau": _FLOAT,
    "clusters": _INT,
    "objects": _list(_INT, "clusters that are objects"),
    "background": _list(_BOOL),
    "leaves": _INT,
    "sources": _list(_STRING, "that attend takes"),
    "seconds": {"type": "object"},
    "notices": _list(_STRING),
}
_ATTENDED = {
    "top": _list(
        _object({"sample_index": _INT, "frame": _INT, "y": _FLOAT, "x": _FLOAT, "weight": _FLOAT}),
        "the patches that get most",
    ),
    "share": _list(_FLOAT, "of each analysed frame"),
    "frames": _list(_INT, "numbers in the clip of the analysed frames"),
    "grid": _list(_INT),
    "video": _text("address of a heatmap video"),
}


def offered(settings: DemoSettings) -> dict[str, Offered]:
    """Return all tools by name."""
    return {
        "segment": _segment(settings),
        "cut": Offered(
            "Cut the hierarchy of a result into a number of clusters, apply edits, describe the "
            "clusters and show one frame with its objects coloured.",
            {"result": _RESULT, "n_clusters": _CLUSTERS, "sample_index": _SAMPLE, "edits": _EDITS},
            _CUT,
            changes=False,
        ),
        "attend": Offered(
            "Show where the patch at a pixel attends, over space and time: the places that get "
            "most, the share of each frame, a picture and a heatmap video.",
            {
                "result": _RESULT,
                "sample_index": _SAMPLE,
                "y": _number("pixels from the top of the frame"),
                "x": _number("pixels from the left of the frame"),
                "head": _whole("one head, or -1 for the mean of all", -1, -1),
                "source": _text("which attention", enum=list(SOURCES), default="key-similarity"),
                "rows": {
                    "type": "boolean",
                    "description": "also return the whole row of numbers, which is long",
                    "default": False,
                },
            },
            _ATTENDED,
            changes=False,
        ),
        **_for_files(),
    }


def _segment(settings: DemoSettings) -> Offered:
    names = ", ".join(map(backbones.describe, backbones.names()))
    examples = ", ".join(example["name"] for example in listed())
    return Offered(
        "Segment and track the objects of a clip, without labels or prompts. Takes seconds to "
        "minutes; progress is reported.",
        {
            "clip": _text(
                f"the path that an upload to this server gave (see the tool upload), an example "
                f"({examples}), or a small file as a data: URL or in base64; a video, a picture "
                f"or a zip of frames, of at most {settings.max_upload_mib} MiB"
            ),
            "backbone": _text(f"the network: {names}", default=settings.backbone),
            "frames": _whole("how many frames to analyse", 1, min(12, settings.max_frames)),
            "patches": _whole(
                "patches per frame, about",
                1,
                min(648, settings.max_patches),
                maximum=settings.max_patches,
            ),
            "start": _number("second of a video at which to begin", default=0),
            "end": _number("second at which to end; 0: the end of the video", default=0),
        },
        _SEGMENTED,
    )


def _for_files() -> dict[str, Offered]:
    asked = {"result": _RESULT, "n_clusters": _CLUSTERS, "edits": _EDITS}
    return {
        "export": Offered(
            "Write all files of a result: overlay, masks, COCO RLE, labels, hierarchy and summary. "
            "The first is one zip of everything.",
            asked,
            _FILES,
        ),
        "html": Offered(
            "Write a result as one HTML file: an interactive viewer that works without a network.",
            asked,
            _FILES,
        ),
        "cancel": Offered("Stop what this session is doing on the server.", {}, _SAID),
        "delete": Offered("Delete a result and its files now.", {"result": _RESULT}, _SAID),
        "upload": Offered(
            "Tell how to upload a clip: POST it as the field `files` to /gradio_api/upload.",
            {},
            {**_SAID, "command": _STRING},
            changes=False,
        ),
    }


def schema(values: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the schema of an object with these values; those without a default are required."""
    needed = [name for name, value in values.items() if "default" not in value]
    return {"type": "object", "properties": values, "required": needed}
