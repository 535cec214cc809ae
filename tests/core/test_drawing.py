"""Pictures for people: palettes, painted objects, heatmaps and the picture of the hierarchy."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bavos_core import render
from bavos_core.render.colour_maps import COLOUR_MAPS, colour_map
from bavos_core.tree import ClusterTree

from .helpers import noise_clip, tree_of

SVG = "{http://www.w3.org/2000/svg}"
RED, BLUE = (250.0, 10.0, 20.0), (10.0, 20.0, 250.0)


def halves(height: int, width: int) -> torch.Tensor:
    """Membership (2, height, width): cluster 0 on the left, cluster 1 on the right."""
    left = torch.zeros(height, width)
    left[:, : width // 2] = 1
    return torch.stack([left, 1 - left])


def painted(frame: np.ndarray, membership: torch.Tensor, alpha: tuple[float, ...]) -> np.ndarray:
    colours = np.array([RED, BLUE], np.float32)
    return render.paint(frame, torch.arange(2), membership, colours, np.array(alpha, np.float32))


def random_tree(leaves: int, seed: int = 0) -> ClusterTree:
    """A tree of random distributions, whose leaves stand for several patches each."""
    rng = np.random.default_rng(seed)
    return tree_of(rng.dirichlet(np.ones(6), leaves), rng.integers(1, 50, leaves))


def picture_of(tree: ClusterTree, tau: float, background: np.ndarray | None = None) -> ET.Element:
    """The parsed picture of a tree cut at τ."""
    if background is None:
        background = np.zeros(tree.clusters_at(tau), bool)
    cut = tree.cut_into(len(background))
    return ET.fromstring(render.hierarchy_svg(tree, tau, cut, background))


def paths(picture: ET.Element) -> list[tuple[list[float], str]]:
    """Numbers and colour of every branch: x and y of the child, y and x of the parent."""
    found = picture.iter(f"{SVG}path")
    return [
        ([float(n) for n in re.findall(r"-?[\d.]+", p.get("d"))], p.get("stroke")) for p in found
    ]


# ---- palettes ----------------------------------------------------------------------------------


def test_the_palette_begins_as_that_of_davis() -> None:
    assert render.davis_palette()[:9].tolist() == [
        [0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128],
        [128, 0, 128], [0, 128, 128], [128, 128, 128], [64, 0, 0],
    ]  # fmt: skip


def test_the_palette_is_the_one_of_the_pascal_voc_development_kit() -> None:
    expected = []
    for value in range(256):
        colour, bits = [0, 0, 0], value
        for shift in range(7, -1, -1):
            for channel in range(3):
                colour[channel] |= (bits >> channel & 1) << shift
            bits >>= 3
        expected.append(colour)
    assert render.davis_palette().tolist() == expected


def test_all_256_colours_of_the_palette_differ() -> None:
    palette = render.davis_palette()
    assert palette.dtype == np.uint8
    assert len(np.unique(palette, axis=0)) == 256


def test_the_first_twenty_objects_have_colours_of_their_own() -> None:
    assert len({render.object_colour(i) for i in range(20)}) == 20
    assert render.object_colour(10_000) in {render.object_colour(i) for i in range(20)}


def test_background_is_painted_only_when_it_is_asked_for() -> None:
    background = np.array([False, True])
    colours, hidden = render.cluster_paint(background, opacity=0.5, show_background=False)
    _, shown = render.cluster_paint(background, opacity=0.5, show_background=True)
    assert colours.tolist() == [list(render.object_colour(i)) for i in range(2)]
    assert hidden.tolist() == [0.5, 0]
    assert shown.tolist() == [0.5, 0.5]


# ---- painting ----------------------------------------------------------------------------------


def test_paint_without_any_opacity_leaves_the_frame_as_it_is() -> None:
    frame = noise_clip(1, (12, 16))[0]
    np.testing.assert_array_equal(painted(frame, halves(12, 16), (0, 0)), frame)


def test_a_cluster_without_opacity_stays_as_it_is_away_from_the_border() -> None:
    frame = noise_clip(1, (12, 16))[0]
    found = painted(frame, halves(12, 16), (0.5, 0))
    np.testing.assert_array_equal(found[:, 8:], frame[:, 8:])
    assert (found[:, :7] != frame[:, :7]).any()


@pytest.mark.parametrize("alpha", [0.25, 0.55, 1.0])
def test_inner_pixels_are_blended_with_the_colour_of_their_cluster(alpha: float) -> None:
    frame = noise_clip(1, (12, 16))[0]
    found = painted(frame, halves(12, 16), (alpha, alpha))
    for part, colour in ((np.s_[:, :7], RED), (np.s_[:, 8:], BLUE)):
        expected = frame[part] * (1 - alpha) + alpha * np.array(colour)
        np.testing.assert_allclose(found[part], expected, atol=0.51)


def test_the_border_between_two_clusters_is_a_bright_line() -> None:
    frame = noise_clip(1, (12, 16))[0]
    found = painted(frame, halves(12, 16), (0.5, 0.5))
    bright = 0.4 * np.array(RED) + 0.6 * 255
    np.testing.assert_allclose(found[:, 7], frame[:, 7] * 0.15 + 0.85 * bright, atol=0.51)


def test_a_coarse_membership_is_spread_over_the_pixels_of_the_frame() -> None:
    frame = noise_clip(1, (24, 32))[0]
    found = painted(frame, halves(12, 16), (0.5, 0.5))
    for part, colour in ((np.s_[:, :12], RED), (np.s_[:, 18:], BLUE)):
        expected = frame[part] * 0.5 + 0.5 * np.array(colour)
        np.testing.assert_allclose(found[part], expected, atol=0.51)


def test_colours_follow_the_numbers_of_the_clusters_that_appear() -> None:
    frame = np.zeros((6, 8, 3), np.uint8)
    colours = np.arange(15, dtype=np.float32).reshape(5, 3) * 10
    alpha = np.ones(5, np.float32)
    found = render.paint(frame, torch.tensor([2, 4]), halves(6, 8), colours, alpha)
    assert found[3, 1].tolist() == colours[2].tolist()
    assert found[3, 6].tolist() == colours[4].tolist()


def test_fills_have_no_line_between_them() -> None:
    frame = noise_clip(1, (12, 16))[0]
    colours, alpha = np.array([RED, BLUE], np.float32), np.full(2, 0.5, np.float32)
    found = render.paint(frame, torch.arange(2), halves(12, 16), colours, alpha, "fills")
    for part, colour in ((np.s_[:, :8], RED), (np.s_[:, 8:], BLUE)):
        np.testing.assert_allclose(found[part], frame[part] * 0.5 + 0.5 * np.array(colour), atol=1)


def test_outlines_leave_the_inside_as_it_is() -> None:
    frame = np.full((24, 32, 3), 128, np.uint8)
    colours, alpha = np.array([RED, BLUE], np.float32), np.full(2, 0.5, np.float32)
    found = render.paint(frame, torch.arange(2), halves(24, 32), colours, alpha, "outlines")
    changed = (found != frame).any((0, 2))
    assert 1 <= changed.sum() <= 4
    assert changed[14:18].any()
    colour = frame[5, 15] * 0.15 + 0.85 * np.array(RED)
    np.testing.assert_allclose(found[5, 15], colour, atol=1)


def test_hidden_clusters_have_no_opacity_and_unknown_ones_do_not_matter() -> None:
    background = np.zeros(3, bool)
    _, alpha = render.cluster_paint(background, opacity=0.5, show_background=False, hidden={1, 7})
    assert alpha.tolist() == [0.5, 0, 0.5]


def test_painting_leaves_the_callers_frame_alone() -> None:
    frame = noise_clip(1, (12, 16))[0]
    before = frame.copy()
    painted(frame, halves(12, 16), (1, 1))
    np.testing.assert_array_equal(frame, before)


# ---- heatmaps ----------------------------------------------------------------------------------


def test_cold_places_keep_their_picture_at_77_percent_of_its_brightness() -> None:
    frame = noise_clip(1, (12, 16))[0]
    found = render.heat_overlay(frame, np.zeros((3, 4)))
    kept = 1 - 0.65 * 0.35  # opacity times the least strength; inferno begins at black
    np.testing.assert_allclose(found, frame * kept, atol=2)


def test_hot_places_keep_a_third_of_their_picture_under_the_brightest_colour() -> None:
    frame = noise_clip(1, (12, 16))[0]
    found = render.heat_overlay(frame, np.ones((3, 4)))
    hottest = np.array([0.988, 1.0, 0.645]) * 255  # the end of inferno
    np.testing.assert_allclose(found, frame * 0.35 + 0.65 * hottest, atol=2)


def test_the_hotter_a_place_the_less_of_the_picture_is_left() -> None:
    heat = np.linspace(0, 1, 64)[None]
    black, white = (np.full((1, 64, 3), value, np.uint8) for value in (0, 255))
    left = render.heat_overlay(white, heat).astype(int) - render.heat_overlay(black, heat)
    assert (np.diff(left, axis=1) <= 1).all()  # each is rounded down
    assert (left[:, 0] - left[:, -1] > 100).all()


def test_the_hotter_a_place_the_brighter_it_glows_on_black() -> None:
    heat = np.linspace(0, 1, 64)[None]
    found = render.heat_overlay(np.zeros((1, 64, 3), np.uint8), heat)
    grey = found[0] @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(grey) >= -1).all()
    assert grey[-1] - grey[0] > 100


def test_heat_beyond_0_and_1_counts_as_0_and_1() -> None:
    frame = noise_clip(1, (12, 16))[0]
    for beyond, end in ((-3, 0), (7, 1)):
        np.testing.assert_array_equal(
            render.heat_overlay(frame, np.full((3, 4), beyond)),
            render.heat_overlay(frame, np.full((3, 4), end)),
        )


@pytest.mark.parametrize("name", COLOUR_MAPS)
def test_a_colour_map_is_256_different_colours(name: str) -> None:
    table = colour_map(name)
    assert table.shape == (256, 3)
    assert 0 <= table.min() < table.max() <= 1
    assert len(np.unique(table, axis=0)) == 256


def test_there_is_no_other_colour_map() -> None:
    with pytest.raises(KeyError):
        colour_map("../colour-maps/inferno")


def test_a_hot_patch_glows_at_its_own_place() -> None:
    heat = np.zeros((6, 8))
    heat[1, 6] = 1
    found = render.heat_overlay(np.zeros((48, 64, 3), np.uint8), heat).sum(2)
    y, x = np.unravel_index(found.argmax(), found.shape)
    assert 8 <= y < 16
    assert 48 <= x < 56


def test_the_scale_of_a_row_lets_single_patches_burn_out_and_is_never_0() -> None:
    row = np.full(10_000, 1e-4)
    row[0] = 1
    assert render.heat_scale(row) == pytest.approx(1e-4)
    assert render.heat_scale(np.zeros((2, 3, 4))) > 0


def test_the_ring_has_its_middle_at_the_point_and_nothing_else_changes() -> None:
    frame = np.full((60, 80, 3), 120, np.uint8)
    found = render.mark_point(frame, 20.0, 50.0)
    rows, columns = np.nonzero((found != frame).any(2))
    assert rows.mean() + 0.5 == pytest.approx(20, abs=0.2)
    assert columns.mean() + 0.5 == pytest.approx(50, abs=0.2)
    distance = np.hypot(rows + 0.5 - 20, columns + 0.5 - 50)
    assert 2 < distance.min() < distance.max() < 6


@pytest.mark.parametrize(("y", "x"), [(0, 0), (60, 80), (0, 80)])
def test_a_ring_at_the_corner_is_cut_off_but_drawn(y: float, x: float) -> None:
    frame = np.full((60, 80, 3), 120, np.uint8)
    assert (render.mark_point(frame, y, x) != frame).any()


# ---- hierarchy ---------------------------------------------------------------------------------


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
    floor, top = float(picture.get("data-floor")), float(picture.get("data-top"))
    y = float(picture.find(f"{SVG}line").get("y1"))
    assert (top * (floor - y) / (floor - 16)) ** 2 == pytest.approx(tau, rel=0.02)


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
    assert {y for _, y, *_ in found.values()} == {float(picture.get("data-floor"))}
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
