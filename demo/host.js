// Mounts the viewer in its gr.HTML and connects it with the server and the address of the page.
// Given by Gradio: element, props, watch, trigger. Before this: `Bavos` (the viewer) and `CSS_TEXT`.
// props.value is {result, example, keep, linked, versions, lost}: which result is shown; see panels/viewer.py.
const ARRIVAL = 'arrival'; // stands for the id of the example that is shipped
const READY_EVERY = 2000; // milliseconds between questions whether the server's own result is there
const AGAIN = 30; // times that a frame is asked for again while it is being made
const place = element.querySelector('.bavos-place');
const config = window.gradio_config ?? {};
const base = `${config.root ?? ''}${config.api_prefix ?? '/gradio_api'}/bavos/`;
let viewer = null;
let shown = { result: '' };
let arriving = false; // whether the example that is shown on arrival is still there
let told = ''; // the cut that the server was told of last

// `final`: asking again is of no use.
const sentence = async (answer) => Object.assign(
  new Error((await answer.text()) || answer.statusText),
  { final: [400, 404, 410].includes(answer.status) },
);
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

const unpacked = (answer) =>
  new Response(answer.body.pipeThrough(new DecompressionStream('gzip'))).arrayBuffer();

const hostOf = (result) => ({
  async part(name) {
    for (let i = 0; ; i += 1) {
      const answer = await fetch(`${base}${result}/${name}`);
      if (answer.ok) return unpacked(answer);
      if (answer.status !== 503 || i === AGAIN) throw await sentence(answer);
      await pause(1000 * Number(answer.headers.get('Retry-After') ?? 1));
    }
  },
  async exact({ sample, y, x, source, head }) {
    const asked = new URLSearchParams({ sample, y, x, source, head: head ?? -1 });
    const answer = await fetch(`${base}${result}/exact?${asked}`);
    if (!answer.ok) throw await sentence(answer);
    return answer.json();
  },
  ask(action, detail) {
    return asked[action]?.(detail);
  },
  changed(state) {
    if (!arriving || state.pins.length || state.edits.length) writeAddress('replaceState', state);
    const cut = JSON.stringify([shown.result, state.n, state.edits]);
    if (cut !== told && shown.result !== ARRIVAL) trigger('input', stateForServer(state));
    told = cut;
  },
});

// ---- what the viewer asks for beside parts ------------------------------------------------------

const asked = {
  async html() {
    const state = { ...kept(viewer.state), block: null, vectors: 'key' }; // a file has one block
    const answer = await fetch(`${base}${shown.result}/html`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(state),
    });
    if (!answer.ok) throw await sentence(answer);
    const link = document.createElement('a');
    link.href = URL.createObjectURL(await answer.blob());
    const named = /filename="([^"]+)"/.exec(answer.headers.get('Content-Disposition') ?? '');
    link.download = named ? decodeURIComponent(named[1]) : 'bavos.html';
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  },
  async link() {
    writeAddress('replaceState', viewer.state);
    await navigator.clipboard?.writeText(window.location.href); // none without https
    return window.location.href;
  },
  export(detail) {
    const which = detail?.selected?.length ? 'selected' : 'all';
    document.querySelector(`#which input[value=${which}]`)?.click();
    const panel = document.querySelector('#take-home button.label-wrap');
    if (panel && !panel.classList.contains('open')) panel.click();
    document.querySelector('#prepare')?.scrollIntoView({ block: 'center' });
    document.querySelector('#prepare')?.focus();
  },
};

const stateForServer = (state) => ({
  result: shown.result,
  n: state.n,
  edits: state.edits,
  selected: state.selected,
  time: state.time,
  pins: state.pins,
  versions: shown.versions,
});

// What a viewer of the same result goes on with.
const KEPT = [
  'time', 'playing', 'view', 'divider', 'n', 'edits', 'undone', 'hidden', 'selected', 'background',
  'opacity', 'style', 'tags', 'pins', 'source', 'head', 'reading', 'mass', 'scaleMax', 'colours', 'heat',
  'block', 'vectors', 'compare', 'patches',
];
const kept = (state) => Object.fromEntries(KEPT.filter((name) => name in state).map((name) => [name, state[name]]));

// ---- the address: which result, when, where -----------------------------------------------------

// Edits as base64 of JSON; the server checks those that files are made with.
const LONGEST_EDITS = 4000; // characters; some servers refuse longer addresses
const inAddress = (edits) => {
  const bytes = new TextEncoder().encode(JSON.stringify(edits));
  return btoa(String.fromCharCode(...bytes)).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
};
const editsOf = (text) => {
  try {
    const bytes = atob(text.replaceAll('-', '+').replaceAll('_', '/'));
    const edits = JSON.parse(new TextDecoder().decode(Uint8Array.from(bytes, (c) => c.charCodeAt(0))));
    return Array.isArray(edits) && edits.every(isEdit) ? edits : [];
  } catch {
    return []; // an address that was cut short or mistyped
  }
};
const isCount = (value) => Number.isInteger(value) && value >= 0;
const isEdit = (edit) => ['name', 'role', 'merge', 'split'].includes(edit?.action)
  && isCount(edit.cluster) && (edit.at === null || isCount(edit.at))
  && (edit.action === 'merge' ? isCount(edit.value) : edit.value === null || typeof edit.value === 'string');

const writeAddress = (how, state) => {
  const address = new URL(window.location.href);
  for (const name of ['result', 'example', 't', 'pins', 'source', 'n', 'edits']) address.searchParams.delete(name);
  if (shown.example) address.searchParams.set('example', shown.example);
  else if (shown.result) address.searchParams.set('result', shown.result);
  if (state?.time) address.searchParams.set('t', state.time.toFixed(2));
  if (state?.pins?.length) {
    const pins = state.pins.map(({ sample, y, x }) => `${sample}_${y.toFixed(4)}_${x.toFixed(4)}`);
    address.searchParams.set('pins', pins.join('~'));
  }
  if (state?.edits?.length) {
    const edits = inAddress(state.edits);
    address.searchParams.set('n', state.n);
    if (edits.length <= LONGEST_EDITS) address.searchParams.set('edits', edits);
  }
  if (state?.source && state.pins?.length) address.searchParams.set('source', state.source);
  if (address.href !== window.location.href) window.history[how](null, '', address);
};

const readAddress = () => {
  const given = new URLSearchParams(window.location.search);
  const pins = (given.get('pins') ?? '').split('~').filter(Boolean).map((pin) => {
    const [sample, y, x] = pin.split('_').map(Number);
    return { sample, y, x };
  });
  const inside = (value) => value >= 0 && value <= 1;
  const valid = pins.filter(({ sample, y, x }) => Number.isInteger(sample) && sample >= 0 && inside(y) && inside(x));
  const state = {};
  if (Number(given.get('t')) > 0) state.time = Number(given.get('t'));
  if (valid.length) state.pins = valid.slice(0, 8);
  if (given.get('source')) state.source = given.get('source');
  if (isCount(Number(given.get('n') || NaN))) state.n = Number(given.get('n'));
  if (given.get('edits')) state.edits = editsOf(given.get('edits'));
  return state;
};

window.addEventListener('popstate', () => {
  const given = new URLSearchParams(window.location.search);
  const key = given.get('result');
  if (key && key !== shown.result) trigger('select', { result: key });
});

// ---- showing a result ---------------------------------------------------------------------------

const calm = () => window.matchMedia('(prefers-reduced-motion: reduce)').matches;

const mount = async (value, state) => {
  viewer?.destroy();
  shown = value;
  const dark = document.body.classList.contains('dark');
  const { playing = false, ...rest } = state;
  const made = Bavos.mount(place, hostOf(value.result), { css: CSS_TEXT, state: rest, dark });
  viewer = made;
  element.dataset.result = value.result;
  try {
    await made.open();
    if (playing) made.store.set({ playing });
    if (viewer === made) element.dataset.opened = value.result;
  } catch (error) {
    if (viewer === made && value.result !== ARRIVAL) console.warn(error.message);
  }
};

// The shipped example gives way to this server's own result of it, in the state it is in.
const awaitOwn = async () => {
  while (shown.result === ARRIVAL && element.isConnected) {
    const { result } = await (await fetch(`${base}${ARRIVAL}/ready`)).json();
    if (shown.result !== ARRIVAL) return;
    if (result && !viewer?.state.edits?.length) {
      await mount({ ...shown, result }, viewer ? kept(viewer.state) : {});
      return;
    }
    await pause(READY_EVERY);
  }
};

const arrive = async (value) => {
  const given = readAddress();
  const state = { ...given, playing: !calm() && !('time' in given) };
  const answer = await fetch(`${base}${ARRIVAL}/ready`);
  const own = answer.ok ? (await answer.json()).result : null;
  await mount(own ? { ...value, result: own } : value, state);
  if (!own) awaitOwn();
};

const show = (value) => {
  if (!value?.result) return;
  const first = !viewer;
  const again = value.result === shown.result;
  if (again && !value.keep) return;
  if (value.result === ARRIVAL) {
    if (!first && shown.example === value.example && !value.lost) return;
    shown = value;
    arriving = true;
    if (!first || value.lost) window.history.replaceState(null, '', window.location.pathname);
    arrive(value);
    return;
  }
  const state = value.keep && viewer ? kept(viewer.state) : value.linked ? readAddress() : { playing: false };
  arriving = false;
  mount(value, state);
  writeAddress(value.linked ? 'replaceState' : 'pushState', state);
  if (!first && element.getBoundingClientRect().top > window.innerHeight / 2) {
    element.scrollIntoView({ block: 'start', behavior: calm() ? 'auto' : 'smooth' });
  }
};

new MutationObserver(() => {
  place.classList.toggle('dark', document.body.classList.contains('dark'));
}).observe(document.body, { attributes: true, attributeFilter: ['class'] });

// For the page's other parts: what the viewer shows, and what it can be asked to do.
window.bavos = {
  state: () => (viewer ? stateForServer(viewer.state) : null),
  ask: (action) => Promise.resolve(asked[action]?.()).catch((error) => window.alert(error.message)),
};

// A run needs the processor that playing takes.
document.addEventListener('click', (event) => {
  if (event.target.closest('#segment, #adapt, #prepare')) viewer?.store.set({ playing: false });
});

watch('value', () => show(props.value));
const linked = new URLSearchParams(window.location.search);
const awaited = linked.get('result') ?? linked.get('example') ?? props.value.example;
if (awaited === props.value.example) show(props.value); // else what the address names comes soon
