"""The viewer: ES modules, joined into one program for the page, the HTML file and the tests."""

from __future__ import annotations

import re
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_IMPORT = re.compile(r"^import \{.*\} from '\./(\w+\.js)';\n", re.M)
_EXPORT = re.compile(r"^export (?=function|const|async function)", re.M)
_NAME = re.compile(r"^export (?:async function|function|const) (\w+)", re.M)


def bundle() -> str:
    """Return all modules as one program, which defines `Bavos`: an object of what they export."""
    joined: dict[str, str] = {}
    for path in sorted(_HERE.glob("*.js")):
        _join(path.name, joined)
    names = ", ".join(name for text in joined.values() for name in _NAME.findall(text))
    body = "\n".join(_EXPORT.sub("", _IMPORT.sub("", text)) for text in joined.values())
    return f"const Bavos = (() => {{\n'use strict';\n{body}\nreturn {{ {names} }};\n}})();\n"


def css() -> str:
    """Return the style sheet of the viewer's shadow root."""
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(_HERE.glob("*.css")))


def _join(name: str, joined: dict[str, str]) -> None:
    """Put a module after those that it imports."""
    if name in joined:
        return
    text = (_HERE / name).read_text(encoding="utf-8")
    joined[name] = ""  # so that modules may import one another
    for other in _IMPORT.findall(text):
        _join(other, joined)
    del joined[name]
    joined[name] = text
