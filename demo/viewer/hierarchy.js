// The tree of clusters below the right column: drag the line, cut and join branches, play the levels.
import { branchOf, cutBranch, joinBranch } from './branches.js';
import { cutY, heightAtY, nodeAtPlace } from './dendrogram.js';
import { counted } from './dom.js';
import { currentCut, objectName } from './edits.js';
import { differs } from './state.js';
import { paintTree } from './treepaint.js';
import { childrenOf, clustersAt, heightOfNode, parentsOf, treeOf, weightOf } from './tree.js';

const NEAR_LINE = 7; // pixels
const LEAST_DRAG = 3; // pixels: a shorter drag counts as a click
const LEVELS_SECONDS = 5; // that playing all levels takes

/** Create the tree in an element: {destroy()}. */
export function createHierarchy(context, element) {
  const { scene, store } = context;
  const tree = treeOf(scene.base);
  const view = { tree, layout: null, chosen: null, pointed: null, dragged: null, timer: null, due: 0, ...buildHierarchy(element, scene.base) };
  const paint = () => {
    view.due = 0;
    paintHierarchy(context, view);
  };
  view.repaint = () => { view.due ||= requestAnimationFrame(paint); }; // where the state is the same
  const resized = new ResizeObserver(() => {
    view.layout = null;
    paint();
  });
  resized.observe(view.canvas);
  const themed = new MutationObserver(paint); // light or dark
  themed.observe(context.root.host, { attributes: true, attributeFilter: ['class'] });
  listenToPointer(context, view);
  listenToKeys(context, view);
  listenToControls(context, view);
  const forget = store.subscribe((state, previous) => {
    if (differs(state, previous, 'n', 'edits', 'hovered', 'selected', 'background')) paint();
  });
  paint();
  return {
    destroy() {
      forget();
      resized.disconnect();
      themed.disconnect();
      clearTimeout(view.timer);
    },
  };
}

function buildHierarchy(element, base) {
  element.classList.add('hierarchy');
  element.innerHTML = `
    <div class="tree-controls">
      <button type="button" class="small fewer" aria-label="Fewer clusters">−</button>
      <input type="range" min="1" max="${base.most}" step="1" aria-label="Number of clusters">
      <button type="button" class="small more" aria-label="More clusters">+</button>
      <output class="count"></output>
      <button type="button" class="small levels" title="From the finest parts to the whole scene">▶ Levels</button>
    </div>
    <canvas tabindex="0" role="application" aria-roledescription="cluster tree"></canvas>
    <div class="branch"><span></span><button type="button" class="small cut-here" hidden>Cut here</button>
      <button type="button" class="small join" hidden>Join</button></div>`;
  const find = (selector) => element.querySelector(selector);
  return {
    canvas: find('canvas'), slider: find('input'), count: find('output'), fewer: find('.fewer'), more: find('.more'),
    levels: find('.levels'), words: find('.branch span'), cutHere: find('.cut-here'), join: find('.join'),
  };
}

function paintHierarchy(context, view) {
  const { state } = context.store;
  const cut = currentCut(context);
  const title = counted(state.n, 'cluster');
  view.slider.value = state.n;
  view.slider.setAttribute('aria-valuetext', title);
  view.count.textContent = title;
  view.fewer.disabled = state.n <= 1;
  view.more.disabled = state.n >= context.scene.base.most;
  describeBranch(context, view, cut);
  paintTree(context, view, cut);
}

function describeBranch({ scene }, view, cut) {
  const node = view.pointed ?? view.chosen;
  view.cutHere.hidden = true;
  view.join.hidden = true;
  if (node === null) {
    view.words.textContent = 'Drag the line, or choose a branch.';
    return;
  }
  const branch = branchOf(view.tree, cut, node);
  const merge = node - view.tree.leaves;
  const share = weightOf(view.tree, node) / weightOf(view.tree, 2 * view.tree.leaves - 2);
  const name = branch.join ? `${branch.clusters.length} clusters` : `${branch.whole ? '' : 'Part of '}${objectName(cut, branch.clusters[0])}`;
  const joined = merge < 0 ? 'finest part' : scene.base.instances[merge] ? 'divides into instances' : `joined at τ ${heightOfNode(view.tree, node).toFixed(2)}`;
  view.words.textContent = `${name}: ${(100 * share).toFixed(share < 0.01 ? 2 : 1)} % of all patches, ${joined}`;
  view.canvas.setAttribute('aria-label', view.words.textContent);
  if (view.chosen === null) return;
  const chosen = branchOf(view.tree, cut, view.chosen);
  view.cutHere.hidden = !chosen.cut;
  view.join.hidden = !chosen.join;
}

function choose(context, view, node, adding) {
  const { store } = context;
  view.chosen = node;
  if (node === null) return store.set({ selected: [] });
  const { clusters } = branchOf(view.tree, currentCut(context), node);
  const others = adding ? store.state.selected.filter((cluster) => !clusters.includes(cluster)) : [];
  return store.set({ selected: [...others, ...clusters] });
}

/** Cut or join the chosen branch, whichever is possible. */
function actOn(context, view) {
  if (view.chosen === null) return;
  const branch = branchOf(view.tree, currentCut(context), view.chosen);
  if (branch.cut) context.store.set(cutBranch(context, view.chosen));
  else if (branch.join) context.store.set(joinBranch(context, view.chosen));
}

// ---- pointer, keys, controls -------------------------------------------------------------------

function listenToPointer(context, view) {
  const { store } = context;
  const { canvas, tree } = view;
  let grabbed = null; // y of the pointer where a drag of the line began
  let moved = false;
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const nearLine = (y) => Math.abs(y - cutY(tree, view.layout, store.state.n)) < NEAR_LINE;
  const drag = (y) => {
    const { box } = view.layout;
    view.dragged = Math.min(Math.max(y, box.top), box.floor - 0.5);
    const n = clustersAt(tree, heightAtY(view.layout, view.dragged));
    store.set({ n: Math.min(Math.max(n, 1), context.scene.base.most) });
    view.repaint();
  };
  canvas.addEventListener('pointerdown', (event) => {
    const [, y] = place(event);
    stopLevels(store, view);
    if (!view.layout || event.button !== 0 || !nearLine(y)) return;
    grabbed = y;
    moved = false;
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener('pointermove', (event) => {
    if (!view.layout) return;
    const [x, y] = place(event);
    if (grabbed !== null) {
      moved ||= Math.abs(y - grabbed) >= LEAST_DRAG;
      if (moved) drag(y);
      return;
    }
    canvas.style.cursor = nearLine(y) ? 'ns-resize' : 'pointer';
    point(context, view, nearLine(y) ? null : nodeAtPlace(tree, view.layout, x, y));
  });
  canvas.addEventListener('pointerup', (event) => {
    const [x, y] = place(event);
    const clicked = view.layout && event.button === 0 && !moved;
    grabbed = null;
    moved = false;
    view.dragged = null;
    view.repaint();
    if (clicked) choose(context, view, nodeAtPlace(tree, view.layout, x, y), event.shiftKey);
  });
  canvas.addEventListener('dblclick', () => actOn(context, view));
  canvas.addEventListener('pointerleave', () => {
    if (grabbed === null) point(context, view, null);
  });
  canvas.addEventListener('lostpointercapture', () => {
    grabbed = null;
    view.dragged = null;
  });
}

/** Show a branch as pointed at, and its cluster on the stage. */
function point(context, view, node) {
  if (view.pointed === node) return;
  view.pointed = node;
  const clusters = node === null ? [] : branchOf(view.tree, currentCut(context), node).clusters;
  context.store.set({ hovered: clusters.length === 1 ? clusters[0] : null });
  view.repaint();
}

const TREE_STEPS = { ArrowUp: 'parent', ArrowDown: 'child', ArrowLeft: 'left', ArrowRight: 'right' };

function listenToKeys(context, view) {
  const parents = parentsOf(view.tree);
  view.canvas.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (TREE_STEPS[event.key]) choose(context, view, stepFrom(view, parents, TREE_STEPS[event.key]), false);
    else if (event.key === 'Enter') actOn(context, view);
    else return;
    view.repaint();
    event.preventDefault();
    event.stopPropagation();
  });
}

/** Return the branch beside the chosen one; the root at first. */
function stepFrom({ tree, layout, chosen }, parents, step) {
  if (chosen === null || (step === 'parent' && parents[chosen] < 0)) return chosen ?? parents.length - 1;
  if (step === 'parent') return parents[chosen];
  const siblings = childrenOf(tree, step === 'child' ? Math.max(chosen, tree.leaves) : Math.max(parents[chosen], tree.leaves));
  if (step === 'child') {
    if (chosen < tree.leaves) return chosen;
    return siblings.reduce((a, b) => (weightOf(tree, b) > weightOf(tree, a) ? b : a));
  }
  if (parents[chosen] < 0) return chosen;
  const [left, right] = siblings.sort((a, b) => layout.x[a] - layout.x[b]);
  return step === 'left' ? left : right;
}

function listenToControls(context, view) {
  const { store, scene } = context;
  const step = (by) => {
    stopLevels(store, view);
    store.set({ n: Math.min(Math.max(store.state.n + by, 1), scene.base.most) });
  };
  view.slider.addEventListener('input', () => {
    stopLevels(store, view);
    store.set({ n: Number(view.slider.value) });
  });
  view.fewer.addEventListener('click', () => step(-1));
  view.more.addEventListener('click', () => step(1));
  view.cutHere.addEventListener('click', () => actOn(context, view));
  view.join.addEventListener('click', () => actOn(context, view));
  view.levels.addEventListener('click', () => (view.timer ? stopLevels(store, view) : playLevels(context, view)));
}

/** Show the cuts from the finest to the whole scene, then the one from before. */
function playLevels({ store, scene }, view) {
  view.before = store.state.n;
  const pause = (1000 * LEVELS_SECONDS) / levelsOf(scene.base.most).length;
  const left = levelsOf(scene.base.most);
  view.levels.textContent = '■ Stop';
  const next = () => {
    const n = left.shift();
    if (n === undefined) return stopLevels(store, view);
    store.set({ n });
    view.timer = setTimeout(next, n === 1 ? 1500 : pause);
    return undefined;
  };
  next();
}

/** Return the numbers of clusters that are shown, from most to 1; of many, ever closer ones. */
export function levelsOf(most) {
  const levels = [most];
  while (levels.at(-1) > 1) levels.push(Math.min(levels.at(-1) - 1, Math.floor(levels.at(-1) * 0.94)));
  return levels;
}

/** Show the cut again that was shown before the levels. */
function stopLevels(store, view) {
  if (!view.timer) return;
  clearTimeout(view.timer);
  view.timer = null;
  store.set({ n: view.before });
  view.levels.textContent = '▶ Levels';
}
