// The panel "Attention": what is read, from which source and head, how it is painted, and the pins.
import { isOfNetwork } from './attention.js';
import { createColourBar } from './colourbar.js';
import { COLOUR_MAPS } from './colourmaps.js';
import { h, segmented, setText } from './dom.js';
import { readingNote } from './heat.js';
import { createHeads } from './heads.js';
import { createPins } from './pins.js';
import { createPresets } from './compare.js';
import { showsAttention } from './state.js';

const READINGS = { attention: 'Attention', cosine: 'Similarity', pca: 'PCA', cls: 'CLS', kmeans: 'k-means' };
const MEANINGS = {
  attention: 'Where the patch under the pointer attends, in all frames.',
  cosine: 'Cosine similarity of the features of the patch under the pointer with all others.',
  pca: 'The first three principal components of the features as red, green and blue, over the whole clip.',
  cls: 'Attention of the network’s [CLS] token: what matters for the whole picture.',
  kmeans: 'k-means on the features, with as many clusters as the hierarchy has (paper, Fig. 2).',
};
export const SOURCE_NAMES = {
  framewise: 'Frame-wise',
  'cross-frame': 'Cross-frame',
  untrained: 'Untrained correlator',
  correlator: 'Trained correlator',
  'key-similarity': 'Key similarity',
};
const SOURCE_MEANINGS = {
  framewise: 'each frame by itself (Fig. 1b)',
  'cross-frame': 'one query, all frames',
  untrained: 'random weights (Fig. 1c)',
  correlator: 'the paper’s method (Fig. 1d)',
  'key-similarity': 'of keys, without training',
};
const VECTORS = { key: 'keys', query: 'queries', value: 'values' };
const SCALES = { row: 'this row', 5: '5 × unif.', 20: '20 × unif.', 100: '100 × unif.' };
const CAVEAT = 'Attention shows what the network compares; it does not explain a decision.';
const DINO_MASS = 0.6;

/** Create the panel in an element: {destroy()}. */
export function createReadings(context, element) {
  const { store } = context;
  const parts = [
    readingControl(context), sourceControl(context), blockControl(context), createHeads(context), createColourBar(context), lookControl(context),
    createPresets(context), createPins(context),
  ];
  element.classList.add('readings');
  element.replaceChildren(...parts.map((part) => part.element), h('p', { class: 'caveat' }, CAVEAT));
  const show = () => {
    if (element.hidden) return;
    for (const part of parts) part.show(store.state);
  };
  const forget = store.subscribe(show);
  const seen = new MutationObserver(show); // the tab was chosen
  seen.observe(element, { attributes: true, attributeFilter: ['hidden'] });
  show();
  return {
    destroy() {
      forget();
      seen.disconnect();
    },
  };
}

function readingControl(context) {
  const { store } = context;
  const control = segmented('reading', 'Reading', READINGS, (reading) => store.set({ reading, ...seenWith(store.state) }));
  const meaning = h('p', { class: 'meaning' });
  const note = h('p', { class: 'note', role: 'status' });
  return {
    element: h('div', { class: 'reading' }, control.element, meaning, note),
    show(state) {
      control.show(state.reading);
      setText(meaning, MEANINGS[state.reading]);
      setText(note, readingNote(context));
    },
  };
}

/** Return the patch of the state with which attention is in view. */
export function seenWith(state) {
  return showsAttention(state) ? {} : { view: 'attention' };
}

function sourceControl({ scene, store }) {
  const fields = {};
  const rows = scene.base.sources.map(({ name }) => {
    fields[name] = h('input', {
      type: 'radio', name: 'bavos-source', value: name,
      onchange: () => store.set({ source: name, head: -1, ...seenWith(store.state) }),
    });
    return h('label', {}, fields[name], h('b', {}, SOURCE_NAMES[name] ?? name), h('small', {}, SOURCE_MEANINGS[name] ?? ''));
  });
  const element = h('div', { class: 'sources', role: 'radiogroup', 'aria-label': 'Source of attention' }, ...rows);
  return {
    element,
    show(state) {
      element.hidden = state.reading !== 'attention';
      if (fields[state.source]) fields[state.source].checked = true;
    },
  };
}

function blockControl({ scene, store }) {
  const { blocks = 0, block: own } = scene.base;
  const numbers = Array.from({ length: blocks }, (_, i) => [i, i === own ? `${i} (clustered)` : String(i)]);
  const block = choice('Block', Object.fromEntries(numbers), (value) => store.set({ block: Number(value) === own ? null : Number(value), head: -1 }));
  const vectors = choice('Vectors', VECTORS, (value) => store.set({ vectors: value }));
  return {
    element: h('div', { class: 'selects' }, block.element, vectors.element),
    show({ reading, source, block: chosen, vectors: which }) {
      block.element.hidden = !blocks || !(reading === 'cosine' || (reading === 'attention' && isOfNetwork(source)));
      vectors.element.hidden = !blocks || reading !== 'cosine';
      block.show(chosen ?? own);
      vectors.show(which);
    },
  };
}

function lookControl({ store }) {
  const mass = slider('Mass', { min: 5, max: 100, step: 1, list: 'bavos-masses' }, (value) => store.set({ mass: value >= 100 ? null : value / 100 }));
  const dino = h('button', {
    type: 'button', class: 'small', title: 'Show only the patches that hold 60 % of the attention, as in DINO',
    onclick: () => store.set({ mass: store.state.mass === DINO_MASS ? null : DINO_MASS }),
  }, 'DINO’s 60 %');
  const opacity = slider('Opacity', { min: 0, max: 100, step: 1 }, (value) => store.set({ heat: value / 100 }));
  const colours = choice('Colours', Object.fromEntries(COLOUR_MAPS.map((name) => [name, name])), (value) => store.set({ colours: value }));
  const scale = choice('Hottest', SCALES, (value) => store.set({ scaleMax: value === 'row' ? value : Number(value) }));
  const patches = h('input', { type: 'checkbox', onchange: () => store.set({ patches: patches.checked }) });
  const marks = h('datalist', { id: 'bavos-masses' }, h('option', { value: 100 * DINO_MASS }));
  mass.element.append(dino, marks);
  opacity.element.append(h('label', { class: 'check' }, patches, 'Patch grid'));
  const selects = h('div', { class: 'selects' }, colours.element, scale.element);
  return {
    element: h('div', { class: 'look' }, mass.element, opacity.element, selects),
    show(state) {
      mass.element.hidden = state.reading !== 'attention';
      mass.show(100 * (state.mass ?? 1), state.mass ? `${Math.round(100 * state.mass)} %` : 'all');
      dino.setAttribute('aria-pressed', String(state.mass === DINO_MASS));
      opacity.show(100 * state.heat, `${Math.round(100 * state.heat)} %`);
      colours.element.hidden = !['attention', 'cls'].includes(state.reading);
      colours.show(state.colours);
      scale.show(String(state.scaleMax));
      scale.element.hidden = state.reading !== 'attention';
      patches.checked = Boolean(state.patches);
    },
  };
}

function slider(words, attributes, change) {
  const field = h('input', { type: 'range', 'aria-label': words, ...attributes, oninput: () => change(Number(field.value)) });
  const said = h('output', {});
  return {
    element: h('div', { class: 'slide' }, h('span', {}, words), field, said),
    show(value, text) {
      field.value = value;
      field.setAttribute('aria-valuetext', text);
      setText(said, text);
    },
  };
}

function choice(words, choices, change) {
  const options = Object.entries(choices).map(([value, label]) => h('option', { value }, label));
  const field = h('select', { class: 'field', onchange: () => change(field.value) }, ...options);
  return { element: h('label', { class: 'choice' }, words, field), show(value) { field.value = value; } };
}
