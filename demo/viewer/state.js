// The state of a viewer: one plain object, replaced and never changed.

/** What a viewer starts with. */
export const FIRST_STATE = {
  time: 0, // seconds
  playing: false,
  view: 'objects', // 'original' | 'objects' | 'attention' | 'both'
  divider: null, // 0 … 1: left of it the original
  n: 1, // clusters of the cut, before any edit
  edits: [], // {action, cluster, value, at}, in order
  undone: [], // the last is redone first
  hidden: [], // clusters
  selected: [], // clusters, the first selected first
  hovered: null, // a cluster
  background: false, // whether background is coloured too
  opacity: 0.5,
  style: 'both', // 'both' | 'fills' | 'outlines'
  tags: true,
  hover: null, // {sample, y, x}: the point below the pointer, y and x in 0 … 1
  pins: [], // {sample, y, x}
  source: 'cross-frame',
  head: -1, // the mean of all
  block: null, // of the network; null for the one that was clustered
  vectors: 'key', // 'query' | 'key' | 'value': which vectors similarity compares
  reading: 'attention', // 'attention' | 'cosine' | 'pca' | 'cls' | 'kmeans'
  mass: null, // 0 … 1: show only the patches that hold this share
  scaleMax: 'row',
  colours: 'inferno',
  heat: 0.75, // opacity
  compare: null, // {source, head, reading}
  arrived: 0, // grows when something beside the state has changed: a part has come
};

const later = globalThis.requestAnimationFrame ?? ((run) => setTimeout(run, 0));

/**
 * Create a store. Subscribers are called with the state and the one of their last call, at most
 * once per animation frame.
 * @returns {{state: object, set(patch: object): void, touch(): void, flush(): void,
 *   subscribe(run: (state: object, previous: object) => void): () => void}}
 */
export function createStore(initial) {
  let state = { ...FIRST_STATE, ...initial };
  let told = state;
  let due = false;
  const listeners = new Set();
  const flush = () => {
    if (!due) return;
    due = false;
    const previous = told;
    told = state;
    for (const run of [...listeners]) run(state, previous);
  };
  const set = (patch) => {
    if (!Object.keys(patch).some((key) => !Object.is(state[key], patch[key]))) return;
    state = { ...state, ...patch };
    if (due) return;
    due = true;
    later(flush);
  };
  return {
    get state() { return state; },
    set,
    touch() { set({ arrived: state.arrived + 1 }); },
    flush,
    subscribe(run) {
      listeners.add(run);
      return () => listeners.delete(run);
    },
  };
}

/** Tell whether a state shows attention. */
export function showsAttention({ view }) {
  return view === 'attention' || view === 'both';
}

/** Tell whether one of some fields differs between two states. */
export function differs(state, previous, ...fields) {
  return fields.some((field) => state[field] !== previous[field]);
}
