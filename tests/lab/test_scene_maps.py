"""The browser groups the leaves of pixels; the masks of an export group the same leaves."""

import numpy as np
import pytest
from PIL import Image

from bavos_core import Analysis, Settings, analyse, open_clip
from bavos_core.export.masks import all_masks
from bavos_io.clip import ArrayClip, resize
from bavos_lab.scene import Scene, base_part, unpack


@pytest.fixture(scope="module")
def large_clip(reef_path) -> ArrayClip:
    """Nine frames, larger than the preview: 720×1296."""
    frames = list(open_clip(reef_path).read())[::4][:9]
    return ArrayClip.of(np.stack([resize(frame, (720, 1296)) for frame in frames]))


@pytest.fixture(scope="module")
def large(large_clip: ArrayClip) -> Analysis:
    return analyse(large_clip, Settings(backbone="bundled-vits14", frames=4, patches=240))


def shown(analysis: Analysis, clip: ArrayClip | None, clusters: int) -> dict[int, np.ndarray]:
    """What the browser shows of a cut: the cluster of every pixel of each frame."""
    seams = unpack(base_part(analysis))[1]["seams"] > 0
    cut = analysis.segment(n_clusters=clusters)
    hidden = seams & cut.background[cut.leaf_cluster]
    found = {}
    for index, part in Scene(analysis).frames(clip):
        _, maps = unpack(part)
        leaf = np.where(hidden[maps["leaf"]], maps["solid"], maps["leaf"])
        found[index] = cut.leaf_cluster[leaf]
    return found


def shrunk(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Labels (H, W) shrunk: every pixel gets the cluster with the largest area in it."""
    clusters = np.unique(labels)
    areas = [
        Image.fromarray((labels == cluster).astype(np.float32)).resize(size[::-1], Image.BOX)
        for cluster in clusters
    ]
    return clusters[np.argmax([np.asarray(area) for area in areas], axis=0)]


def both(
    analysis: Analysis, clip: ArrayClip | None, clusters: int
) -> tuple[np.ndarray, np.ndarray]:
    """Clusters of the pixels of all frames (F, ph, pw), in the browser and in the export."""
    pixels = shown(analysis, clip, clusters)
    size = next(iter(pixels.values())).shape
    masks = all_masks(analysis, analysis.segment(n_clusters=clusters), clip)
    export = {mask.clip_frame: shrunk(mask.labels, size) for mask in masks}
    assert list(export) == list(pixels)
    return np.stack(list(pixels.values())), np.stack(list(export.values()))


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two masks."""
    return float((first & second).sum() / (first | second).sum())


@pytest.mark.parametrize("clusters", [2, 3, 5, 9, 14])
def test_a_preview_shows_the_masks_of_the_export(large, large_clip, clusters) -> None:
    ours, theirs = both(large, large_clip, clusters)
    assert (ours == theirs).mean() >= 0.99  # parts of a smooth background may differ by more
    objects = large.segment(n_clusters=clusters).objects
    overlaps = {cluster: overlap(ours == cluster, theirs == cluster) for cluster in objects}
    assert overlap(np.isin(ours, objects), np.isin(theirs, objects)) >= 0.98
    assert min(overlaps.values()) >= 0.98, overlaps


@pytest.mark.parametrize("clusters", [1, 4, 11])
def test_at_the_size_of_the_clip_they_are_the_same_to_the_pixel(square: Analysis, clusters) -> None:
    np.testing.assert_array_equal(*both(square, None, clusters))
