"""Cutting and joining single branches of the tree."""

import numpy as np
import pytest

from .node import node
from .scenes import random_tree

MODULES = {
    "branches.js": "branchOf, cutBranch, joinBranch",
    "edits.js": "currentCut",
    "tree.js": "leavesOf, treeOf",
}
LEAVES, FRAMES, CLUSTERS = 30, 4, 4
SCRIPT = """
const base = {
  merges: Float64Array.from(data.merges), counts: Int32Array.from(data.counts),
  analysed: new Int32Array(data.frames), background: new Uint8Array(1000),
};
const state = { n: data.clusters, edits: [], undone: [], selected: [] };
const store = { state };
const context = { scene: { base }, store };
const set = (patch) => { store.state = { ...store.state, ...patch }; };
const tree = treeOf(base);
const found = [];
for (let branch = 0; branch < 2 * tree.leaves - 1; branch++) {
  store.state = state;
  const before = currentCut(context);
  const kind = branchOf(tree, before, branch);
  const own = leavesOf(tree, branch);
  const seen = { own, kind, before: [...before.leafCluster] };
  if (kind.cut) set(cutBranch(context, branch));
  seen.cut = [...currentCut(context).leafCluster];
  seen.selected = store.state.selected;
  seen.edits = store.state.edits;
  set(joinBranch(context, branch));
  seen.joined = [...currentCut(context).leafCluster];
  found.push(seen);
}
print(found);
"""


@pytest.fixture(scope="module")
def branches() -> list[dict]:
    """What cutting, and then joining, every branch of a tree does."""
    tree = random_tree(LEAVES, FRAMES, np.random.default_rng(4))
    data = {
        "merges": tree.merges.ravel().tolist(),
        "counts": tree.counts.ravel().tolist(),
        "frames": FRAMES,
        "clusters": CLUSTERS,
    }
    return node(SCRIPT, MODULES, data)


def test_a_branch_of_a_cluster_becomes_a_cluster_of_its_own(branches: list[dict]) -> None:
    parted = [seen for seen in branches if seen["kind"]["cut"] and not seen["kind"]["whole"]]
    assert len(parted) > 20
    for seen in parted:
        after = np.array(seen["cut"])
        (cluster,) = seen["selected"]
        assert np.flatnonzero(after == cluster).tolist() == seen["own"]
        assert {edit["action"] for edit in seen["edits"]} == {"split"}


def test_a_branch_that_is_a_cluster_is_divided_in_two(branches: list[dict]) -> None:
    whole = [seen for seen in branches if seen["kind"]["cut"] and seen["kind"]["whole"]]
    assert whole
    for seen in whole:
        after = np.array(seen["cut"])
        assert len(set(after[seen["own"]].tolist())) == 2 and len(seen["edits"]) == 1


def test_other_clusters_stay_as_they_are(branches: list[dict]) -> None:
    for seen in branches:
        before, after = np.array(seen["before"]), np.array(seen["cut"])
        others = ~np.isin(before, before[seen["own"]])
        assert (before[others] == after[others]).all()


def test_joining_makes_one_cluster_of_a_branch(branches: list[dict]) -> None:
    for seen in branches:
        assert len({seen["joined"][leaf] for leaf in seen["own"]}) == 1
