"""The browser's tree, cuts and edits against those of the core, on random trees."""

from types import SimpleNamespace

import numpy as np
import pytest

from bavos_core import Analysis, Edit, Segmentation
from bavos_core.tree import ClusterTree

from .node import node
from .scenes import random_tree

TREES = 240
LONGEST = 12  # edits in a row
FRAMES = 3
TAUS = [0.005, 0.25, 0.5, 1.0]
BASE = """
const baseOf = ({ merges, counts, frames, background }) => ({
  merges: Float64Array.from(merges), counts: Int32Array.from(counts),
  analysed: Int32Array.from({ length: frames }, (_, i) => i),
  background: Uint8Array.from(background),
});
"""


def flags(tree: ClusterTree) -> list[int]:
    """Whether clusters of every cut are background, as in the scene's base."""
    random = np.random.default_rng(tree.leaves)
    return random.integers(0, 2, tree.leaves * (tree.leaves + 1) // 2).tolist()


def data_of(tree: ClusterTree) -> dict:
    return {
        "merges": tree.merges.ravel().tolist(),
        "counts": tree.counts.ravel().tolist(),
        "frames": FRAMES,
        "background": flags(tree),
    }


def random_edits(random: np.random.Generator, clusters: int) -> list[Edit]:
    """Edits, some of which do not hold or make no sense at this cut."""
    edits = []
    for _ in range(random.integers(LONGEST + 1)):
        cluster, other = random.integers(clusters + 4, size=2).tolist()
        at = [None, clusters, clusters + 1][random.choice(3, p=[0.5, 0.4, 0.1])]
        values = {
            "name": f" name  {other} " if other % 3 else "",
            "role": "object" if other % 2 else "background",
            "merge": other,
            "split": None,
        }
        action = list(values)[random.integers(4)]
        if action == "merge" and other == cluster:
            continue
        edits.append(
            Edit(action, cluster, values[action], at=at or clusters if action == "split" else at)
        )
    return edits


def edited(tree: ClusterTree, clusters: int, edits: list[Edit]) -> Segmentation:
    """What the core makes of them."""
    first = clusters * (clusters - 1) // 2
    background = np.array(flags(tree)[first : first + clusters], bool)
    leaves = np.repeat(np.arange(tree.leaves), tree.sizes)[:, None, None]
    cut = Segmentation(1.0, tree.cut_into(clusters), leaves, background, cut=clusters)
    for edit in edits:
        cut = Analysis._apply(SimpleNamespace(tree=tree), edit, cut)
    return cut


@pytest.fixture(scope="module")
def trees() -> list[ClusterTree]:
    random = np.random.default_rng(17)
    return [random_tree(int(random.integers(1, 30)), FRAMES, random) for _ in range(TREES)]


def test_trees_are_cut_as_in_the_core(trees: list[ClusterTree]) -> None:
    random = np.random.default_rng(3)
    chosen = [
        sorted(set(random.integers(tree.leaves, size=random.integers(1, 9)).tolist()))
        for tree in trees
    ]
    found = node(
        f"""{BASE}
        print(data.map(({{ tree: given, chosen }}) => {{
          const tree = treeOf(baseOf(given));
          const numbers = Array.from({{ length: tree.leaves }}, (_, i) => i + 1);
          return {{
            cuts: numbers.map((n) => Array.from(cutInto(tree, n))),
            heights: numbers.map((n) => heightOf(tree, n)),
            at: {TAUS}.map((tau) => clustersAt(tree, tau)),
            slots: Array.from(slotsOf(tree)),
            parents: Array.from(parentsOf(tree)),
            parts: Array.from(firstParts(tree, chosen)),
            nodes: Array.from(nodeClusters(tree, cutInto(tree, numbers[numbers.length >> 1]))),
            sums: Array.from(sumOverNodes(tree, tree.sizes)),
            below: leavesOf(tree, 2 * tree.leaves - 2 - (tree.leaves > 1)),
          }};
        }}));""",
        {
            "tree.js": "treeOf, cutInto, heightOf, clustersAt, slotsOf, parentsOf, firstParts, "
            "nodeClusters, sumOverNodes, leavesOf"
        },
        [
            {"tree": data_of(tree), "chosen": leaves}
            for tree, leaves in zip(trees, chosen, strict=True)
        ],
    )
    for tree, leaves, ours in zip(trees, chosen, found, strict=True):
        numbers = range(1, tree.leaves + 1)
        assert ours["cuts"] == [tree.cut_into(n).tolist() for n in numbers]
        assert ours["heights"] == [tree.height_of(n) for n in numbers]
        assert ours["at"] == [tree.clusters_at(tau) for tau in TAUS]
        assert ours["slots"] == tree.slots().tolist()
        assert ours["parents"] == tree.parents().tolist()
        assert ours["parts"] == tree.first_parts(np.array(leaves)).tolist()
        cut = tree.cut_into(numbers[len(numbers) >> 1])
        assert ours["nodes"] == tree.node_clusters(cut).tolist()
        assert ours["sums"] == tree.sum_over_nodes(tree.sizes).tolist()
        lower = 2 * tree.leaves - 2 - (tree.leaves > 1)
        assert ours["below"] == tree.leaves_of(lower).tolist()


def test_edits_do_what_they_do_in_the_core(trees: list[ClusterTree]) -> None:
    random = np.random.default_rng(5)
    cuts = [int(random.integers(1, tree.leaves + 1)) for tree in trees]
    edits = [random_edits(random, n) for n in cuts]
    found = node(
        f"""{BASE}
        print(data.map(({{ tree, n, edits }}) => {{
          const cut = cutOf(baseOf(tree), n, edits);
          return {{
            leafCluster: Array.from(cut.leafCluster),
            background: cut.background,
            names: cut.background.map((_, i) => objectName(cut, i)),
            splits: [...cut.splits],
            present: Array.from(cut.sizes).flatMap((size, i) => (size > 0 ? [i] : [])),
            objects: clustersWithRole(cut, 'object').sort((a, b) => a - b),
          }};
        }}));""",
        {"edits.js": "cutOf, objectName, clustersWithRole"},
        [
            {"tree": data_of(tree), "n": n, "edits": [edit.to_dict() for edit in those]}
            for tree, n, those in zip(trees, cuts, edits, strict=True)
        ],
    )
    effective = 0
    for tree, n, those, ours in zip(trees, cuts, edits, found, strict=True):
        cut = edited(tree, n, those)
        effective += cut.clusters > n
        assert ours["leafCluster"] == cut.leaf_cluster.tolist()
        assert ours["background"] == cut.background.astype(int).tolist()
        assert ours["names"] == [cut.name(i) for i in range(cut.clusters)]
        assert {number: tuple(parts) for number, parts in ours["splits"]} == dict(cut.splits)
        assert ours["present"] == cut.present
        assert ours["objects"] == cut.objects
    assert effective > TREES / 10


def test_changes_are_edits_that_the_core_takes() -> None:
    tree = random_tree(9, FRAMES, np.random.default_rng(1))
    found = node(
        f"""{BASE}
        const base = baseOf(data);
        let state = {{ n: 4, edits: [], undone: [] }};
        const change = (patch) => {{ state = {{ ...state, ...patch }}; }};
        const cut = () => cutOf(base, state.n, state.edits);
        const big = () => ['object', 'background']
          .flatMap((role) => clustersWithRole(cut(), role))
          .find((i) => canSplit(base, cut(), i));
        change(renamed(state, cut(), 2, '  a   ball '));
        const parent = big();
        change(divided(state, cut(), parent));
        const parts = cut().splits.get(parent);
        change(renamed(state, cut(), parts[1], 'part'));
        change(takenFor(state, cut(), [0, 1], 'background'));
        change(merged(state, cut(), [0, 1, 2], 1));
        const all = state.edits;
        const words = all.map((edit) => wordsOf(cut(), edit));
        for (let i = 0; i < 3; i++) change(undone(state));
        change(redone(state));
        const counts = [cut().clusters, state.edits.length, state.undone.length];
        print({{ all, words, parts, counts }});
        """,
        {
            "edits.js": "cutOf, renamed, divided, takenFor, merged, undone, redone, wordsOf, "
            "canSplit, clustersWithRole"
        },
        data_of(tree),
    )
    assert isinstance(found, dict)
    edits = [Edit.from_dict(edit) for edit in found["all"]]
    assert [edit.action for edit in edits] == [
        "name",
        "split",
        "name",
        *["role"] * 2,
        *["merge"] * 2,
    ]
    assert edits[0].value == "a ball"
    assert edits[2].at == 4  # a part of a split is a part of it at this cut only
    assert found["counts"] == [4 + len(found["parts"]) - 1, 5, 2]
    assert found["words"][0] == "name “a ball”"
