// The tree of clusters, as in bavos_core/tree.py: L leaves, 2L-1 nodes, leaves first; T frames.

/** Return the tree in a scene's base: {leaves, frames, merges, counts, sizes}. */
export function treeOf(base) {
  if (!TREES.has(base)) TREES.set(base, openTree(base.merges, base.counts, base.analysed.length));
  return TREES.get(base);
}
const TREES = new WeakMap();

/** Open a tree: merges Float64Array (L-1)·4 of child, child, height, patches; counts (L·T). */
export function openTree(merges, counts, frames) {
  const leaves = counts.length / frames;
  const sizes = new Float64Array(leaves);
  for (let i = 0; i < counts.length; i++) sizes[Math.floor(i / frames)] += counts[i];
  return { leaves, frames, merges, counts, sizes, slots: null };
}

/** Return the two children of a node that is no leaf. */
export function childrenOf(tree, node) {
  const at = (node - tree.leaves) * 4;
  return [tree.merges[at], tree.merges[at + 1]];
}

/** Return the parent of every node; -1 for the root. */
export function parentsOf(tree) {
  const parents = new Int32Array(2 * tree.leaves - 1).fill(-1);
  for (let node = tree.leaves; node < parents.length; node++) {
    for (const child of childrenOf(tree, node)) parents[child] = node;
  }
  return parents;
}

/** Return the height of a node's merge; 0 for a leaf. */
export function heightOfNode(tree, node) {
  return node < tree.leaves ? 0 : tree.merges[(node - tree.leaves) * 4 + 2];
}

/** Return the patches of a node. */
export function weightOf(tree, node) {
  return node < tree.leaves ? tree.sizes[node] : tree.merges[(node - tree.leaves) * 4 + 3];
}

/** Return the number of every node: the larger part of a split keeps its number; the root's is 0. */
export function slotsOf(tree) {
  if (tree.slots) return tree.slots;
  const root = 2 * tree.leaves - 2;
  const slots = new Int32Array(root + 1);
  for (let node = root; node >= tree.leaves; node--) {
    const [first, second] = childrenOf(tree, node);
    const swap = weightOf(tree, second) > weightOf(tree, first);
    slots[swap ? second : first] = slots[node];
    slots[swap ? first : second] = root + 1 - node;
  }
  tree.slots = slots;
  return slots;
}

/** Return the cluster of every leaf in the cut into `clusters`: Int32Array(L). */
export function cutInto(tree, clusters) {
  const wanted = Math.min(Math.max(clusters, 1), tree.leaves);
  const label = slotsOf(tree).slice();
  for (let node = Math.min(2 * tree.leaves - wanted, 2 * tree.leaves - 1) - 1; node >= tree.leaves; node--) {
    for (const child of childrenOf(tree, node)) label[child] = label[node];
  }
  return label.subarray(0, tree.leaves);
}

/** Return the number of clusters when all merges up to height τ are done. */
export function clustersAt(tree, tau) {
  let done = 0;
  while (done < tree.leaves - 1 && tree.merges[done * 4 + 2] <= tau) done++;
  return tree.leaves - done;
}

/** Return the largest τ at which there are so many clusters; for 1, that of the root. */
export function heightOf(tree, clusters) {
  const wanted = Math.min(Math.max(clusters, 1), tree.leaves);
  const above = tree.leaves - wanted; // merges that are done
  if (above < tree.leaves - 1) return justBelow(tree.merges[above * 4 + 2]);
  return tree.leaves > 1 ? tree.merges[(tree.leaves - 2) * 4 + 2] : 1;
}

function justBelow(value) {
  if (value <= 0) return 0;
  const bits = new BigInt64Array(new Float64Array([value]).buffer);
  bits[0] -= 1n;
  return new Float64Array(bits.buffer)[0];
}

/** Return the cluster of every node in a cut; -1 for nodes above it. */
export function nodeClusters(tree, leafCluster) {
  const cluster = new Int32Array(2 * tree.leaves - 1).fill(-1);
  cluster.set(leafCluster);
  for (let node = tree.leaves; node < cluster.length; node++) {
    const [first, second] = childrenOf(tree, node);
    if (cluster[first] === cluster[second]) cluster[node] = cluster[first];
  }
  return cluster;
}

/** Return the leaves below a node, rising. */
export function leavesOf(tree, node) {
  const found = [];
  const open = [node];
  while (open.length) {
    const next = open.pop();
    if (next < tree.leaves) found.push(next);
    else open.push(...childrenOf(tree, next));
  }
  return found.sort((a, b) => a - b);
}

/** Return the first division of some leaves: the part of each leaf, -1 for other leaves. */
export function firstParts(tree, leaves) {
  const chosen = new Int32Array(tree.leaves).fill(-1);
  for (const leaf of leaves) chosen[leaf] = 0;
  const cluster = nodeClusters(tree, chosen);
  const parents = parentsOf(tree);
  let tops = [];
  for (let node = 0; node < cluster.length; node++) {
    const above = parents[node];
    if (cluster[node] >= 0 && !(above >= 0 && cluster[above] >= 0)) tops.push(node);
  }
  if (tops.length === 1 && tops[0] >= tree.leaves) tops = childrenOf(tree, tops[0]);
  tops.forEach((node, part) => {
    for (const leaf of leavesOf(tree, node)) chosen[leaf] = part;
  });
  return chosen;
}

/** Return a quantity of leaves (L·k) summed over the leaves of every node, (2L-1)·k. */
export function sumOverNodes(tree, values, k = 1) {
  const summed = new Float64Array((2 * tree.leaves - 1) * k);
  summed.set(values);
  for (let node = tree.leaves; node < 2 * tree.leaves - 1; node++) {
    const [first, second] = childrenOf(tree, node);
    for (let i = 0; i < k; i++) summed[node * k + i] = summed[first * k + i] + summed[second * k + i];
  }
  return summed;
}
