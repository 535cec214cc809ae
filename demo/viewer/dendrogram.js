// The geometry of a standing tree: leaves side by side on the floor, heights as square roots.
//
// L leaves, 2L-1 nodes, leaves first. A box is {left, right, top, floor} in pixels.
import { childrenOf, heightOfNode, weightOf } from './tree.js';

const EVEN = 0.6; // of the width is shared evenly, the rest by the root of the patches

/**
 * Lay out a tree: {x, y, from, to, roof, box}: place, and left and right end of every node, in pixels.
 * Larger leaves are wider. roof: the root of the height at the top of the box.
 */
export function layoutTree(tree, box) {
  const nodes = 2 * tree.leaves - 1;
  const [x, y, from, to] = Array.from({ length: 4 }, () => new Float32Array(nodes));
  const roof = Math.max(Math.sqrt(heightOfNode(tree, nodes - 1)), 1e-6) * 1.08;
  const layout = { x, y, from, to, roof, box };
  const order = leafOrder(tree);
  const widths = leafWidths(tree, order, box.right - box.left);
  let at = box.left;
  order.forEach((leaf, i) => {
    from[leaf] = at;
    at += widths[i];
    to[leaf] = at;
    x[leaf] = (from[leaf] + to[leaf]) / 2;
    y[leaf] = box.floor;
  });
  for (let node = tree.leaves; node < nodes; node++) {
    const [first, second] = childrenOf(tree, node);
    from[node] = Math.min(from[first], from[second]);
    to[node] = Math.max(to[first], to[second]);
    x[node] = (x[first] + x[second]) / 2;
    y[node] = yOfHeight(layout, heightOfNode(tree, node));
  }
  return layout;
}

/** Return the leaves from left to right, so that no branches cross. */
export function leafOrder(tree) {
  const order = [];
  const open = [2 * tree.leaves - 2];
  while (open.length) {
    const node = open.pop();
    if (node < tree.leaves) order.push(node);
    else open.push(...childrenOf(tree, node).reverse());
  }
  return order;
}

function leafWidths(tree, order, width) {
  const roots = order.map((leaf) => Math.sqrt(weightOf(tree, leaf)));
  const sum = roots.reduce((total, root) => total + root, 0) || 1;
  return roots.map((root) => width * (EVEN / order.length + ((1 - EVEN) * root) / sum));
}

/** Return the y of a height τ. */
export function yOfHeight({ box, roof }, tau) {
  return box.floor - (Math.sqrt(Math.max(tau, 0)) / roof) * (box.floor - box.top);
}

/** Return the height τ at a y. */
export function heightAtY({ box, roof }, y) {
  const root = (roof * (box.floor - y)) / (box.floor - box.top);
  return root > 0 ? root * root : 0;
}

/** Return the y of the line that cuts a tree into n clusters: midway between two merges. */
export function cutY(tree, layout, n) {
  const done = tree.leaves - n; // merges below the line
  const below = done > 0 ? layout.y[tree.leaves + done - 1] : layout.box.floor;
  const above = done < tree.leaves - 1 ? layout.y[tree.leaves + done] : layout.box.top;
  return (below + above) / 2;
}

/** Return the node whose branch passes a place, or null outside the tree. */
export function nodeAtPlace(tree, layout, px, py) {
  const { box, y, to } = layout;
  if (px < box.left || px > box.right || py < box.top - 4) return null;
  let node = 2 * tree.leaves - 2;
  while (node >= tree.leaves && y[node] < py) {
    const [first, second] = childrenOf(tree, node);
    const [left, right] = layout.from[first] < layout.from[second] ? [first, second] : [second, first];
    node = px < to[left] ? left : right;
  }
  return node;
}

/** Return the highest nodes with leaves of one cluster each, from cluster of every node; -1: several. */
export function clusterTops(tree, cluster) {
  const tops = [];
  const open = [2 * tree.leaves - 2];
  while (open.length) {
    const node = open.pop();
    if (cluster[node] >= 0) tops.push(node);
    else open.push(...childrenOf(tree, node));
  }
  return tops;
}

/** Return the nodes that are drawn as lines; below narrower ones the branches merge to one shape. */
export function visibleNodes(tree, layout, narrowest) {
  const lines = [];
  const wedges = [];
  const open = [2 * tree.leaves - 2];
  while (open.length) {
    const node = open.pop();
    if (node < tree.leaves) continue;
    const wide = layout.to[node] - layout.from[node] >= narrowest;
    (wide ? lines : wedges).push(node);
    if (wide) open.push(...childrenOf(tree, node));
  }
  return { lines, wedges };
}
