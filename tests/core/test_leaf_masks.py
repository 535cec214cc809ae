"""Every pixel belongs to one leaf; cuts, merges, splits and roles only group leaves."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from bavos_core import Analysis, Edit, Segmentation, Settings, analyse, export
from bavos_core.export.masks import leaf_maps
from bavos_core.refinement import Guide, NodeMaps, choose, merging, refined_maps
from bavos_io.clip import ArrayClip

from .helpers import TINY

seeds = st.integers(0, 2**32 - 1)


def random_children(rng: np.random.Generator, leaves: int) -> np.ndarray:
    """A tree: the two children of every node above the leaves (L-1, 2)."""
    open_nodes, found = list(range(leaves)), []
    while len(open_nodes) > 1:
        rng.shuffle(open_nodes)
        found.append(sorted((open_nodes.pop(), open_nodes.pop())))
        open_nodes.append(leaves + len(found) - 1)
    return np.reshape(found, (-1, 2)).astype(int)


def below(children: np.ndarray, node: int) -> list[int]:
    """Leaves below a node."""
    leaves = len(children) + 1
    if node < leaves:
        return [node]
    return [leaf for child in children[node - leaves].tolist() for leaf in below(children, child)]


def plain_descent(children: np.ndarray, membership: np.ndarray) -> int:
    """The leaf of one pixel, by going down from the root; membership (L,), NaN for absent leaves.

    At each node the child with the larger sum is taken, the first of equals; a child without any
    leaf that is present never is.
    """
    node = 2 * len(children)
    while node > len(children):
        first, second = (membership[below(children, c)] for c in children[node - len(children) - 1])
        sums = [part[~np.isnan(part)].sum() if (part == part).any() else -np.inf
                for part in (first, second)]  # fmt: skip
        node = children[node - len(children) - 1][int(sums[1] > sums[0])]
    return int(node)


def random_maps(seed: int, size: tuple[int, int] = (5, 7)) -> tuple[np.ndarray, NodeMaps]:
    """A tree of up to 9 leaves and maps of those that are present, some values below 0."""
    rng = np.random.default_rng(seed)
    leaves = int(rng.integers(1, 10))
    children = random_children(rng, leaves)
    present = np.sort(rng.permutation(leaves)[: rng.integers(1, leaves + 1)])
    maps = torch.tensor(rng.normal(0.2, 0.4, (len(present), *size))).float()
    return children, NodeMaps(present, maps, merging(present.tolist(), children))


# ---- descending the tree ------------------------------------------------------------------------


@settings(max_examples=60)
@given(seeds)
def test_each_pixel_descends_to_the_heavier_child_at_every_node(seed: int) -> None:
    children, found = random_maps(seed)
    membership = np.full((len(children) + 1, 5, 7), np.nan)
    membership[found.nodes] = found.maps.double().numpy()
    pixels = found.pixels()
    for y, x in np.ndindex(5, 7):
        assert pixels[y, x] == plain_descent(children, membership[:, y, x])


@settings(max_examples=30)
@given(seeds, st.sampled_from([(5, 7), (11, 16), (3, 4), (40, 9)]))
def test_pixels_are_those_of_maps_that_are_enlarged_first(seed: int, size) -> None:
    _, found = random_maps(seed)
    large = F.interpolate(found.maps[None], size, mode="bilinear", align_corners=False)[0]
    expected = replace(found, maps=large).pixels()
    assert (found.pixels(size) == expected).mean() > 0.995  # but for rounding
    where = np.random.default_rng(seed).random(size) < 0.3
    assert (found.pixels(size, where)[where] == found.pixels(size)[where]).all()


@settings(max_examples=60)
@given(seeds)
def test_nodes_lead_just_where_pixels_descend_to_them(seed: int) -> None:
    _, found = random_maps(seed)
    chosen = np.random.default_rng(seed).random(len(found.nodes)) < 0.5
    lead = found.leads(chosen)
    assert ((lead > 0).numpy() == np.isin(found.pixels(), found.nodes[chosen])).all()
    assert torch.equal(found.leads(~chosen) > 0, lead < 0)
    assert (found.leads(np.ones_like(chosen)) == 1).all()
    assert (found.leads(np.zeros_like(chosen)) == -1).all()


def test_between_two_nodes_the_lead_is_the_difference_of_their_membership() -> None:
    maps = torch.rand(2, 4, 5, generator=torch.Generator().manual_seed(0))
    found = NodeMaps(np.arange(2), maps, [(0, 1)])
    torch.testing.assert_close(found.leads(np.array([True, False])), maps[0] - maps[1])


def test_a_choice_takes_the_first_where_the_lead_is_positive_without_a_gap_between_equals() -> None:
    lead, first, second = torch.rand(3, 500, generator=torch.Generator().manual_seed(0)) * 2 - 1
    found = choose(lead, first, second)
    assert torch.equal(found > 0, torch.where(lead > 0, first, second) > 0)
    assert (choose(lead * 0, first.abs(), second.abs()) > 0).all()


@settings(max_examples=20)
@given(seeds)
def test_leaves_may_be_summed_before_the_filter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    children = random_children(rng, 8)
    soft = torch.tensor(rng.dirichlet(np.full(8, 0.3), (3, 4))).float().permute(2, 0, 1)
    guide = Guide.of(rng.integers(0, 256, (24, 32, 3), np.uint8))
    node = np.arange(8)
    for inner in range(8, int(rng.integers(8, 15))):
        node[below(children, inner)] = inner
    fine = refined_maps(soft, guide, np.arange(8), children)
    coarse = refined_maps(soft, guide, node, children)
    for place, top in enumerate(coarse.nodes):
        expected = fine.maps[np.flatnonzero(node[fine.nodes] == top)].sum(0)
        torch.testing.assert_close(coarse.maps[place], expected, atol=1e-5, rtol=1e-4)
    assert (node[fine.pixels((24, 32))] == coarse.pixels((24, 32))).mean() > 0.998


# ---- masks of an analysis -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def sampled(clip: ArrayClip) -> Analysis:
    """Three frames analysed, 0, 3 and 6; every fourth leaf is a seam."""
    analysis = analyse(clip, Settings(**TINY, frames=3))
    vars(analysis)["seams"] = np.arange(analysis.tree.leaves) % 4 == 1
    return analysis


def shown(analysis: Analysis, cut: Segmentation, frame: np.ndarray, number: int) -> np.ndarray:
    """The cluster of every pixel by the leaf maps."""
    leaf, solid = leaf_maps(analysis, frame, number)
    visible = ~(analysis.seams & cut.background[cut.leaf_cluster])
    return cut.leaf_cluster[np.where(visible[leaf], leaf, solid)]


EDITS = (
    (),
    (Edit.role(0, "object"), Edit.role(1, "background")),
    (Edit.merge(1, 0), Edit.split(2, at=9), Edit.role(9, "object", at=9), Edit.merge(9, 3, at=9)),
)


@pytest.mark.parametrize("edits", EDITS, ids=["none", "roles", "many"])
def test_masks_of_every_cut_are_its_clusters_of_the_leaf_maps(edits, sampled, clip) -> None:
    edited = replace(sampled, edits=edits)
    vars(edited)["seams"] = sampled.seams
    for clusters in (1, 2, 3, 5, 9, 20, sampled.tree.leaves):
        cut = edited.segment(n_clusters=clusters)
        for mask in export.all_masks(edited, cut, clip):
            expected = shown(edited, cut, mask.frame, mask.clip_frame)
            assert (mask.labels == expected).mean() > 0.999  # sums differ in their last bits


def test_merging_and_splitting_leave_the_pixels_of_the_others(sampled, clip) -> None:
    cut = sampled.segment(n_clusters=6)
    for role in ("object", "background"):
        cut = cut.with_role(4, role).with_role(1, role)
    merged = cut.merged(4, 1)
    split = cut.split(2, sampled.tree.first_parts(np.flatnonzero(cut.leaf_cluster == 2)))
    whole = np.append(np.arange(6), 2)
    for before, one, other in zip(
        *(export.all_masks(sampled, c, clip) for c in (cut, merged, split)), strict=True
    ):
        expected = np.where(before.labels == 4, 1, before.labels)
        assert (one.labels == expected).mean() > 0.999
        assert (whole[other.labels] == before.labels).mean() > 0.999


def test_seams_get_no_pixels_unless_they_belong_to_an_object(sampled, clip) -> None:
    for number, frame in enumerate(clip.frames):
        leaf, solid = leaf_maps(sampled, frame, number)
        assert sampled.seams[leaf].any()
        assert not sampled.seams[solid].any()
        assert (leaf == solid)[~sampled.seams[leaf]].all()
        cut = sampled.segment(n_clusters=sampled.tree.leaves)  # every leaf for itself
        for cluster in range(cut.clusters):
            cut = cut.with_role(cluster, "object")
        assert (shown(sampled, cut, frame, number) == cut.leaf_cluster[leaf]).all()


def test_between_objects_that_are_both_kept_a_seam_leaves_no_gap(sampled, clip) -> None:
    cut = sampled.segment(n_clusters=6)
    hidden = sampled.seams & cut.background[cut.leaf_cluster]
    kept = np.unique(cut.leaf_cluster[~hidden]).tolist()  # all that have pixels
    cut = replace(cut, leaf_cluster=np.where(hidden, cut.clusters, cut.leaf_cluster),
                  background=np.append(cut.background, True))  # fmt: skip
    for mask in export.all_masks(sampled, cut, clip):
        assert hidden[leaf_maps(sampled, mask.frame, mask.clip_frame)[0]].any()
        assert (mask.alpha(kept) == 255).all()


def test_without_refinement_leaf_maps_are_the_nearest_leaves_of_the_patches(clip) -> None:
    analysis = analyse(clip, Settings(**TINY, frames=3, refine=False))
    for number, nearest in enumerate([0, 0, 1, 1, 1, 2, 2]):
        for found in leaf_maps(analysis, clip.frames[number], number):
            expected = np.kron(analysis.nearest[nearest, ..., 0], np.ones((8, 8)))
            np.testing.assert_array_equal(found, expected)
