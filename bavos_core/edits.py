"""A person's changes to the objects that were found: roles, names, merges and splits.

Edits are applied in order to a cut of the hierarchy. Clusters keep their numbers at every
granularity, so an edit holds at each that has its clusters, and has no effect at the others. The
parts of a split get the numbers after all others of the cut, so a split and the edits of its parts
hold at that number of clusters only.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from .errors import InputError, echo

Action = Literal["name", "role", "merge", "split"]
Role = Literal["object", "background"]

_LONGEST_NAME = 60
_REMEDY = "give what Edit.to_dict gives"


@dataclass(frozen=True)
class Edit:
    """One change of one cluster. Raise InputError for values that make no sense."""

    action: Action
    cluster: int
    value: str | int | None = None  # name, role, or the cluster to merge into; None for a split
    at: int | None = None  # holds only where the hierarchy is cut into so many clusters

    def __post_init__(self) -> None:
        if self.action == "name" and isinstance(self.value, str):
            text = self.value.encode(errors="replace").decode()  # without halves of characters
            object.__setattr__(self, "value", " ".join(text.split())[:_LONGEST_NAME])
        valid = {
            "name": isinstance(self.value, str),
            "role": self.value in ("object", "background"),
            "merge": _is_number(self.value) and self.value != self.cluster,
            "split": self.value is None and self.at is not None,
        }
        numbers = _is_number(self.cluster) and (self.at is None or _is_number(self.at))
        if not (numbers and isinstance(self.action, str) and valid.get(self.action, False)):
            raise InputError(f"There is no such edit: {echo(asdict(self))}; {_REMEDY}.")

    @classmethod
    def name(cls, cluster: int, name: str, *, at: int | None = None) -> Edit:
        """Return an edit that names a cluster, in at most 60 characters; "" restores its name."""
        return cls("name", cluster, name, at)

    @classmethod
    def role(cls, cluster: int, role: Role, *, at: int | None = None) -> Edit:
        """Return an edit that makes a cluster an object or background."""
        return cls("role", cluster, role, at)

    @classmethod
    def merge(cls, cluster: int, into: int, *, at: int | None = None) -> Edit:
        """Return an edit that merges one cluster into another, which keeps its number."""
        return cls("merge", cluster, into, at)

    @classmethod
    def split(cls, cluster: int, *, at: int) -> Edit:
        """Return an edit that divides a cluster of the cut that has `at` clusters."""
        return cls("split", cluster, None, at)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Edit:
        """Return the edit of a `to_dict`. Raise InputError for anything else."""
        try:
            return cls(**values)
        except TypeError as error:
            raise InputError(f"There is no such edit: {echo(values)}; {_REMEDY}.") from error

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-ready values."""
        return asdict(self)

    def holds_at(self, clusters: int) -> bool:
        """Return whether the edit holds at the cut into so many clusters."""
        return self.at == clusters or (self.at is None and max(self.clusters) < clusters)

    @property
    def clusters(self) -> tuple[int, ...]:
        """Clusters that the edit concerns."""
        return (self.cluster, self.value) if isinstance(self.value, int) else (self.cluster,)


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
