"""Values that arrive for the components of the page and the API, checked before Gradio uses them.

Gradio answers a value of another type with a traceback in the log, and downloads the address in an
object that says it is a file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from bavos_io.errors import echo

from . import strings

_DEEPEST = 32  # objects and lists inside each other
_NOT_USABLE = (ValueError, TypeError, LookupError, AttributeError, RecursionError, gr.Error)


class CheckedBlocks(gr.Blocks):
    """A page that answers values which its components cannot take with one sentence."""

    async def preprocess_data(
        self, block_fn: Any, inputs: list[Any], *rest: Any, **how: Any
    ) -> Any:
        """Return what a handler is called with. Raise gr.Error, which is not logged, otherwise."""
        components = block_fn.inputs
        if len(inputs) != len(components):
            raise _refused(strings.wrong_count(len(inputs), [_name(part) for part in components]))
        for component, value in zip(components, inputs, strict=True):
            if flaw := _flaw(component, value):
                raise _refused(f"{_name(component)} is {echo(value)}; {flaw}.")
        try:
            return await super().preprocess_data(block_fn, inputs, *rest, **how)
        except _NOT_USABLE as error:
            raise _refused(strings.NOT_USABLE) from error


def _refused(sentence: str) -> gr.Error:
    return gr.Error(sentence, duration=None, print_exception=False)


def _name(component: Any) -> str:
    return str(component.label or component.elem_id or "value")


def _flaw(component: Any, value: object) -> str:
    """Return what to give instead of a value, or nothing if the component can take it."""
    if value is None or component.stateful:
        return ""
    if unfit := _unfit(value, file=isinstance(component, gr.File)):
        return unfit
    for kind, (fits, wanted) in _WANTED.items():
        if isinstance(component, kind):
            return "" if fits(component, value) else wanted
    return ""


def _is_upload(_component: Any, value: Any) -> bool:
    path = value.get("path") if isinstance(value, dict) else None
    return isinstance(path, str) and "://" not in path and "\0" not in path


def _is_choice(component: Any, value: object) -> bool:
    return isinstance(value, str) and value in [choice for _, choice in component.choices]


_WANTED: dict[type, tuple[Callable[[Any, Any], bool], str]] = {
    gr.File: (_is_upload, "give a file that was uploaded to this server"),
    gr.Number: (lambda _, value: isinstance(value, int | float), "give a number"),
    gr.Slider: (lambda _, value: isinstance(value, int | float), "give a number"),
    gr.Textbox: (lambda _, value: isinstance(value, str), "give a text"),
    gr.Checkbox: (lambda _, value: isinstance(value, bool), "give true or false"),
    gr.Radio: (_is_choice, "give one of its choices"),
    gr.Dropdown: (_is_choice, "give one of its choices"),
}


def _unfit(value: object, *, file: bool) -> str:
    """Return what to give instead of a value that no component takes, or nothing."""
    level, deep = [value], 0
    while level:
        if deep > _DEEPEST:
            return "give something that is nested less deeply"
        if not file and any(isinstance(outer, dict) and "path" in outer for outer in level):
            return "give plain values, without files"
        level = [inner for outer in level for inner in _inside(outer)]
        deep += 1
    return ""


def _inside(value: object) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
