"""The viewer: a program of its own in demo/viewer, which the server tells what to show."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from bavos_core import InputError

from .. import strings, viewer
from ..examples import ARRIVES
from ..parts import ARRIVAL
from ..store import GONE, Result
from .events import QUICK, Values, politely, script, text_of

if TYPE_CHECKING:
    from ..page import Page

# A listener with this `js` and the hidden component `state` as its first input gets the state of
# the viewer at the moment of the click.
WITH_STATE = "(state, ...rest) => [window.bavos?.state() ?? null, ...rest]"


@dataclass(frozen=True)
class Viewer:
    """The viewer, a sentence above it, and a hidden component that carries its state."""

    notice: gr.Markdown
    view: gr.HTML
    state: gr.JSON

    @classmethod
    def lay_out(cls) -> Viewer:
        """Create the sentence and the place of the viewer."""
        notice = gr.Markdown(strings.START, elem_id="notice", elem_classes="small")
        program = f"const CSS_TEXT = {json.dumps(viewer.css())};\n{viewer.bundle()}"
        view = gr.HTML(
            arriving(),
            html_template='<div class="bavos-place"></div>',
            js_on_load=program + script("host.js"),
            elem_id="viewer",
            apply_default_css=False,
        )
        return cls(notice, view, gr.JSON(visible=False, label="state"))

    def show(self, result: Result, **how: Any) -> Values:
        """Return the values that show a result. how: see `shown`."""
        return {self.view: shown(result, **how), self.notice: strings.report(result)}


def arriving(*, lost: bool = False) -> dict[str, Any]:
    """Return what the viewer shows on arrival. lost: instead of the result that was asked for."""
    return {"result": ARRIVAL, "example": ARRIVES, "lost": lost}


def shown(
    result: Result, *, keep: bool = False, linked: bool = False, versions: Sequence[str] = ()
) -> dict[str, Any]:
    """Return what makes the viewer show a result.

    keep: go on with time, pins and look of the one before. linked: take them from the address.
    versions: ids of a result before and after it was adapted, which come back in the state.
    """
    return {
        "result": result.id,
        "example": result.example,
        "keep": keep,
        "linked": linked,
        "versions": versions or ([result.before, result.id] if result.before else []),
    }


@dataclass(frozen=True)
class ViewerEvents:
    """Events of the viewer."""

    page: Page

    def connect(self, blocks: gr.Blocks) -> None:
        """Register the listeners."""
        v = self.page.viewer
        blocks.load(self.from_address, None, self.page.result_outputs, **QUICK)
        v.view.select(self.open, None, self.page.result_outputs, **QUICK)

    def from_address(self, request: gr.Request) -> Values:
        """Show the result that the address of the page names, if any."""
        return self._opened(str(request.query_params.get("result", "")))

    @politely
    def open(self, event: gr.EventData) -> Values:
        """Show the result that the address names after going back or forward."""
        return self._opened(text_of(event._data, "result"))

    def _opened(self, key: str) -> Values:
        if not key:
            return {self.page.viewer.notice: gr.skip()}
        try:
            with self.page.service.jobs.briefly():
                return self.page.show(self.page.service.store.visit(key), linked=True)
        except InputError as error:
            if str(error) != GONE:
                raise
            return {
                self.page.viewer.view: arriving(lost=True),
                self.page.viewer.notice: strings.LOST,
            }
