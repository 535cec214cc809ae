// The list of pins: where each is, and its numbers, exact ones where a server can give them.
import { percent } from './colourbar.js';
import { clock, h, setText } from './dom.js';
import { pinColour, rowAt } from './heat.js';
import { numbersOf } from './scale.js';

/** Create the list: {element, show(state)}. */
export function createPins(context) {
  const list = h('ul', { class: 'pins' });
  const hint = h('p', { class: 'meaning' }, 'Click the picture to pin a point; its map stays, and its share over time is drawn below the picture.');
  const clear = h('button', { type: 'button', class: 'small', onclick: () => context.store.set({ pins: [] }) }, 'Remove all');
  const element = h('div', { class: 'pin-list' }, h('div', { class: 'row' }, h('h3', {}, 'Pins'), clear), hint, list);
  const opened = new Map(); // by pin: {asked, row, failure} where numbers are shown
  let made = null; // what the list was made of
  const show = (state) => {
    hint.hidden = state.pins.length > 0;
    clear.hidden = state.pins.length < 2;
    const { pins, source, head, block, reading } = state;
    if (made?.pins !== pins) list.replaceChildren(...pins.map((pin, i) => pinRow(context, pin, i, opened, () => show(context.store.state))));
    made = { pins };
    pins.forEach((pin, i) => {
      const box = list.children[i].querySelector('.numbers');
      const found = opened.get(pin);
      box.hidden = !found || reading !== 'attention';
      list.children[i].querySelector('.numbers-button').setAttribute('aria-expanded', String(!box.hidden));
      if (!box.hidden) showNumbers(context, box, pin, asked(context, found, pin, `${source} ${head} ${block}`, () => show(context.store.state)));
    });
  };
  return { element, show };
}

function pinRow({ scene, store }, pin, i, opened, changed) {
  const { base } = scene;
  const [row, column] = [pin.y, pin.x].map((part, axis) => Math.min(Math.floor(part * base.grid[axis]), base.grid[axis] - 1));
  const seconds = base.times[base.analysed[pin.sample]];
  const words = `row ${row}, column ${column}, ${clock(seconds)}`;
  const toggle = () => {
    if (!opened.delete(pin)) opened.set(pin, {});
    changed();
  };
  return h('li', {},
    h('i', { class: 'dot', style: `background: rgb(${pinColour(base, i).join(' ')})` }),
    h('button', { type: 'button', class: 'place', title: 'Go to its frame', onclick: () => store.set({ time: seconds, playing: false }) }, words),
    h('button', { type: 'button', class: 'small numbers-button', 'aria-label': `Numbers of pin ${i + 1}`, onclick: toggle }, 'Numbers'),
    h('button', { type: 'button', class: 'small', 'aria-label': `Remove pin ${i + 1}`, onclick: () => store.set({ pins: store.state.pins.filter((other) => other !== pin) }) }, '×'),
    h('div', { class: 'numbers', hidden: true }));
}

/** Ask the server for an exact row, once for every source and head; of other blocks it has none. */
function asked({ host, store }, found, pin, key, changed) {
  if (!host.exact || found.asked === key) return found;
  const { source, head, block } = store.state;
  Object.assign(found, { asked: key, row: null, failure: null });
  if (block !== null) return found;
  host.exact({ ...pin, source, head: head < 0 ? null : head }).then(
    ({ row }) => found.asked === key && Object.assign(found, { row: Float32Array.from(row) }),
    (error) => found.asked === key && Object.assign(found, { failure: error.message }),
  ).then(changed);
  return found;
}

function showNumbers(context, box, pin, found) {
  const { base } = context.scene;
  const row = found.row ?? rowAt(context, pin)?.row;
  if (!row) return setText(box, 'On its way …');
  const said = `${found.row ? 'exact' : 'near'} ${found.asked} ${found.failure}`;
  if (box.dataset.said === said && box.firstChild) return undefined;
  box.dataset.said = said;
  const { entropy, covers, own, top } = numbersOf(row, base.grid, pin.sample);
  const best = top.map(({ sample, row: y, column, weight }) => h('tr', {},
    h('td', {}, clock(base.times[base.analysed[sample]])), h('td', {}, `row ${y}, column ${column}`),
    h('td', {}, percent(weight)), h('td', {}, `${(weight * row.length).toFixed(1)} ×`)));
  const from = found.row ? 'Exact, from the server.' : found.failure ?? 'From the compact maps of this view; the last digit may differ.';
  box.replaceChildren(
    h('p', {}, `Entropy ${entropy.toFixed(2)} nats: as wide as even attention to ${percent(covers)} of all patches. ${percent(own)} of the attention stays in its own frame (uniform: ${percent(1 / base.analysed.length)}).`),
    h('table', {}, h('thead', {}, h('tr', {}, ...['Time', 'Patch', 'Attention', 'of uniform'].map((text) => h('th', { scope: 'col' }, text)))), h('tbody', {}, ...best)),
    h('p', { class: 'meaning' }, from));
  return undefined;
}
