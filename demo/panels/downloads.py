"""Downloads, and the code that reproduces the result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from bavos_core.export import CutOuts

from .. import strings
from ..runs import single
from .events import DEVICE, PRIVATE, Values, politely, shown

if TYPE_CHECKING:
    from ..page import Page


@dataclass(frozen=True)
class Downloads:
    """The components of the panel."""

    cut_out: gr.Dropdown
    each: gr.Checkbox
    prepare: gr.Button
    files: gr.File
    code: gr.Code

    @classmethod
    def lay_out(cls) -> Downloads:
        """Create the choices for editors, the button, the files and the code."""
        with gr.Row():
            cut_out = gr.Dropdown(
                list(strings.CUT_OUTS.items()), value="", label=strings.EDITORS,
                info=strings.EDITORS_INFO, elem_id="cut-out",
            )  # fmt: skip
            each = gr.Checkbox(False, label=strings.EACH, elem_id="each")
        prepare = gr.Button("Prepare downloads", elem_id="prepare")
        files = gr.File(
            label="Downloads", file_count="multiple", interactive=False, visible=False,
            elem_id="downloads",
        )  # fmt: skip
        code = gr.Code(language="python", label=strings.CODE, interactive=False, elem_id="code")
        return cls(cut_out, each, prepare, files, code)


@dataclass(frozen=True)
class DownloadsEvents:
    """Events of the downloads."""

    page: Page

    def connect(self) -> None:
        """Register the listeners."""
        d = self.page.downloads
        d.prepare.click(
            self.make_files,
            {*self.page.viewer.cut_inputs, self.page.attention.video, d.cut_out, d.each},
            [d.files],
            show_progress_on=d.code,
            **PRIVATE,
            **DEVICE,
        )

    @politely
    def make_files(self, values: Values, progress: Any = gr.Progress()) -> Values:
        """Write all files: one zip of everything, each file, and the heatmap if one is shown."""
        v, d = self.page.viewer, self.page.downloads
        clusters, edits = int(values[v.clusters]), values[v.edits]
        kind = values[d.cut_out]
        cut_outs = CutOuts(kind, each=values[d.each]) if kind else None
        paths = self.page.service.downloads(
            values[v.key], clusters, edits, single(progress), cut_outs
        )
        heatmap = values[self.page.attention.video]
        files = [*map(str, paths), *([heatmap] if heatmap else [])]
        return {d.files: shown(files)}
