"""Discs on a patch grid that move, cross, vanish and touch."""

from itertools import permutations

import numpy as np
from scipy import ndimage

from bavos_core.instances import instances

OUTSIDE, SHARED = -1, -2  # in the truth: in no disc, in several

GRID = (20, 32)


FRAMES = 24


class Scene:
    """Discs with places (T, K, 2), row and column, NaN where absent, and their looks.

    alike: whether all look the same but for noise.
    """

    def __init__(self, places: np.ndarray, radii: list[float], *, alike=False, seed=0):
        rng = np.random.default_rng(seed)
        self.places = np.asarray(places, float)
        rows, columns = np.indices(GRID)
        away = np.hypot(
            rows - self.places[..., :1, None], columns - self.places[..., 1:, None]
        )  # (T, K, h, w)
        discs = away <= np.array(radii)[:, None, None]
        self.inside = discs.any(1)
        self.truth = np.where(self.inside, discs.argmax(1), OUTSIDE)
        self.truth[discs.sum(1) > 1] = SHARED
        own = rng.normal(size=(len(radii), 11))
        own[1:] = own[0] if alike else own[1:]
        self.looks = rng.normal(scale=0.15, size=(*self.inside.shape, 11)).astype(np.float32)
        clear = self.truth >= 0
        self.looks[clear] += own[self.truth[clear]]
        self.looks[self.truth == SHARED] += own[0]  # the first is in front

    def found(self) -> np.ndarray:
        """What `instances` makes of it, which must be several."""
        found = instances(self.inside, self.looks)
        assert found is not None
        return found

    def share_right(self, found: np.ndarray, frames: slice = np.s_[:]) -> float:
        """Share of the patches in just one disc that have the instance of that disc."""
        clear = self.truth[frames] >= 0
        truth, labels = self.truth[frames][clear], found[frames][clear]
        number = identities(self, found)
        return float((number[truth] == labels).mean())


def identities(scene: Scene, found: np.ndarray) -> np.ndarray:
    """The instance of every disc, one to one, so that most patches of the clip are right."""
    clear = scene.truth >= 0
    count = scene.places.shape[1]
    assert found.max() + 1 == count
    return max(
        map(np.array, permutations(range(count))),
        key=lambda number: (number[scene.truth[clear]] == found[clear]).sum(),
    )


def pieces(inside: np.ndarray) -> np.ndarray:
    """Connected pieces of every frame (T,)."""
    return np.array([ndimage.label(frame)[1] for frame in inside])
