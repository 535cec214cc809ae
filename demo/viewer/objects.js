// The list of objects, linked with the picture, with what can be done to each.

import { counted, h, iconButton, setAttribute, setText } from './dom.js';
import { canSplit, clustersWithRole, currentCut, divided, merged, objectName, redone, renamed, takenFor, undone, wordsOf } from './edits.js';
import { cssOf, paintCutOut } from './paint.js';
import { selectCluster } from './stage.js';
import { differs } from './state.js';

const THUMB = [60, 44]; // pixels
const SHARE = 0.005; // of an object's largest count: a frame with fewer of its patches lacks it

/** Fill an element with the list of objects and background. */
export function createObjects(context, element) {
  const { store, scene } = context;
  const history = createHistory(context);
  const list = h('ul', { class: 'list', 'aria-label': 'Objects' });
  const scenery = h('ul', { class: 'list', 'aria-label': 'Background' });
  const count = h('h3', {});
  const summary = h('summary', {});
  const details = h('details', { class: 'scenery', ontoggle: () => update(store.state, {}) }, summary, scenery);
  const chosen = createChosen(context);
  element.replaceChildren(h('div', { class: 'panel-head' }, count, history.element), h('div', { class: 'scroll' }, list, details, aboutResult(scene.base)), chosen.element);
  const rows = new Map(); // by cluster
  const thumbs = createThumbs(context, rows);
  const update = (state, previous) => {
    if (!differs(state, previous, 'n', 'edits', 'undone', 'hovered', 'selected', 'hidden', 'background')) return;
    const cut = currentCut(context);
    const objects = clustersWithRole(cut, 'object');
    const others = clustersWithRole(cut, 'background');
    setText(count, counted(objects.length, 'object'));
    setText(summary, `Background: ${counted(others.length, 'cluster')}`);
    const shown = details.open ? [...objects, ...others] : objects;
    for (const cluster of shown) if (!rows.has(cluster)) rows.set(cluster, createRow(context, cluster));
    const focus = element.getRootNode().activeElement;
    arrange(list, objects, rows);
    arrange(scenery, details.open ? others : [], rows);
    for (const cluster of shown) showRow(context, rows.get(cluster), cut, cluster, state);
    roveIn([...list.children, ...scenery.children]);
    history.show(state, cut);
    chosen.show(state, cut);
    keepFocus(element, focus);
    if (differs(state, previous, 'n', 'edits')) thumbs.renew(shown);
    else thumbs.complete(shown);
  };
  store.subscribe(update);
  store.subscribe((state, previous) => { if (state.n !== previous.n) store.set(withoutParts(state, previous.n)); });
  scene.listen((name) => { if (name.startsWith('opened/')) thumbs.complete([...rows.keys()]); });
  for (const part of [list, scenery]) part.addEventListener('keydown', (event) => moveInList(event, [list, scenery]));
  update(store.state, {});
}

/** Parts of a split have numbers that another cut uses differently: none stays hidden or selected. */
function withoutParts({ hidden, selected }, n) {
  const kept = (clusters) => (clusters.every((i) => i < n) ? clusters : clusters.filter((i) => i < n));
  return { hidden: kept(hidden), selected: kept(selected) };
}

function arrange(list, clusters, rows) {
  const wanted = clusters.map((cluster) => rows.get(cluster).element);
  if (wanted.length === list.children.length && wanted.every((row, i) => row === list.children[i])) return;
  list.replaceChildren(...wanted);
}

/** Give the focus back where a change has taken it: to the same control, or else to the list. */
function keepFocus(element, focus) {
  if (!focus || focus === element.getRootNode().activeElement) return;
  const there = focus.isConnected && focus.checkVisibility();
  if (there && !element.contains(focus)) return;
  (there ? focus : element.querySelector('[tabindex="0"], summary')).focus({ preventScroll: true });
}

function aboutResult({ backbone, grid, source, tau, notes, seconds }) {
  const all = Object.values(seconds).reduce((a, b) => a + b, 0);
  const stages = Object.entries(seconds).map(([stage, value]) => `${stage} ${value.toFixed(1)} s`).join(', ');
  const lines = [
    `Backbone ${backbone}, ${grid[0]}×${grid[1]} patches a frame, ${source} attention, τ ${tau}.`,
    ...notes,
    `Computed in ${all.toFixed(1)} s: ${stages}.`,
  ];
  return h('details', { class: 'scenery' }, h('summary', {}, 'About this result'), h('div', { class: 'about dim' }, ...lines.map((line) => h('p', {}, line))));
}

// ---- rows --------------------------------------------------------------------------------------

function createRow(context, cluster) {
  const { store } = context;
  const scale = Math.min(2, Math.ceil(devicePixelRatio || 1));
  const thumb = h('canvas', { width: THUMB[0] * scale, height: THUMB[1] * scale, 'aria-hidden': 'true' });
  const choose = h('button', { type: 'button', class: 'thumb', onclick: (event) => selectCluster(context, cluster, event.shiftKey || event.ctrlKey || event.metaKey) }, thumb);
  const name = h('input', {
    class: 'name', maxlength: 60, spellcheck: 'false', 'aria-label': 'Name',
    onchange: () => store.set(renamed(store.state, currentCut(context), cluster, name.value)),
    onkeydown: (event) => {
      if (event.key === 'Enter') name.blur();
      if (event.key !== 'Escape') return;
      name.value = objectName(currentCut(context), cluster);
      name.blur();
      event.stopPropagation();
    },
  });
  const facts = h('small', {});
  const hide = iconButton('eye', 'Hide', () => toggleHidden(context, [cluster]), { key: 'H' });
  const role = iconButton('scenery', 'Make background', () => toggleRole(context, [cluster]), { key: 'X' });
  const split = iconButton('split', 'Split', () => splitCluster(context, cluster), { key: 'S' });
  const element = h('li', {
    'data-cluster': cluster,
    onpointerenter: () => store.set({ hovered: cluster }),
    onpointerleave: () => store.set({ hovered: null }),
    onclick: (event) => {
      if (!event.target.closest('button, input')) selectCluster(context, cluster, event.shiftKey || event.ctrlKey || event.metaKey);
    },
  }, h('i', { class: 'swatch' }), choose, h('div', { class: 'words' }, name, facts), h('div', { class: 'tools' }, hide, role, split));
  return { element, choose, thumb, name, facts, hide, role, split, painted: false };
}

function showRow(context, row, cut, cluster, { selected, hovered, hidden }) {
  const { base } = context.scene;
  const name = objectName(cut, cluster);
  const unseen = hidden.includes(cluster);
  const background = Boolean(cut.background[cluster]);
  const chosen = selected.includes(cluster);
  row.element.classList.toggle('selected', chosen);
  row.element.classList.toggle('hovered', hovered === cluster);
  row.element.classList.toggle('unseen', unseen);
  row.element.style.setProperty('--own', cssOf(context, cut, cluster));
  if (row.element.getRootNode().activeElement !== row.name) row.name.value = name;
  setAttribute(row.name, 'aria-label', `Name of ${name}`);
  setAttribute(row.choose, 'aria-label', `Select ${name}`);
  setAttribute(row.choose, 'aria-pressed', String(chosen));
  setText(row.facts, factsOf(base, cut, cluster));
  relabel(row.hide, unseen ? 'hidden' : 'eye', `${unseen ? 'Show' : 'Hide'} ${name}`, 'H');
  relabel(row.role, background ? 'object' : 'scenery', background ? `Make ${name} an object` : `Make ${name} background`, 'X');
  relabel(row.split, 'split', `Split ${name}`, 'S');
  row.split.disabled = !canSplit(base, cut, cluster);
}

function relabel(button, picture, words, key) {
  if (button.getAttribute('aria-label') === words) return;
  const [made] = iconButton(picture, words, null).children;
  button.replaceChildren(made);
  button.setAttribute('aria-label', words);
  button.title = `${words} (${key})`;
}

/** Return share of all patches and the seconds in which a cluster is present, as words. */
function factsOf(base, cut, cluster) {
  const samples = base.analysed.length;
  const counts = cut.counts.subarray(cluster * samples, (cluster + 1) * samples);
  const most = counts.reduce((a, b) => Math.max(a, b), 0);
  const all = cut.sizes.reduce((a, b) => a + b, 0);
  const present = counts.reduce((sum, count) => sum + (count > most * SHARE), 0) / samples;
  const share = (100 * cut.sizes[cluster]) / all;
  const seconds = present * Math.max(0, base.end - base.times[0]);
  return `${share.toFixed(share < 1 ? 2 : 1)} % · ${seconds.toFixed(1)} s`;
}

/** Only the controls of one row are stops of the Tab key: the row used last, or the first. */
function roveIn(rows) {
  const current = rows.find((row) => row.dataset.current !== undefined) ?? rows[0];
  for (const row of rows) {
    const index = row === current ? 0 : -1;
    for (const part of row.querySelectorAll('button, input')) if (part.tabIndex !== index) part.tabIndex = index;
  }
}

function moveInList(event, lists) {
  const step = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity }[event.key];
  if (!step || event.shiftKey || (event.target.matches('input') && Number.isFinite(step) === false)) return;
  const rows = lists.flatMap((list) => [...list.children]);
  const at = rows.findIndex((row) => row.contains(event.target));
  const next = rows[Math.min(Math.max(at + step, 0), rows.length - 1)];
  if (at < 0 || !next) return;
  const controls = (row) => [...row.querySelectorAll('button, input')];
  const place = controls(rows[at]).indexOf(event.target);
  for (const row of rows) delete row.dataset.current;
  next.dataset.current = '';
  roveIn(rows);
  controls(next)[place].focus();
  event.preventDefault();
  event.stopPropagation();
}

// ---- thumbnails --------------------------------------------------------------------------------

/** Paint cut-outs, a few at a time when nothing else is to do. */
function createThumbs(context, rows) {
  const { scene } = context;
  let waiting = [];
  let timer = 0;
  const work = () => {
    timer = 0;
    const start = performance.now();
    while (waiting.length && performance.now() - start < 6) paintThumb(context, rows, waiting.shift());
    if (waiting.length) timer = setTimeout(work, 16);
  };
  const start = (clusters, wait) => {
    waiting = clusters;
    clearTimeout(timer);
    timer = setTimeout(work, wait);
  };
  return {
    renew(clusters) {
      for (const cluster of clusters) rows.get(cluster).painted = false;
      start(clusters, 60);
    },
    complete(clusters) {
      const open = clusters.filter((cluster) => !rows.get(cluster).painted && scene.ready.has(bestFrame(context, cluster)));
      if (open.length && !waiting.length) start(open, 30);
    },
  };
}

/** Return the frame of the clip in which a cluster is largest. */
function bestFrame(context, cluster) {
  const { analysed } = context.scene.base;
  const { counts } = currentCut(context);
  let best = 0;
  for (let t = 1; t < analysed.length; t++) {
    if (counts[cluster * analysed.length + t] > counts[cluster * analysed.length + best]) best = t;
  }
  return analysed[best];
}

function paintThumb(context, rows, cluster) {
  const row = rows.get(cluster);
  if (cluster >= currentCut(context).clusters || !row.element.isConnected) return;
  const frame = context.scene.frame(bestFrame(context, cluster));
  if (frame) row.painted = paintCutOut(context, row.thumb, frame, cluster) || true;
}

// ---- what is selected, and undo ----------------------------------------------------------------

function createHistory({ store, say }) {
  const change = (take, word) => () => {
    store.set(take(store.state));
    say(word);
  };
  const words = h('span', { class: 'history dim' });
  const undo = iconButton('undo', 'Undo', change(undone, 'Undone.'));
  const redo = iconButton('redo', 'Redo', change(redone, 'Done again.'));
  return {
    element: h('div', { class: 'group' }, words, undo, redo),
    show(state, cut) {
      for (const [button, edits, verb, key] of [[undo, state.edits, 'Undo', 'Z'], [redo, state.undone, 'Redo', 'Shift+Z']]) {
        const label = edits.length ? `${verb} ${wordsOf(cut, edits.at(-1))}` : `${verb}: nothing to ${verb.toLowerCase()}`;
        button.disabled = !edits.length;
        setAttribute(button, 'aria-label', label);
        button.title = `${label} (${key})`;
      }
      setText(words, state.edits.length ? wordsOf(cut, state.edits.at(-1)) : '');
    },
  };
}

function createChosen(context) {
  const { store } = context;
  const words = h('strong', {});
  const button = (label, run) => h('button', { type: 'button', class: 'small', onclick: run }, label);
  const merge = button('Merge', () => mergeSelected(context));
  const role = button('Make background', () => toggleRole(context, store.state.selected));
  const split = button('Split', () => splitCluster(context, store.state.selected[0]));
  const hide = button('Hide', () => toggleHidden(context, store.state.selected));
  const clear = button('Clear', () => store.set({ selected: [] }));
  const group = h('div', { class: 'group', role: 'group', 'aria-label': 'Selected objects' }, words, merge, split, role, hide, clear);
  const hint = h('p', { class: 'dim' }, 'Click to select, Shift and click to add. Press ', h('kbd', {}, '?'), 'for all keys.');
  const element = h('div', { class: 'chosen' }, hint, group);
  return {
    element,
    show({ selected, hidden }, cut) {
      const here = selected.filter((i) => cut.sizes[i] > 0);
      hint.hidden = here.length > 0;
      group.hidden = !here.length;
      if (!here.length) return;
      setText(words, here.length === 1 ? objectName(cut, here[0]) : `${here.length} selected`);
      merge.hidden = here.length < 2;
      split.hidden = here.length > 1;
      setText(merge, `Merge into ${objectName(cut, here[0])}`);
      setText(role, roleWords(cut, here));
      setText(hide, here.every((i) => hidden.includes(i)) ? 'Show' : 'Hide');
    },
  };
}

function roleWords(cut, clusters) {
  if (!clusters.every((i) => cut.background[i])) return 'Make background';
  return clusters.length === 1 ? 'Make object' : 'Make objects';
}

// ---- changes -----------------------------------------------------------------------------------

/** Hide clusters, or show them if all of them are hidden. */
export function toggleHidden({ store, say }, clusters) {
  const { hidden } = store.state;
  const all = clusters.every((cluster) => hidden.includes(cluster));
  const others = hidden.filter((cluster) => !clusters.includes(cluster));
  store.set({ hidden: all ? others : [...others, ...clusters] });
  say(all ? 'Shown.' : 'Hidden.');
}

/** Make clusters background, or objects if all of them are background. */
export function toggleRole(context, clusters) {
  const cut = currentCut(context);
  const role = clusters.every((cluster) => cut.background[cluster]) ? 'object' : 'background';
  const changed = clusters.filter((cluster) => Boolean(cut.background[cluster]) !== (role === 'background'));
  context.say(`${changed.map((i) => objectName(cut, i)).join(', ')}: now ${role}.`);
  const { state } = context.store;
  const selected = role === 'background' ? state.selected.filter((i) => !changed.includes(i)) : state.selected;
  context.store.set({ ...takenFor(state, cut, changed, role), selected });
}

/** Split a cluster and select its parts. */
export function splitCluster(context, cluster) {
  const { store, scene, say, tell } = context;
  const cut = currentCut(context);
  if (!canSplit(scene.base, cut, cluster)) return tell(`${objectName(cut, cluster)} has only one part and cannot be split.`);
  store.set(divided(store.state, cut, cluster));
  const parts = currentCut(context).splits.get(cluster) ?? [cluster];
  const made = [cluster, ...parts.filter((part) => part >= cut.clusters)];
  store.set({ selected: made });
  return say(`Split into ${made.length} parts.`);
}

/** Merge the selected clusters into the one selected first. */
export function mergeSelected(context) {
  const { store, say, tell } = context;
  const cut = currentCut(context);
  const chosen = store.state.selected.filter((i) => cut.sizes[i] > 0);
  if (chosen.length < 2) return tell('Select two or more objects to merge: Shift and click.');
  say(`Merged into ${objectName(cut, chosen[0])}.`);
  return store.set(merged(store.state, cut, chosen, chosen[0]));
}
