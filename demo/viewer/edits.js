// A cut of the tree with a person's edits, as in bavos_core: roles, names, merges and splits.
//
// L leaves, C clusters, T analysed frames. An edit is what `bavos_core.Edit.to_dict` returns.

import { cutInto, firstParts, treeOf } from './tree.js';

const LONGEST_NAME = 60;

/** Tell whether an edit holds at the cut into so many clusters. */
export function holdsAt(edit, clusters) {
  if (edit.at !== null && edit.at !== undefined) return edit.at === clusters;
  return Math.max(...clustersOf(edit)) < clusters;
}

function clustersOf(edit) {
  return edit.action === 'merge' ? [edit.cluster, edit.value] : [edit.cluster];
}

/**
 * Return the cut into n clusters with the edits that hold there.
 * @returns {{clusters: number, cut: number, leafCluster: Int32Array, background: number[],
 *   names: Map<number, string>, splits: Map<number, number[]>, counts: Int32Array, sizes: Float64Array}}
 *   counts (C·T): patches of every cluster in every analysed frame; sizes (C): in all.
 */
export function cutOf(base, n, edits) {
  const tree = treeOf(base);
  const first = (n * (n - 1)) / 2;
  const cut = {
    clusters: n,
    cut: n,
    leafCluster: cutInto(tree, n),
    background: Array.from(base.background.subarray(first, first + n)),
    names: new Map(),
    splits: new Map(),
  };
  for (const edit of edits) if (concerns(edit, cut)) APPLY[edit.action](cut, edit, tree);
  return measured(cut, tree);
}

function concerns(edit, cut) {
  return holdsAt(edit, cut.cut) && Math.max(...clustersOf(edit)) < cut.clusters;
}

const APPLY = {
  name: (cut, { cluster, value }) => cut.names.set(cluster, value),
  role: (cut, { cluster, value }) => { cut.background[cluster] = Number(value === 'background'); },
  merge: (cut, { cluster, value: into }) => {
    cut.leafCluster = cut.leafCluster.map((own) => (own === cluster ? into : own));
    cut.background[into] &= cut.background[cluster];
  },
  split: (cut, { cluster }, tree) => {
    const parts = partsOf(cut, cluster, tree);
    const count = Math.max(...parts) + 1;
    if (count < 2) return;
    const numbers = [cluster, ...Array.from({ length: count - 1 }, (_, i) => cut.clusters + i)];
    cut.leafCluster = cut.leafCluster.map((own, leaf) => (parts[leaf] < 0 ? own : numbers[parts[leaf]]));
    for (let i = 1; i < count; i++) cut.background.push(cut.background[cluster]);
    cut.splits.set(cluster, [...(cut.splits.get(cluster) ?? [cluster]), ...numbers.slice(1)]);
    cut.clusters += count - 1;
  },
};

function partsOf(cut, cluster, tree) {
  const leaves = [];
  cut.leafCluster.forEach((own, leaf) => { if (own === cluster) leaves.push(leaf); });
  return firstParts(tree, leaves);
}

function measured(cut, tree) {
  cut.counts = new Int32Array(cut.clusters * tree.frames);
  cut.sizes = new Float64Array(cut.clusters);
  for (let leaf = 0; leaf < tree.leaves; leaf++) {
    const cluster = cut.leafCluster[leaf];
    for (let t = 0; t < tree.frames; t++) {
      cut.counts[cluster * tree.frames + t] += tree.counts[leaf * tree.frames + t];
    }
    cut.sizes[cluster] += tree.sizes[leaf];
  }
  return cut;
}

const CUTS = new WeakMap(); // by scene: the latest

/** Return the cut of the current state; the same object until it changes. */
export function currentCut({ scene, store }) {
  const { n, edits } = store.state;
  const known = CUTS.get(scene);
  if (known && known.n === n && known.edits === edits) return known.cut;
  const cut = cutOf(scene.base, n, edits);
  CUTS.set(scene, { n, edits, cut });
  return cut;
}

/** Return the role of a cluster. */
export function roleOf(cut, cluster) {
  return cut.background[cluster] ? 'background' : 'object';
}

/** Return the name of a cluster. */
export function objectName(cut, cluster) {
  const role = roleOf(cut, cluster);
  return cut.names.get(cluster) || `${role[0].toUpperCase()}${role.slice(1)} ${cluster + 1}`;
}

/** Return the clusters that hold patches and have a role, the largest first. */
export function clustersWithRole(cut, role) {
  const found = [];
  for (let i = 0; i < cut.clusters; i++) if (cut.sizes[i] > 0 && roleOf(cut, i) === role) found.push(i);
  return found.sort((a, b) => cut.sizes[b] - cut.sizes[a] || a - b);
}

/** Tell whether a cluster can be split. */
export function canSplit(base, cut, cluster) {
  let leaves = 0;
  for (const own of cut.leafCluster) leaves += own === cluster;
  return leaves > 1 && base.merges.length > 0;
}

// ---- changes: each returns a patch of the state ------------------------------------------------

/** Rename a cluster; an empty name restores the usual one. */
export function renamed(state, cut, cluster, name) {
  const value = Array.from(name.split(/\s+/).filter(Boolean).join(' ')).slice(0, LONGEST_NAME).join('');
  return edited(state, { action: 'name', cluster, value, at: limitOf(cut, cluster) });
}

/** Make clusters objects or background. */
export function takenFor(state, cut, clusters, role) {
  return edited(state, ...clusters.map((cluster) => (
    { action: 'role', cluster, value: role, at: limitOf(cut, cluster) })));
}

/** Merge clusters into one, which keeps its number. */
export function merged(state, cut, clusters, into) {
  const others = clusters.filter((cluster) => cluster !== into);
  return {
    ...edited(state, ...others.map((cluster) => (
      { action: 'merge', cluster, value: into, at: limitOf(cut, cluster, into) }))),
    selected: [into],
  };
}

/** Split a cluster, at the current number of clusters only. */
export function divided(state, cut, cluster) {
  return edited(state, { action: 'split', cluster, value: null, at: cut.cut });
}

/** Take the last edit back. */
export function undone(state) {
  if (!state.edits.length) return {};
  return { edits: state.edits.slice(0, -1), undone: [...state.undone, state.edits.at(-1)] };
}

/** Make the last undone edit again. */
export function redone(state) {
  if (!state.undone.length) return {};
  return { edits: [...state.edits, state.undone.at(-1)], undone: state.undone.slice(0, -1) };
}

/** Say in words what an edit does. */
export function wordsOf(cut, { action, cluster, value, at }) {
  const name = (i) => (i < cut.clusters ? objectName(cut, i) : `cluster ${i + 1}`);
  const before = () => cut.names.get(cluster) || `${value === 'object' ? 'Background' : 'Object'} ${cluster + 1}`;
  const words = {
    name: () => (value ? `name “${value}”` : `usual name of ${name(cluster)}`),
    role: () => `${before()} made ${value === 'object' ? 'an object' : 'background'}`,
    merge: () => `merge of ${name(cluster)} into ${name(value)}`,
    split: () => `split of ${name(cluster)}`,
  }[action]();
  return at === null || at === cut.cut ? words : `${words} (at ${at} clusters)`;
}

function edited(state, ...edits) {
  return { edits: [...state.edits, ...edits], undone: [] };
}

/** Return the cut that an edit is limited to if a cluster is a part of a split, or null. */
function limitOf(cut, ...clusters) {
  return clusters.some((i) => i >= cut.cut || cut.splits.has(i)) ? cut.cut : null;
}
