"""Drawing of the page: several heatmaps, the patch grid, small pictures in the tree."""

import xml.etree.ElementTree as ET

import numpy as np
import torch
from scipy.cluster.hierarchy import linkage

from bavos_core import Segmentation
from bavos_core.tree import ClusterTree
from demo import drawing

SVG = "{http://www.w3.org/2000/svg}"


def test_each_of_several_heatmaps_has_a_colour_of_its_own() -> None:
    frame = np.zeros((16, 32, 3), np.uint8)
    left, right = np.zeros((2, 2, 4), np.float32)
    left[:, 0], right[:, 3] = 1, 1
    found = drawing.heats_overlay(frame, [left, right], opacity=0.5)
    np.testing.assert_allclose(found[8, 0], 0.5 * np.array(drawing.query_colour(0)), atol=1)
    np.testing.assert_allclose(found[8, 31], 0.5 * np.array(drawing.query_colour(1)), atol=1)
    assert (found[:, 14:18] == 0).all()
    assert len({drawing.query_colour(i) for i in range(8)}) == 8


def test_heatmaps_that_overlap_never_add_to_more_than_the_picture() -> None:
    frame = np.full((8, 8, 3), 255, np.uint8)
    found = drawing.heats_overlay(frame, [np.ones((2, 2), np.float32)] * 3, opacity=1)
    mixed = np.mean([drawing.query_colour(i) for i in range(3)], axis=0)
    np.testing.assert_allclose(found[4, 4], mixed, atol=1)


def test_the_patch_grid_has_a_line_at_every_border_of_patches_and_nowhere_else() -> None:
    frame = np.zeros((24, 40, 3), np.uint8)
    lined = drawing.patch_grid(frame, (3, 5)).any(2)
    assert np.flatnonzero(lined.all(1)).tolist() == [8, 16]
    assert np.flatnonzero(lined.all(0)).tolist() == [8, 16, 24, 32]
    assert lined.sum() == 2 * 40 + 4 * 24 - 8
    assert not frame.any()


def test_small_pictures_stand_at_their_nodes_and_never_on_one_another() -> None:
    merges = linkage(np.random.default_rng(0).dirichlet(np.ones(6), 30), "average")
    tree = ClusterTree(merges, np.ones((30, 1), np.int32), np.ones((30, 6), np.float16))
    leaf_cluster = tree.cut_into(6)
    nothing = torch.zeros(0), np.zeros(6, bool), np.zeros(6, bool)
    cut = Segmentation(1.0, leaf_cluster, np.zeros(0, int), *nothing)
    addresses = {node: f"data:,{node}" for node in (58, 57, 56, *range(30), 999)}
    drawn = ET.fromstring(drawing.tree_picture(tree, cut, addresses))
    without = ET.fromstring(drawing.tree_picture(tree, cut, {}))
    assert len(list(drawn.iter())) > len(list(without.iter()))
    images = list(drawn.iter(f"{SVG}image"))
    assert images[0].get("data-node") == "58"  # the first that is given is shown in any case
    assert all(image.get("href") == f"data:,{image.get('data-node')}" for image in images)
    boxes = [[float(image.get(side)) for side in ("x", "y", "width", "height")] for image in images]
    assert 3 <= len(boxes) < 33
    for i, (x, y, wide, high) in enumerate(boxes):
        assert 0 <= x <= 720 - wide
        for other_x, other_y, *_ in boxes[:i]:
            assert abs(x - other_x) >= wide or abs(y - other_y) >= high
