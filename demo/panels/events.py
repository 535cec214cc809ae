"""Shared by the events of all panels: options of listeners, and errors shown as notices."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeAlias

import gradio as gr

from bavos_core import Cancelled, InputError

from .. import strings

log = logging.getLogger(__name__)
Parameters = ParamSpec("Parameters")
Values: TypeAlias = dict[Any, Any]  # components with what they hold, or shall hold
Components: TypeAlias = set[Any]

PRIVATE: dict[str, Any] = {"api_visibility": "private"}
QUICK: dict[str, Any] = {**PRIVATE, "show_progress": "hidden"}
# One at a time, then the latest. Inputs are read when it is sent, but an event keeps its old data.
LATEST: dict[str, Any] = {"trigger_mode": "always_last"}
EVERY: dict[str, Any] = {"trigger_mode": "multiple"}  # also while the one before is handled


def politely(handler: Callable[Parameters, Any]) -> Callable[Parameters, Any]:
    """Return a handler, or generator, that shows bad input as a notice instead of an error."""

    @wraps(handler)
    def guarded(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Any:
        with notices():
            return handler(*args, **kwargs)

    @wraps(handler)
    def guarded_steps(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Iterator[Any]:
        with notices():
            yield from handler(*args, **kwargs)

    return guarded_steps if inspect.isgeneratorfunction(handler) else guarded


@contextmanager
def notices() -> Iterator[None]:
    """Turn bad input into a notice, and defects into a log entry and a notice."""
    try:
        yield
    except InputError as error:
        raise gr.Error(str(error), duration=None, print_exception=False) from error
    except Cancelled as stopped:  # whoever cancelled has already told the page
        raise gr.Error(strings.CANCELLED, visible=False, print_exception=False) from stopped
    except Exception as error:
        log.exception("A handler failed")
        raise gr.Error(strings.failure(error), duration=None, print_exception=False) from error


def shown(value: Any) -> Any:
    """Return an update that fills and shows a component that is hidden while it is empty."""
    return gr.update(value=value, visible=True)


def hidden() -> Any:
    """Return an update that empties and hides a component."""
    return gr.update(value=None, visible=False)


def text_of(sent: object, name: str) -> str:
    """Return a text in an object that the browser sent; "" if there is none."""
    value = sent.get(name) if isinstance(sent, Mapping) else None
    return value if isinstance(value, str) else ""


def script(name: str) -> str:
    """Return the text of a JavaScript file of the page."""
    return (Path(__file__).parent.parent / name).read_text(encoding="utf-8")
