"""The list of objects and its edits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from bavos_core import Segmentation

from .. import strings
from ..edits import Edits
from .events import IN_ORDER, Values, politely, script

if TYPE_CHECKING:
    from ..page import Page


@dataclass(frozen=True)
class Objects:
    """The components of the panel."""

    list: gr.HTML

    @classmethod
    def lay_out(cls) -> Objects:
        """Create the list; objects.js reports what is done in it."""
        return cls(gr.HTML(elem_id="objects", js_on_load=script("objects.js")))


@dataclass(frozen=True)
class ObjectsEvents:
    """Events of the list of objects."""

    page: Page

    def connect(self) -> None:
        """Register the listeners."""
        v = self.page.viewer
        self.page.objects.list.select(self.edit, v.cut_inputs, [v.edits], **IN_ORDER)

    @politely
    def edit(self, values: Values, event: gr.EventData) -> Values:
        """Apply an action of the list, {action, id, value}; some need no id or no value."""
        v, asked = self.page.viewer, event._data
        edits: Edits = values[v.edits]
        match asked["action"]:
            case "undo":
                return {v.edits: edits.undo()}
            case "redo":
                return {v.edits: edits.redo()}
            case "split":
                return {v.edits: self._split(values, int(asked["id"]))}
        cut = self._cut(values, edits)
        return {v.edits: changed(edits, cut, asked["action"], int(asked["id"]), asked["value"])}

    def _split(self, values: Values, cluster: int) -> Edits:
        """Return the edits with a cluster split; as they are if it has only one part."""
        edits: Edits = values[self.page.viewer.edits]
        cut = self._cut(values, edits)
        split = edits.split(cut, cluster)
        if self._cut(values, split).clusters > cut.clusters:
            return split
        gr.Info(strings.one_part(cut.name(cluster)), duration=5, title="Not split")
        return edits

    def _cut(self, values: Values, edits: Edits) -> Segmentation:
        v = self.page.viewer
        return self.page.service.cut(values[v.key], int(values[v.clusters]), edits)[1]


def changed(edits: Edits, cut: Segmentation, action: str, cluster: int, value: Any) -> Edits:
    """Return the edits after an action on a cluster; an unknown action changes nothing."""
    match action:
        case "name":
            return edits.rename(cut, cluster, str(value))
        case "role":
            return edits.take_for(cut, cluster, value)
        case "merge":
            return edits.merge(cut, cluster, int(value))
        case "hide":
            return edits.hide(cut, cluster)
        case "alone":
            return edits.show_alone(cut, cluster)
    return edits
