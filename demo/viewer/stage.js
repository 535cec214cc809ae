// The picture: what is below the pointer, selecting, pins, and the divider.

import { currentCut, objectName } from './edits.js';
import { h, setAttribute, setText, watchSize } from './dom.js';
import { pinColour } from './heat.js';
import { clusterAt, paintFrame } from './paint.js';
import { differs, showsAttention } from './state.js';

const MOST_PIXELS = 1920; // of the canvas, on its longer side
const MOST_PINS = 8;
const NOT_PAINTED = ['time', 'playing', 'undone']; // fields that change nothing in a picture

/** Fill an element with the picture of the current state. */
export function createStage(context, element) {
  const { scene, store } = context;
  const canvas = h('canvas', { class: 'canvas', 'aria-hidden': 'true' });
  const marks = h('div', { class: 'marks' });
  const point = h('i', { class: 'point', hidden: true });
  const divider = createDivider(context);
  const view = h('div', {
    class: 'view', role: 'application', tabindex: 0, 'aria-roledescription': 'picture with objects',
    'aria-label': `${scene.base.name}: arrow keys step frames, Shift and arrow keys move the point, Enter selects or pins`,
  }, canvas, marks, point, divider.element);
  const wait = h('p', { class: 'wait' }, 'Waiting for the first frame …');
  element.replaceChildren(view, wait);
  const ctx = canvas.getContext('2d');
  let shown = -1; // frame in the canvas
  const fit = (width, height) => fitted(scene.base.size, width, height, (wide, high) => {
    view.style.width = `${wide}px`;
    view.style.height = `${high}px`;
    const scale = Math.min(devicePixelRatio || 1, MOST_PIXELS / Math.max(wide, high));
    canvas.width = Math.max(1, Math.round(wide * scale));
    canvas.height = Math.max(1, Math.round(high * scale));
  });
  const paint = () => {
    const index = scene.frameAt(store.state.time);
    scene.look(index);
    const nearest = scene.nearestReady(index);
    if (nearest < 0 || !canvas.width) return;
    wait.hidden = true;
    shown = nearest;
    paintFrame(context, ctx, [canvas.width, canvas.height], shown);
  };
  const update = (state, previous) => {
    if (differs(state, previous, 'pins')) showPins(context, marks);
    divider.show(state);
    showPoint(point, state.hover);
    const index = scene.nearestReady(scene.frameAt(state.time));
    const still = Object.keys(state).every((name) => NOT_PAINTED.includes(name) || state[name] === previous[name]);
    if (!still || index !== shown) paint();
  };
  watchSize(element, (width, height) => {
    fit(width, height);
    paint();
  });
  scene.listen((name) => {
    if (name.startsWith('opened/')) store.touch();
  });
  store.subscribe(update);
  pointerOnStage(context, view, () => shown);
  arrowsOnStage(context, view, () => shown);
  update(store.state, {});
}

function fitted([rows, columns], width, height, use) {
  const scale = Math.min(width / columns, height / rows);
  use(Math.max(1, Math.floor(columns * scale)), Math.max(1, Math.floor(rows * scale)));
}

// ---- pointer and keys --------------------------------------------------------------------------

/** Return the state with a point (0 … 1) of a frame below the pointer. */
function hovering(context, index, y, x) {
  return { hovered: clusterAt(context, index, y, x), hover: { sample: context.scene.sampleOf(index), y, x } };
}

/** Do what a click at a point does: select, or pin where attention is shown. */
export function clickAt(context, { y, x }, index, { add = false, pin = false } = {}) {
  const { store } = context;
  if (pin || showsAttention(store.state)) return pinAt(context, { sample: context.scene.sampleOf(index), y, x });
  const cluster = clusterAt(context, index, y, x);
  if (cluster !== null) selectCluster(context, cluster, add);
}

/** Select a cluster alone, or add it to the selected; one that was selected is let go. */
export function selectCluster({ store, say, ...context }, cluster, add = false) {
  const { selected } = store.state;
  const others = add ? selected.filter((other) => other !== cluster) : [];
  const was = selected.includes(cluster) && (add || selected.length === 1);
  store.set({ selected: was ? others : [...others, cluster] });
  const names = store.state.selected.map((i) => objectName(currentCut({ store, ...context }), i));
  say(names.length ? `Selected: ${names.join(', ')}` : 'Nothing is selected.');
}

/** Pin a point, at most eight; a pin at the same point is taken away. */
export function pinAt({ store, say, tell }, point) {
  const { pins } = store.state;
  const same = pins.findIndex((pin) => pin.sample === point.sample && Math.hypot(pin.y - point.y, pin.x - point.x) < 0.012);
  if (same >= 0) {
    store.set({ pins: pins.filter((_, i) => i !== same) });
    say('The pin was removed.');
  } else if (pins.length < MOST_PINS) {
    store.set({ pins: [...pins, point] });
    say(`Pin ${pins.length + 1} was set.`);
  } else tell(`There are ${MOST_PINS} pins already; remove one first.`);
}

function pointerOnStage(context, view, shown) {
  const { store } = context;
  const placeOf = (event) => {
    const box = view.getBoundingClientRect();
    return { y: clamped((event.clientY - box.top) / box.height), x: clamped((event.clientX - box.left) / box.width) };
  };
  view.addEventListener('pointermove', (event) => {
    if (event.target.closest('.divider') || shown() < 0) return;
    const { y, x } = placeOf(event);
    store.set(hovering(context, shown(), y, x));
  });
  view.addEventListener('pointerleave', () => store.set({ hovered: null, hover: null }));
  view.addEventListener('click', (event) => {
    if (event.target.closest('.divider, .pin') || shown() < 0) return;
    clickAt(context, placeOf(event), shown(), { add: event.shiftKey, pin: event.altKey });
  });
  view.parentElement.addEventListener('click', (event) => {
    if (event.target === view.parentElement) store.set({ selected: [] });
  });
}

const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

function arrowsOnStage(context, view, shown) {
  const { store, scene } = context;
  const [rows, columns] = scene.base.grid;
  view.addEventListener('keydown', (event) => {
    if (event.target !== view || shown() < 0) return;
    const { hover } = store.state;
    const step = event.shiftKey && STEPS[event.key];
    if (step) {
      const y = clamped((hover?.y ?? 0.5) + step[0] / rows);
      const x = clamped((hover?.x ?? 0.5) + step[1] / columns);
      store.set(hovering(context, shown(), y, x));
      const { hovered } = store.state;
      if (hovered !== null) context.say(objectName(currentCut(context), hovered));
    } else if (event.key === 'Enter' && hover) {
      clickAt(context, hover, shown(), { add: event.shiftKey, pin: event.altKey });
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });
  view.addEventListener('blur', () => store.set({ hovered: null, hover: null }));
}

const clamped = (value) => Math.min(Math.max(value, 0), 0.999999);

// ---- marks over the picture --------------------------------------------------------------------

function showPoint(point, hover) {
  point.hidden = !hover;
  if (hover) {
    point.style.left = `${hover.x * 100}%`;
    point.style.top = `${hover.y * 100}%`;
  }
}

function showPins({ store, scene }, marks) {
  const { pins } = store.state;
  marks.replaceChildren(...pins.map(({ sample, y, x }, i) => {
    const seconds = scene.base.times[scene.base.analysed[sample]].toFixed(2);
    return h('button', {
      type: 'button', class: 'pin', style: `left: ${x * 100}%; top: ${y * 100}%; --pin: rgb(${pinColour(scene.base, i).join(' ')})`,
      'aria-label': `Pin ${i + 1}, at ${seconds} s; press to remove`, title: `Pin ${i + 1}, set at ${seconds} s. Click to remove.`,
      onclick: () => store.set({ pins: store.state.pins.filter((_, other) => other !== i) }),
    }, String(i + 1));
  }));
}

function createDivider({ store }) {
  const element = h('div', {
    class: 'divider', role: 'slider', tabindex: 0, 'aria-label': 'Divider: original on its left', 'aria-valuemin': 0,
    'aria-valuemax': 100, hidden: true,
  }, h('span', { class: 'grip' }), h('span', { class: 'side-left' }, 'Original'), h('span', { class: 'side-right' }));
  const move = (part) => store.set({ divider: Math.min(Math.max(part, 0), 1) });
  element.addEventListener('pointerdown', (event) => {
    element.setPointerCapture(event.pointerId);
    event.preventDefault();
    element.focus();
  });
  element.addEventListener('pointermove', (event) => {
    if (!element.hasPointerCapture(event.pointerId)) return;
    const box = element.parentElement.getBoundingClientRect();
    move((event.clientX - box.left) / box.width);
  });
  element.addEventListener('keydown', (event) => {
    const step = { ArrowLeft: -0.02, ArrowRight: 0.02 }[event.key];
    if (!step || event.shiftKey) return;
    move(store.state.divider + step);
    event.preventDefault();
    event.stopPropagation();
  });
  return {
    element,
    show({ divider, view }) {
      setAttribute(element, 'hidden', divider === null || view === 'original' ? '' : null);
      if (divider === null) return;
      element.style.left = `${divider * 100}%`;
      setAttribute(element, 'aria-valuenow', Math.round(divider * 100));
      setText(element.lastChild, view[0].toUpperCase() + view.slice(1));
    },
  };
}
