// Keys: they act when the focus is in the viewer and not in a field that takes text.

import { h, iconButton } from './dom.js';
import { currentCut, redone, undone, wordsOf } from './edits.js';
import { mergeSelected, splitCluster, toggleHidden, toggleRole } from './objects.js';
import { pinAt } from './stage.js';
import { stepFrames, togglePlay } from './timeline.js';
import { toggleDivider } from './toolbar.js';

const TABLE = [
  ['Space', 'play or pause'],
  ['← →', 'previous or next frame'],
  ['1 2 3 4', 'original, objects, attention, both'],
  ['D', 'divider: original beside the view'],
  ['Shift + ← → ↑ ↓', 'move the point in the picture'],
  ['Enter', 'select what is at the point, or pin it'],
  ['Click or Shift + Click', 'select; add to the selected'],
  ['P or Alt + Click', 'pin the point'],
  ['X', 'make the selected background, or objects'],
  ['S', 'split the selected'],
  ['M', 'merge the selected into the first'],
  ['H', 'hide or show the selected'],
  ['Z or Shift + Z', 'undo; redo'],
  ['← → ↑ ↓ Enter', 'in the hierarchy: choose a branch; cut or join it'],
  ['Esc', 'select nothing; then remove the pins'],
  ['?', 'these keys'],
];
const VIEW_KEYS = { 1: 'original', 2: 'objects', 3: 'attention', 4: 'both' };
const ON_BUTTONS = [' ', 'Enter'];
const ARROWS = ['ArrowLeft', 'ArrowRight', 'ArrowUp', 'ArrowDown'];

/** Listen to keys in an element; return how to stop. */
export function createKeys(context, element) {
  const pressed = (event) => {
    if (event.defaultPrevented || isTaken(event)) return;
    const run = commandOf(context, event);
    if (!run) return;
    run();
    event.preventDefault();
  };
  element.addEventListener('keydown', pressed);
  return () => element.removeEventListener('keydown', pressed);
}

/** Tell whether the element with the focus has a use of its own for a key. */
function isTaken({ key, target, altKey }) {
  if (altKey || target.closest('dialog')) return true;
  if (target.matches('select, textarea, input:not([type="radio"], [type="range"], [type="checkbox"])')) return true;
  if (target.matches('input, [role="tab"]') && ARROWS.includes(key)) return true;
  return target.matches('button, summary, a, input') && ON_BUTTONS.includes(key);
}

function commandOf(context, { key, shiftKey, ctrlKey, metaKey }) {
  const { store } = context;
  const command = ctrlKey || metaKey;
  const letter = key.length === 1 ? key.toLowerCase() : key;
  if (letter === 'z') return () => travel(context, shiftKey);
  if (command && letter === 'y') return () => travel(context, true);
  if (command) return null;
  if (VIEW_KEYS[key]) return () => store.set({ view: VIEW_KEYS[key] });
  const on = (run) => () => { const chosen = targets(context); if (chosen.length) run(chosen); };
  return {
    ' ': () => togglePlay(context),
    ArrowLeft: shiftKey ? null : () => stepFrames(context, -1),
    ArrowRight: shiftKey ? null : () => stepFrames(context, 1),
    d: () => toggleDivider(context),
    x: on((chosen) => toggleRole(context, chosen)),
    s: on((chosen) => splitCluster(context, chosen[0])),
    h: on((chosen) => toggleHidden(context, chosen)),
    m: () => mergeSelected(context),
    p: () => { if (store.state.hover) pinAt(context, store.state.hover); },
    Escape: () => letGo(context),
    '?': () => showHelp(context),
  }[letter] ?? null;
}

/** Return what a key acts on: the selected, or else what is below the pointer. */
function targets(context) {
  const { selected, hovered } = context.store.state;
  const cut = currentCut(context);
  const here = selected.filter((i) => cut.sizes[i] > 0);
  if (here.length) return here;
  if (hovered !== null) return [hovered];
  context.tell('Nothing is selected: click an object first.');
  return [];
}

function travel({ store, scene, say, tell }, forward) {
  const { edits, undone: taken } = store.state;
  const edit = (forward ? taken : edits).at(-1);
  if (!edit) return tell(forward ? 'There is nothing to redo.' : 'There is nothing to undo.');
  say(`${forward ? 'Redone' : 'Undone'}: ${wordsOf(currentCut({ scene, store }), edit)}.`);
  return store.set(forward ? redone(store.state) : undone(store.state));
}

function letGo({ store, say }) {
  const { selected, pins } = store.state;
  if (selected.length) store.set({ selected: [] });
  else if (pins.length) store.set({ pins: [] });
  say(selected.length ? 'Nothing is selected.' : 'No pins.');
}

/** Open the list of keys. */
export function showHelp({ root }) {
  const rows = TABLE.map(([keys, words]) => h('div', {}, h('dt', {}, ...keys.split(' ').map(keyCap)), h('dd', {}, words)));
  const close = iconButton('close', 'Close', () => dialog.close());
  const dialog = h('dialog', { class: 'help', 'aria-labelledby': 'help-title', onclose: () => dialog.remove() },
    h('div', { class: 'panel-head' }, h('h2', { id: 'help-title' }, 'Keys'), close), h('dl', {}, ...rows));
  dialog.addEventListener('click', (event) => { if (event.target === dialog) dialog.close(); });
  root.querySelector('.all').append(dialog);
  dialog.showModal();
}

function keyCap(text) {
  if (text === '+' || text === 'or') return `${text} `;
  return h('kbd', {}, text);
}
