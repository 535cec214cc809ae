"""Other ways to group the patches of a clip, beside the attention that the paper clusters.

All take the features that attention takes, the keys of the backbone, and give the patches of all
frames the number of their group: `kmeans` (the paper's Fig. 2), `ncut` (TokenCut's normalised cut,
over space and time) and `slots` (slot attention, the family that the paper argues against).

T frames, h×w patch grid, N = h·w, C channels, K groups.
"""

from __future__ import annotations

from typing import Literal

Grouping = Literal["attention", "kmeans", "ncut", "slots"]
GROUPINGS: tuple[Grouping, ...] = ("attention", "kmeans", "ncut", "slots")
