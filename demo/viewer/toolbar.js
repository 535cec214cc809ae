// The bar above the picture: what is shown and how.

import { h, iconButton, segmented, setAttribute, setText } from './dom.js';
import { showHelp } from './keys.js';
import { differs } from './state.js';

export const VIEWS = { original: 'Original', objects: 'Objects', attention: 'Attention', both: 'Both' };
const STYLES = { both: 'Fill and outline', fills: 'Fill', outlines: 'Outline' };

/** Fill an element with the controls of the view. */
export function createToolbar(context, element) {
  const { store, host } = context;
  const view = segmented('view', 'View', VIEWS, (value) => store.set({ view: value }));
  const toggles = {
    divider: toggle('divider', 'Divide the picture: original beside the view', 'D', () => toggleDivider(context)),
    tags: toggle('tag', 'Name tags', '', () => store.set({ tags: !store.state.tags })),
    background: toggle('scenery', 'Colour the background too', '', () => store.set({ background: !store.state.background })),
  };
  const style = h('select', { class: 'field', 'aria-label': 'Style of objects', onchange: () => store.set({ style: style.value }) },
    ...Object.entries(STYLES).map(([value, label]) => h('option', { value }, label)));
  const opacity = h('input', { type: 'range', min: 0, max: 1, step: 0.05, 'aria-label': 'Opacity of fills', oninput: () => store.set({ opacity: Number(opacity.value) }) });
  const help = iconButton('help', 'Keys', () => showHelp(context), { key: '?' });
  help.classList.add('for-keys');
  const save = h('button', { type: 'button', class: 'small export', onclick: () => host.ask('export', { selected: store.state.selected }) }, 'Export all');
  const share = host.ask ? [shareButton(context, 'link', 'Link', 'Copy a link to this clip, time, pins and source', 'The link was copied.'),
    shareButton(context, 'html', 'HTML', 'Save as one HTML file that works offline', 'The file was saved.')] : [];
  element.replaceChildren(
    view.element, h('span', { class: 'group' }, ...Object.values(toggles)),
    h('span', { class: 'group appearance' }, style, h('label', { class: 'opacity', title: 'Opacity of fills' }, opacity)),
    h('span', { class: 'spacer' }), h('span', { class: 'group' }, ...share, h('span', { class: 'record group' })), host.ask ? save : '', help);
  const update = (state, previous) => {
    if (differs(state, previous, 'view')) view.show(state.view);
    setAttribute(toggles.divider, 'aria-pressed', String(state.divider !== null));
    setAttribute(toggles.tags, 'aria-pressed', String(state.tags));
    setAttribute(toggles.background, 'aria-pressed', String(state.background));
    if (style.value !== state.style) style.value = state.style;
    if (Number(opacity.value) !== state.opacity) opacity.value = state.opacity;
    setText(save, state.selected.length ? `Export ${state.selected.length} selected` : 'Export all');
  };
  store.subscribe(update);
  update(store.state, {});
}

function toggle(picture, words, key, run) {
  return iconButton(picture, words, run, { key, 'aria-pressed': 'false' });
}

/** Make a button that asks the host for something and says what came of it. */
function shareButton({ host, tell }, action, label, title, done) {
  const run = async () => {
    button.disabled = true;
    try {
      await host.ask(action, {});
      tell(done);
    } catch (error) {
      tell(error.message);
    }
    button.disabled = false;
  };
  const button = h('button', { type: 'button', class: 'small', title, onclick: run }, label);
  return button;
}

/** Show the divider in the middle, or take it away. */
export function toggleDivider({ store, say }) {
  const on = store.state.divider === null;
  store.set({ divider: on ? 0.5 : null, ...(on && store.state.view === 'original' ? { view: 'objects' } : {}) });
  say(on ? 'The original is left of the divider.' : 'The divider is gone.');
}
