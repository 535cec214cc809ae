"""The hierarchy as SVG."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bavos_core import render
from bavos_core.render.palette import usual_colours
from bavos_core.tree import ClusterTree

from .helpers import tree_of

SVG = "{http://www.w3.org/2000/svg}"


def random_tree(leaves: int, seed: int = 0) -> ClusterTree:
    """A tree of random distributions, whose leaves stand for several patches each."""
    rng = np.random.default_rng(seed)
    return tree_of(rng.dirichlet(np.ones(6), leaves), rng.integers(1, 50, leaves))


def picture_of(tree: ClusterTree, tau: float, background: np.ndarray | None = None) -> ET.Element:
    """The parsed picture of a tree cut at τ."""
    if background is None:
        background = np.zeros(tree.clusters_at(tau), bool)
    cut = tree.cut_into(len(background))
    return ET.fromstring(render.hierarchy_svg(tree, tau, cut, background, usual_colours()))


def paths(picture: ET.Element) -> list[tuple[list[float], str]]:
    """Numbers and colour of every branch: x and y of the child, y and x of the parent."""
    found = picture.iter(f"{SVG}path")
    return [
        ([float(n) for n in re.findall(r"-?[\d.]+", p.get("d"))], p.get("stroke")) for p in found
    ]


@given(leaves=st.integers(1, 25), seed=st.integers(0, 99), tau=st.floats(1e-3, 50))
@settings(max_examples=60)
def test_any_tree_becomes_a_well_formed_picture_with_one_path_per_branch(leaves, seed, tau) -> None:
    picture = picture_of(random_tree(leaves, seed), tau)
    assert picture.tag == f"{SVG}svg"
    assert len(paths(picture)) == 2 * (leaves - 1)


def test_a_tree_of_one_leaf_is_drawn_without_branches() -> None:
    picture = picture_of(random_tree(1), 1.0)
    assert paths(picture) == []
    assert "1 clusters" in picture.find(f"{SVG}title").text


@given(leaves=st.integers(2, 25), seed=st.integers(0, 99), tau=st.floats(1e-3, 50))
@settings(max_examples=30)
def test_every_branch_lies_in_the_picture_and_stands_on_its_child(leaves, seed, tau) -> None:
    for (x, y, top, across), _ in paths(picture_of(random_tree(leaves, seed), tau)):
        assert 0 <= x <= 960
        assert 0 <= across <= 960
        assert 0 <= top <= y <= 360  # a parent is never below its child


@given(leaves=st.integers(2, 25), seed=st.integers(0, 99))
@settings(max_examples=30)
def test_leaves_stand_side_by_side_and_no_branches_cross(leaves, seed) -> None:
    tree = random_tree(leaves, seed)
    branches = [numbers for numbers, _ in paths(picture_of(tree, 1.0))]
    children = tree.merges[:, :2].astype(int).ravel()
    place = {int(child): numbers[0] for child, numbers in zip(children, branches, strict=True)}
    assert len({place[leaf] for leaf in range(leaves)}) == leaves
    below = {leaf: [place[leaf]] for leaf in range(leaves)}
    for i, (first, second, *_) in enumerate(tree.merges):
        left, right = sorted((below[int(first)], below[int(second)]), key=min)
        assert max(left) < min(right)
        below[leaves + i] = left + right


def test_tau_can_be_told_from_the_place_of_the_line() -> None:
    tree = random_tree(10)
    tau = float(tree.heights[5:7].mean())
    picture = picture_of(tree, tau)
    scale = picture.findall(f"{SVG}text[@text-anchor='end']")[:-1]  # the last is the line's
    places = [float(text.get("y")) - 4 for text in scale]
    roots = [float(text.text) ** 0.5 for text in scale]
    line = float(picture.find(f"{SVG}line").get("y1"))
    assert len(scale) > 2
    assert np.interp(tau**0.5, roots, places) == pytest.approx(line, abs=0.3)


def test_branches_below_the_cut_have_their_objects_colour_and_scenery_is_grey() -> None:
    tree = random_tree(8)
    cut = tree.cut_into(3)
    background = np.array([True, False, False])
    drawn = paths(picture_of(tree, tree.height_of(3), background))
    children = tree.merges[:, :2].astype(int).ravel()
    colour = {int(child): stroke for child, (_, stroke) in zip(children, drawn, strict=True)}
    for leaf in range(8):
        rgb = render.BACKGROUND_GREY if background[cut[leaf]] else render.object_colour(cut[leaf])
        assert colour[leaf] == "#{:02x}{:02x}{:02x}".format(*rgb)


def test_branches_to_instances_are_dotted_and_say_what_they_are() -> None:
    tree = random_tree(12)
    joins = np.arange(11) % 4 == 2
    picture = picture_of(replace(tree, instances=joins), 1.0)
    children = tree.merges[joins, :2].astype(int).ravel().tolist()
    for path in picture.iter(f"{SVG}path"):
        joined = int(path.get("data-node")) in children
        assert (path.get("stroke-dasharray") is not None) == joined
        assert path.find(f"{SVG}title").text.endswith("told apart as instances") == joined
        assert ("joined at τ" in path.find(f"{SVG}title").text) != joined


def test_instances_are_marked_in_the_drawn_part_of_a_large_tree(large_tree) -> None:
    joins = np.zeros(399, bool)
    joins[[3, 390]] = True  # the first lies in what is too fine to be drawn
    picture = picture_of(replace(large_tree, instances=joins), 1.0)
    dotted = [p for p in picture.iter(f"{SVG}path") if p.get("stroke-dasharray")]
    assert sorted(int(p.get("data-node")) for p in dotted) == large_tree.merges[390, :2].tolist()


def test_the_line_of_the_cut_separates_merges_done_from_those_not_done() -> None:
    tree = random_tree(10)
    tau = tree.heights[5:7].mean()  # six of nine merges are done: four clusters
    picture = picture_of(tree, tau)
    line = float(picture.find(f"{SVG}line").get("y1"))
    tops = sorted({numbers[2] for numbers, _ in paths(picture)})
    assert sum(top < line for top in tops) == 3
    assert "4 clusters" in picture.find(f"{SVG}title").text


@pytest.fixture(scope="module")
def large_tree() -> ClusterTree:
    """More leaves than can be told apart."""
    return random_tree(400)


@pytest.mark.parametrize("clusters", [1, 9, 255])
def test_of_a_tree_with_more_parts_than_can_be_told_apart_the_upper_255_are_drawn(
    clusters: int, large_tree: ClusterTree
) -> None:
    picture = picture_of(large_tree, large_tree.height_of(clusters))
    upper = large_tree.merges[-254:, :2].astype(int)
    drawn = [int(branch.get("data-node")) for branch in picture.iter(f"{SVG}path")]
    assert drawn == upper.ravel().tolist()
    lowest = set(drawn) - set(range(400 + 399 - 254, 799))
    places = [numbers for numbers, _ in paths(picture)]
    found = {node: numbers for node, numbers in zip(drawn, places, strict=True) if node in lowest}
    assert len({x for x, *_ in found.values()}) == len(lowest) == 255
    assert {y for _, y, *_ in found.values()} == {314}  # τ = 0
    title = picture.find(f"{SVG}title").text
    assert f"{clusters} clusters" in title
    assert "255 finest parts" in title


def test_of_a_large_tree_as_many_parts_are_drawn_as_there_are_clusters(large_tree) -> None:
    picture = picture_of(large_tree, large_tree.height_of(300))
    assert len(paths(picture)) == 2 * 299
    assert {colour for _, colour in paths(picture)} > {"#999999"}  # above the cut, and clusters


def test_the_drawn_part_of_a_large_tree_has_the_colours_of_its_clusters(large_tree) -> None:
    cluster = large_tree.node_clusters(large_tree.cut_into(6))
    picture = picture_of(large_tree, large_tree.height_of(6))
    colours = []
    for branch in picture.iter(f"{SVG}path"):
        of_node = cluster[int(branch.get("data-node"))]
        rgb = render.object_colour(of_node) if of_node >= 0 else (153, 153, 153)
        assert branch.get("stroke") == "#{:02x}{:02x}{:02x}".format(*rgb)
        colours.append(branch.get("stroke"))
    assert len(set(colours)) == 7
