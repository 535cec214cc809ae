"""What a person changes about the objects that were found: names, merges, and what is shown."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bavos_core import Segmentation

_LONGEST_NAME = 60


@dataclass(frozen=True)
class Edits:
    """Names and merges go into the downloads; what is hidden is only hidden on the page.

    Clusters keep their numbers at any granularity, so edits outlive another cut; those of clusters
    that it does not have wait.
    """

    names: tuple[tuple[int, str], ...] = ()  # pairs, since Gradio hashes what it keeps
    merges: tuple[tuple[int, int], ...] = ()  # (cluster, into which), in the order they were made
    hidden: frozenset[int] = frozenset()
    alone: int | None = None  # the only object that is shown

    def rename(self, cluster: int, name: str) -> Edits:
        """Another name, cut to one line of 60 characters; an empty one gives the old name back."""
        shown = " ".join(name.split())[:_LONGEST_NAME]
        others = tuple(pair for pair in self.names if pair[0] != cluster)
        return replace(self, names=(*others, (cluster, shown)) if shown else others)

    def merge(self, cluster: int, into: int) -> Edits:
        """Give one object to another; if it was shown alone, the other is now."""
        if cluster == into:
            return self
        alone = into if self.alone == cluster else self.alone
        return replace(self, merges=(*self.merges, (cluster, into)), alone=alone)

    def split(self) -> Edits:
        """Take all merges back."""
        return replace(self, merges=())

    def hide(self, cluster: int) -> Edits:
        """Hide an object, or show it again."""
        return replace(self, hidden=self.hidden ^ {cluster})

    def show_alone(self, cluster: int) -> Edits:
        """Show one object only, or all again."""
        return replace(self, alone=None if self.alone == cluster else cluster)

    def apply(self, cut: Segmentation) -> Segmentation:
        """A cut with the names and merges that concern its clusters."""
        for cluster, into in self.merges_in(cut):
            cut = cut.merged(cluster, into)
        return cut.named({i: name for i, name in self.names if i < cut.clusters})

    def merges_in(self, cut: Segmentation) -> list[tuple[int, int]]:
        """The merges of clusters that a cut has."""
        return [pair for pair in self.merges if max(pair) < cut.clusters]

    def unseen(self, cut: Segmentation) -> frozenset[int]:
        """Clusters that are not painted."""
        if self.alone is not None and self.alone < cut.clusters:
            return frozenset(range(cut.clusters)) - {self.alone}
        return self.hidden
