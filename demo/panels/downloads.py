"""Files to take home, what each is and how large, and the code that reproduces the result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import gradio as gr

from bavos_core.export import CutOuts

from .. import recipe, strings
from ..checks import one_of
from ..edits import Look
from ..runs import Kind
from .events import LATEST, PRIVATE, QUICK, Values, hidden, politely, shown, text_of
from .viewer import WITH_STATE, arriving

if TYPE_CHECKING:
    from ..page import Page


@dataclass(frozen=True)
class Downloads:
    """The components of the panel."""

    which: gr.Radio
    cut_out: gr.Dropdown
    each: gr.Checkbox
    prepare: gr.Button
    cancel: gr.Button
    html: gr.Button
    delete: gr.Button
    about: gr.Markdown
    files: gr.File
    code: gr.Code

    @classmethod
    def lay_out(cls) -> Downloads:
        """Create the choices, the buttons, the files and the code."""
        with gr.Row(equal_height=True):
            which = gr.Radio(
                list(strings.WHICH.items()), value="all", label=strings.WHICH_LABEL, elem_id="which"
            )
            cut_out = gr.Dropdown(
                list(strings.CUT_OUTS.items()), value="", label=strings.EDITORS,
                info=strings.EDITORS_INFO, elem_id="cut-out",
            )  # fmt: skip
            each = gr.Checkbox(False, label=strings.EACH, elem_id="each")
        with gr.Row():
            prepare = gr.Button("Prepare files", variant="primary", elem_id="prepare")
            cancel = gr.Button("Cancel", elem_id="cancel-files", interactive=False)
            html = gr.Button("Save as one HTML file", elem_id="html")
            delete = gr.Button("Delete this result now", elem_id="delete", variant="stop")
        about = gr.Markdown(
            strings.FILES_HERE, elem_id="files-about", elem_classes="small", min_height=60
        )
        files = gr.File(
            label="Files", file_count="multiple", interactive=False, visible=False,
            elem_id="downloads",
        )  # fmt: skip
        code = gr.Code(language="python", label=strings.CODE, interactive=False, elem_id="code")
        return cls(which, cut_out, each, prepare, cancel, html, delete, about, files, code)

    def show(self) -> Values:
        """Return the values for a new result: no files."""
        return {self.files: hidden(), self.about: strings.FILES_HERE}


@dataclass(frozen=True)
class DownloadsEvents:
    """Events of the downloads."""

    page: Page

    def connect(self) -> None:
        """Register the listeners."""
        v, d = self.page.viewer, self.page.downloads
        buttons = [d.prepare, d.cancel]
        begun = d.prepare.click(lambda: _buttons(busy=True), None, buttons, **QUICK)
        making = begun.then(
            self.make_files,
            [v.state, d.which, d.cut_out, d.each],
            [d.files, d.about],
            js=WITH_STATE,
            show_progress_on=d.about,
            **PRIVATE,
        )
        making.then(lambda: _buttons(busy=False), None, buttons, **QUICK)
        d.cancel.click(self.cancel, None, buttons, cancels=making, **QUICK)
        d.html.click(None, None, None, js="() => { window.bavos?.ask('html'); }")
        d.delete.click(self.delete, v.state, [v.view, v.notice], js=WITH_STATE, **QUICK)
        v.view.input(self.write_code, v.state, d.code, js=WITH_STATE, **QUICK, **LATEST)

    @politely
    def make_files(
        self,
        state: object,
        which: str,
        kind: str,
        each: bool,
        progress: Any = gr.Progress(),
    ) -> Values:
        """Write all files: one zip of everything, and each file."""
        d, service = self.page.downloads, self.page.service
        key, look = key_of(state), Look.of(state)
        if which == "selected":
            with service.jobs.briefly():
                look = look.only_selected(service.cut(key, look.clusters, look.edits)[1])
        chosen = one_of(kind or "", "the kind of cut-outs", strings.CUT_OUTS.values())
        cut_outs = CutOuts(cast(Any, chosen), each=bool(each)) if chosen else None
        with service.jobs.cancellable(Kind.FILES) as stop:
            report = stop.raising(progress)
            paths = service.downloads(key, look.clusters, look.edits, report, cut_outs)
        size = service.result(key).analysis.size
        return {
            d.files: shown([str(path) for path in paths]),
            d.about: strings.files([path.name for path in paths], size),
        }

    def cancel(self) -> tuple[Any, Any]:
        """Stop making files for this session."""
        self.page.service.jobs.cancel(Kind.FILES)
        return _buttons(busy=False)

    @politely
    def delete(self, state: object) -> Values:
        """Delete the result that is shown, and show the example again."""
        v = self.page.viewer
        self.page.service.delete(key_of(state))
        return {v.view: arriving(lost=True), v.notice: strings.DELETED}

    @politely
    def write_code(self, state: object, request: gr.Request) -> Values:
        """Show code that reproduces what the viewer shows."""
        key, look = key_of(state), Look.of(state)
        with self.page.service.jobs.briefly():
            result, cut = self.page.service.cut(key, look.clusters, look.edits)
        address = str(request.headers.get("origin", ""))
        return {self.page.downloads.code: recipe.code(result, cut, look.edits, address)}


def _buttons(*, busy: bool) -> tuple[Any, Any]:
    """Return the buttons that start and cancel; only one of them does something."""
    return gr.Button(interactive=not busy), gr.Button(interactive=busy)


def key_of(state: object) -> str:
    """Return the id of the result that a viewer shows."""
    return text_of(state, "result")
