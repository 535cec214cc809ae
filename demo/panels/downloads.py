"""Downloads, and the code that reproduces the result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from .. import strings
from ..runs import single
from .events import DEVICE, PRIVATE, Values, politely, shown

if TYPE_CHECKING:
    from ..page import Page


@dataclass(frozen=True)
class Downloads:
    """The components of the panel."""

    prepare: gr.Button
    files: gr.File
    code: gr.Code

    @classmethod
    def lay_out(cls) -> Downloads:
        """Create the button, the files and the code."""
        prepare = gr.Button("Prepare downloads", elem_id="prepare")
        files = gr.File(
            label="Downloads", file_count="multiple", interactive=False, visible=False,
            elem_id="downloads",
        )  # fmt: skip
        code = gr.Code(language="python", label=strings.CODE, interactive=False, elem_id="code")
        return cls(prepare, files, code)


@dataclass(frozen=True)
class DownloadsEvents:
    """Events of the downloads."""

    page: Page

    def connect(self) -> None:
        """Register the listeners."""
        d = self.page.downloads
        d.prepare.click(
            self.make_files,
            {*self.page.viewer.cut_inputs, self.page.attention.video},
            [d.files],
            show_progress_on=d.code,
            **PRIVATE,
            **DEVICE,
        )

    @politely
    def make_files(self, values: Values, progress: Any = gr.Progress()) -> Values:
        """Write all files: one zip of everything, each file, and the heatmap if one is shown."""
        v = self.page.viewer
        clusters, edits = int(values[v.clusters]), values[v.edits]
        paths = self.page.service.downloads(values[v.key], clusters, edits, single(progress))
        heatmap = values[self.page.attention.video]
        files = [*map(str, paths), *([heatmap] if heatmap else [])]
        return {self.page.downloads.files: shown(files)}
