"""The state of a viewer, as the server takes it: the cut, the edits and the selected objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bavos_core import Edit, InputError, Segmentation
from bavos_io.errors import echo

from .checks import whole

MOST_CLUSTERS = 10**6  # that can be asked for; a cut has as many as there are
MOST_EDITS = 256

Edits = tuple[Edit, ...]


def checked_edits(values: object) -> Edits:
    """Return the edits in a list of JSON objects; raise InputError for anything else."""
    if not isinstance(values, list):
        raise InputError(f"Edits are {echo(values)}; give a list of them.")
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
            raise InputError(f"The state of the viewer is {echo(state)}; give an object.")
        return cls(
            whole(state.get("n"), "n", 1, MOST_CLUSTERS),
            checked_edits(state.get("edits") or []),
            tuple(
                whole(cluster, "A selected cluster", 0, MOST_CLUSTERS)
                for cluster in _listed(state.get("selected") or [])
            ),
        )

    def only_selected(self, cut: Segmentation) -> Look:
        """Return the same with every object that is not selected made background.

        cut: the one that this look describes.
        """
        others = [i for i in cut.objects if i not in self.selected]
        made = tuple(Edit.role(i, "background", at=cut.cut) for i in others)
        return Look(self.clusters, (*self.edits, *made))


def _listed(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise InputError(f"{echo(value)} is no list of clusters; give their numbers.")
    return value
