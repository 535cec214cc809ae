"""The state of a viewer, as the server takes it: the cut, the edits and the selected objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bavos_core import Edit, InputError, Segmentation

MOST_EDITS = 256  # a split takes a tenth of a second

Edits = tuple[Edit, ...]


def checked_edits(values: object) -> Edits:
    """Return the edits in a list of JSON objects; raise InputError for anything else."""
    if not isinstance(values, list):
        raise InputError(f"Edits must be a list, not {values!r:.100}.")
    if len(values) > MOST_EDITS:
        raise InputError(f"There are {len(values)} edits; give at most {MOST_EDITS}.")
    return tuple(map(Edit.from_dict, values))


@dataclass(frozen=True)
class Look:
    """The state of a viewer, as far as it matters to files that are made on the server."""

    clusters: int
    edits: Edits = ()
    selected: tuple[int, ...] = ()

    @classmethod
    def of(cls, state: object) -> Look:
        """Return what the state of a viewer (n, edits, selected) says; raise InputError if bad."""
        if not isinstance(state, Mapping):
            raise InputError(f"The state of the viewer must be an object, not {state!r:.100}.")
        return cls(
            whole_number(state.get("n")),
            checked_edits(state.get("edits") or []),
            tuple(map(whole_number, _listed(state.get("selected") or []))),
        )

    def only_selected(self, cut: Segmentation) -> Look:
        """Return the same with every object that is not selected made background.

        cut: the one that this look describes.
        """
        others = [i for i in cut.objects if i not in self.selected]
        made = tuple(Edit.role(i, "background", at=cut.cut) for i in others)
        return Look(self.clusters, (*self.edits, *made))


def whole_number(value: Any) -> int:
    """Return a number of a JSON document as an integer; raise InputError for anything else."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not float(value).is_integer():
        raise InputError(f"{value!r:.100} is not a whole number.")
    return int(value)


def _listed(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise InputError(f"{value!r:.100} is not a list.")
    return value
