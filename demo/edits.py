"""What a person changes about the objects that were found, and what is only looked at."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bavos_core import Edit, Segmentation
from bavos_core.edits import Role

Place = tuple[int, int | None]  # a cluster, and the number of clusters that it is meant at, if one


@dataclass(frozen=True)
class Edits:
    """Edits go into the downloads; what is hidden is only hidden on the page.

    Every change is made to a cluster of a cut that shows the edits so far.
    """

    edits: tuple[Edit, ...] = ()  # in the order they were made
    undone: tuple[Edit, ...] = ()  # the one to redo first is the last
    hidden: frozenset[Place] = frozenset()
    alone: Place | None = None  # the only object that is shown

    def rename(self, cut: Segmentation, cluster: int, name: str) -> Edits:
        """Return the edits with another name; an empty one gives the usual one back."""
        return self._with(Edit.name(cluster, name, at=self._at(cut, cluster)))

    def take_for(self, cut: Segmentation, cluster: int, role: Role) -> Edits:
        """Return the edits with a cluster taken for an object, or for background."""
        return self._with(Edit.role(cluster, role, at=self._at(cut, cluster)))

    def merge(self, cut: Segmentation, cluster: int, into: int) -> Edits:
        """Return the edits with one cluster given to another, which is shown alone if it was."""
        made = self._with(Edit.merge(cluster, into, at=self._at(cut, cluster, into)))
        if self.alone == self._place(cut, cluster):
            return replace(made, alone=self._place(cut, into))
        return made

    def split(self, cut: Segmentation, cluster: int) -> Edits:
        """Return the edits with a cluster divided, at this number of clusters."""
        return self._with(Edit.split(cluster, at=cut.cut))

    def undo(self) -> Edits:
        """Return the edits without the last one."""
        if not self.edits:
            return self
        *kept, last = self.edits
        return replace(self, edits=tuple(kept), undone=(*self.undone, last))

    def redo(self) -> Edits:
        """Return the edits with the one that was undone last."""
        if not self.undone:
            return self
        *kept, last = self.undone
        return replace(self, edits=(*self.edits, last), undone=tuple(kept))

    def hide(self, cut: Segmentation, cluster: int) -> Edits:
        """Return the edits with an object hidden, or shown again."""
        return replace(self, hidden=self.hidden ^ {self._place(cut, cluster)})

    def show_alone(self, cut: Segmentation, cluster: int) -> Edits:
        """Return the edits with one object shown only, or all again."""
        place = self._place(cut, cluster)
        return replace(self, alone=None if self.alone == place else place)

    def is_alone(self, cut: Segmentation, cluster: int) -> bool:
        """Return whether this object is the only one that is shown."""
        return self.alone == self._place(cut, cluster)

    def unseen(self, cut: Segmentation) -> frozenset[int]:
        """Return the clusters that are not painted; of background, none is hidden."""
        for cluster in cut.objects:
            if self.is_alone(cut, cluster):
                return frozenset(range(cut.clusters)) - {cluster}
        return frozenset(i for i in cut.objects if self._place(cut, i) in self.hidden)

    def concerning(self, cut: Segmentation) -> tuple[Edit, ...]:
        """Return the edits that do not wait for another cut; they alone give this one."""
        return tuple(edit for edit in self.edits if edit.holds_at(cut.cut))

    def _with(self, edit: Edit) -> Edits:
        return replace(self, edits=(*self.edits, edit), undone=())

    def _at(self, cut: Segmentation, *clusters: int) -> int | None:
        """Return where an edit of clusters holds: at this cut only, if one is a part of a split."""
        parts = any(i >= cut.cut or i in cut.splits for i in clusters)
        return cut.cut if parts else None

    def _place(self, cut: Segmentation, cluster: int) -> Place:
        return cluster, self._at(cut, cluster)
