"""Edits that a person makes to the objects, and which objects are hidden on the page."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bavos_core import Edit, Segmentation
from bavos_core.edits import Role

Place = tuple[int, int | None]  # a cluster, and the only cut (number of clusters) with it, if any


@dataclass(frozen=True)
class Edits:
    """Edits, which go into the downloads, and hidden objects, which are hidden on the page only.

    Every change refers to a cluster of a cut to which the edits so far were applied.
    """

    edits: tuple[Edit, ...] = ()  # in order
    undone: tuple[Edit, ...] = ()  # the last is redone first
    hidden: frozenset[Place] = frozenset()
    alone: Place | None = None  # the only object shown

    def rename(self, cut: Segmentation, cluster: int, name: str) -> Edits:
        """Return the edits with a cluster renamed; an empty name restores the default."""
        return self._with(Edit.name(cluster, name, at=self._at(cut, cluster)))

    def take_for(self, cut: Segmentation, cluster: int, role: Role) -> Edits:
        """Return the edits with a cluster made an object or background."""
        return self._with(Edit.role(cluster, role, at=self._at(cut, cluster)))

    def merge(self, cut: Segmentation, cluster: int, into: int) -> Edits:
        """Return the edits with a cluster merged into another; what was shown alone stays so."""
        made = self._with(Edit.merge(cluster, into, at=self._at(cut, cluster, into)))
        if self.alone == self._place(cut, cluster):
            return replace(made, alone=self._place(cut, into))
        return made

    def split(self, cut: Segmentation, cluster: int) -> Edits:
        """Return the edits plus a split of a cluster, for the current number of clusters only."""
        return self._with(Edit.split(cluster, at=cut.cut))

    def undo(self) -> Edits:
        """Return the edits without the last one."""
        if not self.edits:
            return self
        *kept, last = self.edits
        return replace(self, edits=tuple(kept), undone=(*self.undone, last))

    def redo(self) -> Edits:
        """Return the edits with the last undone one made again."""
        if not self.undone:
            return self
        *kept, last = self.undone
        return replace(self, edits=(*self.edits, last), undone=tuple(kept))

    def hide(self, cut: Segmentation, cluster: int) -> Edits:
        """Return the edits with the visibility of an object toggled."""
        return replace(self, hidden=self.hidden ^ {self._place(cut, cluster)})

    def show_alone(self, cut: Segmentation, cluster: int) -> Edits:
        """Return the edits with one object shown alone, or all of them again."""
        place = self._place(cut, cluster)
        return replace(self, alone=None if self.alone == place else place)

    def is_alone(self, cut: Segmentation, cluster: int) -> bool:
        """Return whether this object is the only one shown."""
        return self.alone == self._place(cut, cluster)

    def unseen(self, cut: Segmentation) -> frozenset[int]:
        """Return the clusters that are not painted; background is never hidden."""
        for cluster in cut.objects:
            if self.is_alone(cut, cluster):
                return frozenset(range(cut.clusters)) - {cluster}
        return frozenset(i for i in cut.objects if self._place(cut, i) in self.hidden)

    def concerning(self, cut: Segmentation) -> tuple[Edit, ...]:
        """Return the edits that apply at this cut."""
        return tuple(edit for edit in self.edits if edit.holds_at(cut.cut))

    def _with(self, edit: Edit) -> Edits:
        return replace(self, edits=(*self.edits, edit), undone=())

    def _at(self, cut: Segmentation, *clusters: int) -> int | None:
        """Return the cut that an edit is limited to if a cluster is a part of a split, or None."""
        parts = any(i >= cut.cut or i in cut.splits for i in clusters)
        return cut.cut if parts else None

    def _place(self, cut: Segmentation, cluster: int) -> Place:
        return cluster, self._at(cut, cluster)
