"""Where branches are drawn, and which is at a place."""

from itertools import pairwise

import numpy as np
import pytest

from .node import node
from .scenes import random_tree

MODULES = {
    "tree.js": "openTree, cutInto, nodeClusters, clustersAt, leavesOf",
    "dendrogram.js": (
        "layoutTree, leafOrder, cutY, heightAtY, nodeAtPlace, clusterTops, visibleNodes"
    ),
    "hierarchy.js": "levelsOf",
}
BOX = {"left": 30, "right": 454, "top": 10, "floor": 190}
SIZES = [1, 2, 5, 60, 300]
SET_UP = """
const tree = openTree(Float64Array.from(data.merges), Int32Array.from(data.counts), data.frames);
const layout = layoutTree(tree, data.box);
"""


def run(leaves: int, script: str) -> object:
    tree = random_tree(leaves, 4, np.random.default_rng(leaves))
    data = {
        "merges": tree.merges.ravel().tolist(),
        "counts": tree.counts.ravel().tolist(),
        "frames": 4,
        "box": BOX,
    }
    return node(SET_UP + script, MODULES, data)


@pytest.mark.parametrize("leaves", SIZES)
def test_leaves_fill_the_width_side_by_side_and_no_branches_cross(leaves: int) -> None:
    script = """
    const [x, y, from, to] = [layout.x, layout.y, layout.from, layout.to].map((all) => [...all]);
    print({ x, y, from, to, order: leafOrder(tree), merges: data.merges });"""
    found = run(leaves, script)
    start, end = np.array(found["from"]), np.array(found["to"])
    order = found["order"]
    assert sorted(order) == list(range(leaves))
    np.testing.assert_allclose(start[order[1:]], end[order[:-1]], atol=1e-3)
    assert start[order[0]] == BOX["left"] and end[order[-1]] == pytest.approx(
        BOX["right"], abs=0.01
    )
    assert (end[:leaves] - start[:leaves]).min() >= 0.59 * (BOX["right"] - BOX["left"]) / leaves
    for i, (first, second, *_) in enumerate(np.reshape(found["merges"], (-1, 4)).astype(int)):
        node_ = leaves + i
        assert end[node_] - start[node_] == pytest.approx(
            end[first] - start[first] + end[second] - start[second], abs=1e-2
        )  # its leaves lie side by side
        assert found["y"][node_] <= min(found["y"][first], found["y"][second]) + 1e-3
        assert start[node_] < found["x"][node_] < end[node_]
    assert min(found["y"]) >= BOX["top"]


@pytest.mark.parametrize("leaves", SIZES)
def test_the_line_of_a_cut_lies_where_dragging_finds_it_again(leaves: int) -> None:
    script = """
    const found = [];
    for (let n = 1; n <= tree.leaves; n++) {
      found.push(clustersAt(tree, heightAtY(layout, cutY(tree, layout, n))));
    }
    print({ found, heights: data.merges.filter((_, i) => i % 4 === 2) });"""
    found = run(leaves, script)
    heights = np.array(found["heights"])
    for n, back in enumerate(found["found"], 1):
        merges = leaves - n
        tied = 0 < merges < leaves - 1 and heights[merges] == heights[merges - 1]
        zero = merges < leaves - 1 and heights[merges] == 0  # merged at any height
        assert back == n or tied or zero


@pytest.mark.parametrize("leaves", SIZES)
def test_a_place_finds_the_branch_that_passes_it(leaves: int) -> None:
    script = """
    const found = [];
    for (let node = 0; node < layout.x.length; node++) {
      const wide = (layout.from[node] + layout.to[node]) / 2;
      found.push(nodeAtPlace(tree, layout, wide, layout.y[node]));
    }
    print({ found, y: [...layout.y], outside: nodeAtPlace(tree, layout, 3, 50) });"""
    found = run(leaves, script)
    assert found["outside"] is None
    for node_, at in enumerate(found["found"]):
        assert at == node_ or found["y"][at] == pytest.approx(found["y"][node_], abs=1e-4)


@pytest.mark.parametrize("leaves", [5, 60, 300])
def test_branches_that_are_too_narrow_merge_into_shapes(leaves: int) -> None:
    script = """
    const { lines, wedges } = visibleNodes(tree, layout, 7);
    const covered = wedges.flatMap((node) => leavesOf(tree, node));
    const widths = wedges.map((node) => layout.to[node] - layout.from[node]);
    print({ lines: lines.length, wedges: widths, covered });"""
    found = run(leaves, script)
    assert len(set(found["covered"])) == len(found["covered"])
    assert all(width < 7 for width in found["wedges"])
    assert found["lines"] <= 2 * (BOX["right"] - BOX["left"]) / 7
    if leaves == 5:
        assert found["lines"] == 4 and found["wedges"] == []


def test_tops_are_one_node_per_cluster_of_a_cut() -> None:
    script = """
    const tops = (n) => clusterTops(tree, nodeClusters(tree, cutInto(tree, n)));
    print([1, 7, 33, 60].map((n) => tops(n).length));"""
    assert run(60, script) == [1, 7, 33, 60]


def test_levels_go_from_most_to_1_in_few_steps() -> None:
    few, many, one = node("print([5, 255, 1].map(levelsOf));", MODULES)
    assert few == [5, 4, 3, 2, 1] and one == [1]
    assert many[0] == 255 and many[-1] == 1 and len(many) < 70
    assert all(a > b for a, b in pairwise(many))
