// Cutting and joining single branches of the tree.
import { currentCut, cutOf, divided, merged } from './edits.js';
import { leavesOf, treeOf } from './tree.js';

const MOST_SPLITS = 40; // that cutting one branch off may take

/** Return the clusters of a branch, whether it can be cut or joined, and whether it is a cluster. */
export function branchOf(tree, cut, node) {
  const leaves = leavesOf(tree, node);
  const clusters = [...new Set(leaves.map((leaf) => cut.leafCluster[leaf]))];
  const own = cut.leafCluster.filter((cluster) => cluster === clusters[0]).length;
  const whole = clusters.length === 1 && own === leaves.length; // the branch is a cluster
  return { clusters, cut: clusters.length === 1 && (!whole || leaves.length > 1), join: clusters.length > 1, whole };
}

/** Return the patch of the state that cuts a branch off, or divides it if it is a cluster. */
export function cutBranch(context, node) {
  const { scene, store } = context;
  const tree = treeOf(scene.base);
  const leaves = leavesOf(tree, node);
  let { state } = store;
  let cut = currentCut(context);
  const size = () => cut.leafCluster.filter((cluster) => cluster === cut.leafCluster[leaves[0]]).length;
  const divides = size() === leaves.length;
  for (let i = 0; i < MOST_SPLITS && (size() > leaves.length || (divides && i === 0)); i++) {
    const patch = divided(state, cut, cut.leafCluster[leaves[0]]);
    const next = cutOf(scene.base, state.n, patch.edits);
    if (next.clusters === cut.clusters) break;
    state = { ...state, ...patch };
    cut = next;
  }
  return { edits: state.edits, undone: state.undone, selected: [cut.leafCluster[leaves[0]]] };
}

/** Return the patch of the state that merges all clusters of a branch into the largest. */
export function joinBranch(context, node) {
  const cut = currentCut(context);
  const leaves = leavesOf(treeOf(context.scene.base), node);
  const clusters = [...new Set(leaves.map((leaf) => cut.leafCluster[leaf]))].sort((a, b) => cut.sizes[b] - cut.sizes[a]);
  return clusters.length < 2 ? {} : merged(context.store.state, cut, clusters, clusters[0]);
}
