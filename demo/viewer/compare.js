// Further stages beside the first: the same frame, point and time, each with its own source or reading.
import { h, setText } from './dom.js';
import { createStage } from './stage.js';

const PANE_NAMES = {
  framewise: 'Frame-wise (Fig. 1b)', 'cross-frame': 'Cross-frame', untrained: 'Untrained (Fig. 1c)',
  correlator: 'Trained (Fig. 1d)', 'key-similarity': 'Key similarity',
};
const PANE_READINGS = { objects: 'Objects', cosine: 'Similarity', pca: 'PCA of features', cls: 'CLS attention', kmeans: 'k-means (Fig. 2)' };
const PANE_VIEWS = { original: 'Original', objects: 'Objects', both: 'Objects and attention' };
const OWN_FIELDS = ['view', 'source', 'head', 'reading', 'divider']; // what a pane has of its own

/** Return what a pane shows for a choice, which is a source, a reading or "objects". */
export function paneOf(choice) {
  if (choice === 'objects') return { choice, view: 'objects', reading: 'attention' };
  if (choice in PANE_READINGS) return { choice, view: 'attention', reading: choice };
  return { choice, view: 'attention', reading: 'attention', source: choice, head: -1 };
}

/** Return the choices of a pane: [[choice, words], …]. */
export function paneChoices({ sources }) {
  return [...sources.map(({ name }) => [name, PANE_NAMES[name] ?? name]), ...Object.entries(PANE_READINGS)];
}

/**
 * Return the presets that this result can show, {label, title, state}: Fig. 1 of the paper compares
 * sources of attention, Fig. 2 clusters of attention with k-means on features.
 */
export function presetsOf({ sources, source }) {
  const figure = ['framewise', 'untrained', 'correlator'].filter((name) => sources.some((known) => known.name === name));
  const [first, second, third] = figure;
  const presets = [];
  if (second) {
    const compare = { ...paneOf(second), also: third ? paneOf(third) : null };
    const title = `Attention ${figure.map((name) => PANE_NAMES[name].toLowerCase().replace('fig', 'Fig')).join(', ')}`;
    presets.push({ label: 'Fig. 1', title, state: { view: 'attention', reading: 'attention', source: first, head: -1, compare } });
  }
  presets.push(
    { label: 'Fig. 2', title: 'Clusters of attention beside k-means on features', state: { view: 'objects', background: true, compare: paneOf('kmeans') } },
    { label: 'Objects', title: 'Objects beside the attention of the point', state: { view: 'objects', compare: paneOf(source) } },
  );
  return presets;
}

/**
 * Return a store that shows another's state with what a pane has of its own; `field` is 'compare' or
 * 'also'. Own fields are set in `state.compare`, all others in the other store.
 */
export function overlaidStore(store, field) {
  const paneIn = ({ compare }) => (field === 'also' ? compare?.also : compare) ?? null;
  let [from, shown] = [null, null];
  const overlaid = (state) => {
    if (from !== state) [from, shown] = [state, { ...state, divider: null, ...paneIn(state) }];
    return shown;
  };
  const placed = (compare, pane) => (field === 'also' ? { ...compare, also: pane } : { ...pane, also: compare.also });
  return {
    get state() { return overlaid(store.state); },
    set(patch) {
      const [own, others] = [{}, {}];
      for (const [key, value] of Object.entries(patch)) (OWN_FIELDS.includes(key) ? own : others)[key] = value;
      const { compare } = store.state;
      if (Object.keys(own).length && compare) others.compare = placed(compare, { ...paneIn(store.state), ...own });
      store.set(others);
    },
    touch: store.touch,
    flush: store.flush,
    subscribe(run) {
      let told = overlaid(store.state);
      return store.subscribe((state) => {
        if (!paneIn(state)) return; // hidden: what changes meanwhile is told later
        const previous = told;
        told = overlaid(state);
        run(told, previous);
      });
    },
  };
}

/** Create the panes in an element, which is hidden while there is nothing to compare. */
export function createCompare(context, element) {
  const { store } = context;
  const all = element.parentElement; // with the first stage
  const caption = h('p', { class: 'caption', hidden: true });
  const panes = ['compare', 'also'].map((field) => createPane(context, field));
  element.replaceChildren(...panes.map((pane) => pane.element));
  all.append(caption);
  const show = (state) => {
    element.hidden = !state.compare;
    caption.hidden = !state.compare;
    all.classList.toggle('comparing', Boolean(state.compare));
    all.style.setProperty('--panes', state.compare?.also ? 3 : 2);
    panes[0].show(state.compare);
    panes[1].show(state.compare?.also ?? null);
    setText(caption, captionOf(state));
  };
  show(store.state);
  store.subscribe(show);
}

function captionOf({ view, reading, source, head }) {
  if (view !== 'attention') return PANE_VIEWS[view];
  if (reading !== 'attention') return PANE_READINGS[reading];
  return `${PANE_NAMES[source] ?? source}${head < 0 ? '' : `, head ${head}`}`;
}

function createPane(context, field) {
  const { store, scene } = context;
  const own = overlaidStore(store, field);
  const stage = h('div', { class: 'stage' });
  const put = (pane) => {
    const { compare } = store.state;
    store.set({ compare: field === 'also' ? { ...compare, also: pane } : pane && { ...pane, also: compare?.also ?? null } });
  };
  const choice = h('select', { class: 'field', 'aria-label': 'What this pane shows', onchange: () => put(paneOf(choice.value)) },
    ...paneChoices(scene.base).map(([value, words]) => h('option', { value }, words)));
  const head = h('select', { class: 'field', 'aria-label': 'Head in this pane', onchange: () => own.set({ head: Number(head.value) }) });
  const close = h('button', { type: 'button', 'aria-label': 'Close this pane', title: 'Close this pane', onclick: () => (field === 'compare' ? closePanes(store) : put(null)) }, '×');
  const element = h('div', { class: 'pane', hidden: true }, stage, h('div', { class: 'pane-controls' }, choice, head, close));
  let filled = false;
  const show = (pane) => {
    element.hidden = !pane;
    if (!pane) return;
    choice.value = pane.choice;
    showHeads(head, scene.base, pane);
    if (filled) return;
    filled = true;
    createStage({ ...context, store: own }, stage);
  };
  return { element, show };
}

function showHeads(field, { sources }, pane) {
  const heads = pane.source && pane.reading === 'attention' && pane.view !== 'objects' ? sources.find(({ name }) => name === pane.source)?.heads ?? 1 : 1;
  field.hidden = heads < 2;
  if (field.length !== heads + 1) {
    field.replaceChildren(h('option', { value: -1 }, 'Mean'), ...Array.from({ length: heads }, (_, i) => h('option', { value: i }, `Head ${i}`)));
  }
  field.value = pane.head ?? -1;
}

/** Create the presets and the choice that open a second pane, for the panel: {element, show(state)}. */
export function createPresets({ store, scene }) {
  const presets = presetsOf(scene.base).map((preset) => ({
    ...preset,
    button: h('button', { type: 'button', class: 'small', title: preset.title, onclick: () => (isShown(store.state, preset) ? closePanes(store) : store.set(preset.state)) }, preset.label),
  }));
  const choice = h('select', { class: 'field', 'aria-label': 'Compare with', onchange: () => store.set({ compare: choice.value ? paneOf(choice.value) : null }) },
    h('option', { value: '' }, 'with …'), ...paneChoices(scene.base).map(([value, words]) => h('option', { value }, words)));
  return {
    element: h('div', { class: 'presets selects' }, h('h3', {}, 'Compare'), ...presets.map(({ button }) => button), choice),
    show(state) {
      choice.value = state.compare?.choice ?? '';
      for (const preset of presets) preset.button.setAttribute('aria-pressed', String(isShown(state, preset)));
    },
  };
}

/** Close all panes; objects alone are coloured again when clusters were compared with k-means. */
function closePanes(store) {
  const all = store.state.compare?.choice === 'kmeans' ? { background: false } : {};
  store.set({ compare: null, ...all });
}

function isShown({ compare, view }, { state }) {
  return Boolean(compare) && compare.choice === state.compare.choice && compare.also?.choice === state.compare.also?.choice && view === state.view;
}
