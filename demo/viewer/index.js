// The viewer: mounts everything into a shadow root.

import { createAttention } from './attention.js';
import { createCompare } from './compare.js';
import { h } from './dom.js';
import { holdsAt } from './edits.js';
import { createHierarchy } from './hierarchy.js';
import { createKeys } from './keys.js';
import { createObjects } from './objects.js';
import { createReadings } from './readings.js';
import { createRecorder } from './record.js';
import { openScene } from './scene.js';
import { createStage } from './stage.js';
import { createStore, differs, showsAttention } from './state.js';
import { createTimeline } from './timeline.js';
import { createToolbar } from './toolbar.js';

const TOAST_SECONDS = 4;

/**
 * Mount a viewer.
 * @param {HTMLElement} element the viewer gets a shadow root in it
 * @param {{part(name: string): Promise<ArrayBuffer>, has?: (name: string) => boolean, exact?: Function,
 *   ask?: Function, changed?: Function}} host a part that fails with {final: true} is not asked for again
 * @param {{css?: string, state?: object, dark?: boolean}} options dark: undefined for the system's choice
 * @returns {{open(): Promise<void>, destroy(): void, state: object, store: object, scene: object|null}}
 */
export function mount(element, host, options = {}) {
  const root = element.shadowRoot ?? element.attachShadow({ mode: 'open' });
  const store = createStore(options.state ?? {});
  const places = layout();
  root.replaceChildren(h('style', {}, options.css ?? ''), places.all);
  const closing = [themed(element, options.dark)];
  places.all.addEventListener('keydown', store.flush, { capture: true }); // a field steps from what it shows
  let scene = null;
  const open = async () => {
    places.all.setAttribute('aria-busy', 'true');
    scene = await openScene(host, store);
    const wanted = { n: scene.base.clusters, source: scene.base.source, ...options.state };
    store.set({ ...wanted, n: Math.min(Math.max(wanted.n, 1), scene.base.most) });
    closing.push(() => scene.close());
    places.all.classList.add(scene.base.size[1] > scene.base.size[0] ? 'landscape' : 'portrait');
    places.title.textContent = scene.base.name;
    places.all.style.setProperty('--aspect', scene.base.size[1] / scene.base.size[0]);
    fill({ root, scene, store, host, ...speaking(places.live) }, places, closing);
    places.all.removeAttribute('aria-busy');
    store.flush();
  };
  return {
    open: () => open().catch((error) => {
      places.stage.replaceChildren(h('p', { class: 'failure', role: 'alert' }, error.message));
      throw error;
    }),
    destroy() {
      store.set({ playing: false });
      for (const close of closing) close();
      root.replaceChildren();
    },
    store,
    get state() { return store.state; },
    get scene() { return scene; },
  };
}

function layout() {
  const places = {};
  const place = (name, tag = 'div', attributes = {}, ...inside) => {
    places[name] = h(tag, { class: name, ...attributes }, ...inside);
    return places[name];
  };
  place('all', 'div', { tabindex: -1 },
    place('title', 'h2', {}, 'Viewer'),
    place('toolbar', 'div', { role: 'toolbar', 'aria-label': 'View' }),
    h('div', { class: 'body' },
      h('div', { class: 'main' },
        h('div', { class: 'panes' }, place('stage'), place('compare', 'div', { hidden: true })),
        place('timeline')),
      h('aside', { class: 'side', 'aria-label': 'Objects and attention' },
        place('tabs', 'div', { role: 'tablist', 'aria-label': 'Panels' }),
        h('div', { class: 'panels' },
          place('objects', 'section', { role: 'tabpanel', id: 'panel-objects', 'aria-labelledby': 'tab-objects' }),
          place('readings', 'section', { role: 'tabpanel', id: 'panel-attention', 'aria-labelledby': 'tab-attention', hidden: true })),
        place('hierarchy', 'section', { 'aria-label': 'Hierarchy' }))),
    place('live', 'p', { role: 'status', 'aria-live': 'polite' }));
  return places;
}

function fill(context, places, closing) {
  const { store, host } = context;
  context.attention = createAttention(context.scene, store.touch);
  createToolbar(context, places.toolbar);
  createRecorder(context, places.toolbar.querySelector('.record'));
  createStage(context, places.stage);
  createTimeline(context, places.timeline);
  createObjects(context, places.objects);
  createReadings(context, places.readings);
  createHierarchy(context, places.hierarchy);
  createCompare(context, places.compare);
  createTabs(store, places);
  tellOfLimits(context);
  closing.push(createKeys(context, places.all));
  if (host.changed) closing.push(reported(store, host));
}

/** `say` tells screen readers what has changed; `tell` shows it to all for some seconds. */
function speaking(live) {
  let timer = 0;
  const put = (text, shown) => {
    clearTimeout(timer);
    live.textContent = text;
    live.classList.toggle('toast', shown);
    if (shown) timer = setTimeout(() => live.classList.remove('toast'), TOAST_SECONDS * 1000);
  };
  return { say: (text) => put(text, false), tell: (text) => put(text, true) };
}

/** Say which changes rest when the cut moves: those of parts of a split apply at one cut only. */
function tellOfLimits({ store, tell }) {
  const resting = ({ edits, n }) => edits.filter((edit) => !holdsAt(edit, n));
  store.subscribe((state, previous) => {
    if (!differs(state, previous, 'n') || !state.edits.length) return;
    const [now, before] = [resting(state), resting(previous)];
    if (now.length <= before.length) return;
    const at = now.at(-1).at ?? previous.n;
    tell(`${now.length} of your changes ${now.length === 1 ? 'applies' : 'apply'} only at ${at} clusters.`);
  });
}

/** Tabs and view follow each other: with the panel of attention, the picture shows attention. */
function createTabs(store, places) {
  const panels = { objects: places.objects, attention: places.readings };
  const tabs = {};
  const show = (name) => {
    for (const [other, tab] of Object.entries(tabs)) {
      tab.setAttribute('aria-selected', String(other === name));
      tab.tabIndex = other === name ? 0 : -1;
      panels[other].hidden = other !== name;
    }
  };
  const panelOf = (state) => (showsAttention(state) ? 'attention' : 'objects');
  const choose = (name) => {
    if (panelOf(store.state) !== name) store.set({ view: name });
    show(name);
  };
  for (const name of Object.keys(panels)) {
    tabs[name] = h('button', {
      type: 'button', role: 'tab', id: `tab-${name}`, 'aria-controls': `panel-${name}`, onclick: () => choose(name),
      onkeydown: (event) => {
        if (!['ArrowLeft', 'ArrowRight'].includes(event.key)) return;
        const other = name === 'objects' ? 'attention' : 'objects';
        choose(other);
        tabs[other].focus();
        event.stopPropagation();
      },
    }, name[0].toUpperCase() + name.slice(1));
    places.tabs.append(tabs[name]);
  }
  store.subscribe((state, previous) => {
    if (differs(state, previous, 'view') && panels[panelOf(state)].hidden) show(panelOf(state));
  });
  show(panelOf(store.state));
}

/** Tell the host of what a link or an export needs, when nothing has changed for a while. */
function reported(store, host) {
  let timer = 0;
  const stop = store.subscribe((state, previous) => {
    if (!differs(state, previous, 'time', 'view', 'n', 'edits', 'hidden', 'selected', 'pins', 'source', 'head', 'reading')) return;
    clearTimeout(timer);
    timer = setTimeout(() => host.changed(store.state), 300);
  });
  return () => { clearTimeout(timer); stop(); };
}

function themed(element, dark) {
  const set = (on) => element.classList.toggle('dark', on);
  if (dark !== undefined) {
    set(dark);
    return () => {};
  }
  const system = matchMedia('(prefers-color-scheme: dark)');
  const follow = () => set(system.matches);
  follow();
  system.addEventListener('change', follow);
  return () => system.removeEventListener('change', follow);
}
