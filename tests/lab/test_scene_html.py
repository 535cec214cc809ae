"""One HTML file: everything is in it, nothing is fetched, and no name gets out of its place."""

import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from bavos_core import Analysis, Settings, analyse
from bavos_io.clip import ArrayClip
from bavos_lab.scene import Scene, html, unpack, write_html

JS = "const Bavos = { mount: () => ({ open() {} }) };\n"
HOSTILE = "</script><script>alert(1)</script><!-- \" ' & 名.mp4"


class Elements(HTMLParser):
    """Elements of a page with their attributes and text."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None], str]] = [("", {}, "")]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs), ""))

    def handle_data(self, data: str) -> None:
        tag, attributes, text = self.found[-1]
        self.found[-1] = (tag, attributes, text + data)


def written(path: Path, analysis: Analysis, clip=None, **options) -> list:
    path = path / "viewer.html"
    options = {"state": {}, "viewer_js": JS, "viewer_css": ":host { color: red }", **options}
    write_html(path, analysis, clip, **options)
    parser = Elements()
    parser.feed(path.read_text(encoding="utf-8"))
    return parser.found


def parts_of(elements: list) -> dict[str, tuple[dict, dict[str, np.ndarray]]]:
    return {
        attributes["data-part"]: unpack(base64.b64decode(text))
        for tag, attributes, text in elements
        if "data-part" in attributes
    }


def options_of(elements: list) -> dict:
    """The options that the viewer is mounted with."""
    program = elements[-1][2]
    match = re.search(r"Bavos\.mount\(document\.getElementById\('viewer'\), host, (.*)\)\.open\(\)",
                      program)  # fmt: skip
    assert match
    return json.loads(match[1])


def test_the_file_has_all_parts_of_the_analysed_frames(reef: Analysis, tmp_path) -> None:
    parts = parts_of(written(tmp_path, reef))
    frames = {f"frame/{index}" for index in reef.analysed}
    attention = {f"attention/{s}" for s in ("cross-frame", "key-similarity", "untrained")}
    assert set(parts) == {"base", "readings"} | frames | attention
    assert next(iter(parts)) == "base"
    named = [source["name"] for source in parts["base"][0]["sources"]]
    assert named == ["framewise", "cross-frame", "untrained", "key-similarity"]


def test_with_the_clip_it_has_all_frames(square: Analysis, tmp_path) -> None:
    names = parts_of(written(tmp_path, square, ArrayClip.of(square.frames)))
    assert {f"frame/{index}" for index in range(len(square.times))} <= set(names)


def test_nothing_is_fetched(square: Analysis, tmp_path) -> None:
    elements = written(tmp_path, square)
    for _, attributes, _ in elements:
        assert not {"src", "href", "srcset", "action", "data"} & set(attributes)
    (policy,) = (a["content"] for _, a, _ in elements if "http-equiv" in a)
    assert policy.startswith("default-src 'none';")
    assert "http:" not in policy
    assert "https:" not in policy


def test_names_from_outside_stay_text(square: Analysis, tmp_path) -> None:
    named = replace(square, clip_name=HOSTILE)
    state = {"edits": [{"action": "name", "cluster": 0, "value": HOSTILE, "at": None}]}
    elements = written(tmp_path, named, state=state)
    scripts = [attributes for tag, attributes, _ in elements if tag == "script"]
    assert sum("data-part" not in attributes for attributes in scripts) == 2
    assert [text for tag, _, text in elements if tag == "title"] == [f"{HOSTILE} – Bavos\n"]
    assert parts_of(elements)["base"][0]["name"] == HOSTILE
    assert options_of(elements)["state"] == state


def test_a_program_and_a_style_sheet_do_not_end_their_elements(square: Analysis, tmp_path) -> None:
    program = JS + "const a = '</SCRIPT><!--', b = /<\\/script>/, c = `</script>`;"
    css = ":host::after { content: '</style></script>' }"
    elements = written(tmp_path, square, viewer_js=program, viewer_css=css)
    own = [text for tag, a, text in elements if tag == "script" and "data-part" not in a]
    assert (
        own[0].strip()
        == JS + "const a = '\\x3c/SCRIPT>\\x3c!--', b = /<\\/script>/, c = `\\x3c/script>`;"
    )
    assert options_of(elements)["css"] == css


@pytest.mark.parametrize("source", ["untrained", "key-similarity"])
def test_the_source_that_was_clustered_is_always_there(source, tmp_path) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (3, 32, 48, 3), np.uint8)
    settings = Settings(backbone="descriptors", size=(32, 48), correlator=source)
    big = JS + "//" + "x" * 7_500_000
    parts = parts_of(written(tmp_path, analyse(frames, settings), viewer_js=big))
    attention = {name for name in parts if name.startswith("attention/")}
    assert attention == {f"attention/{s}" for s in ("cross-frame", "key-similarity", source)}
    named = {s["name"] for s in parts["base"][0]["sources"]}
    assert named == {"framewise", "cross-frame", "key-similarity", source}


@pytest.mark.parametrize("room", [250_000, 500_000, 900_000])
def test_attention_takes_the_room_that_is_left(reef: Analysis, tmp_path, monkeypatch, room) -> None:
    frames = sum(len(part) for _, part in Scene(reef).frames()) * 4 // 3
    monkeypatch.setattr(html, "_LIMIT", frames + room)
    monkeypatch.setattr(html, "_LEAST", 50_000)
    monkeypatch.setattr(html, "_WORTH", 100_000)
    parts = parts_of(written(tmp_path, reef))
    assert {"attention/cross-frame", "attention/key-similarity"} <= set(parts)
    size = (tmp_path / "viewer.html").stat().st_size
    assert size <= (frames + room) * 1.02
    assert size >= frames + room * 0.6
