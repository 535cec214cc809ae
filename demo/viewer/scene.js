// What the server sends of a result: parts, pulled two at a time, the frame looked at first.

const ARRAYS = {
  u8: Uint8Array, u16: Uint16Array, i32: Int32Array, i8: Int8Array, f32: Float32Array, f64: Float64Array,
};
const AT_ONCE = 2; // parts
const KEPT = 200e6; // bytes of opened frames; the others stay compressed
const AHEAD = 6; // frames that are opened before they are due
const TRIES = 3;

/** Open a part: the fields of its header and its arrays, by name, and `shapes` of these. */
export async function openPart(buffer) {
  const data = await unzipped(buffer);
  const start = 4 + new DataView(data).getUint32(0, true);
  const { blobs, ...fields } = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, start - 4)));
  const shapes = {};
  for (const [name, [type, shape, offset]] of Object.entries(blobs)) {
    fields[name] = new ARRAYS[type](data, start + offset, shape.reduce((a, b) => a * b, 1));
    shapes[name] = shape;
  }
  return { ...fields, shapes };
}

async function unzipped(buffer) {
  const head = new Uint8Array(buffer, 0, 2);
  if (head[0] !== 0x1f || head[1] !== 0x8b) return buffer; // the browser has done it
  const stream = new Blob([buffer]).stream().pipeThrough(new DecompressionStream('gzip'));
  return new Response(stream).arrayBuffer();
}

/**
 * Open the scene of a result. Rejects with an Error whose message is a sentence.
 * frame(i): {bitmap, leaf, solid} of a frame of the clip, or undefined until it is there;
 * nearestReady(i): the frame nearest to i that can be shown, or -1; ready: frames that have come;
 * listen(run): run(name) is called when a part has come or was opened; failures: Map part → message.
 */
export async function openScene(host, store) {
  const base = await openPart(await host.part('base'));
  const frames = base.times.length;
  const ready = new Set();
  const failures = new Map();
  const listeners = new Set();
  const tell = (name) => { for (const run of [...listeners]) run(name); };
  const opened = openedFrames(base, tell);
  const others = new Map(); // attention and readings: promises
  let closed = false;

  const pull = async (name) => {
    for (let attempt = 1; ; attempt++) {
      try {
        return await host.part(name);
      } catch (error) {
        if (error.final || attempt === TRIES || closed) throw error; // final: asking again is of no use
        await new Promise((go) => setTimeout(go, 500 * attempt));
      }
    }
  };
  const other = (name) => {
    if (!others.has(name)) others.set(name, pull(name).then(openPart).then((part) => { tell(name); return part; }));
    return others.get(name);
  };

  const waiting = new Set();
  for (let i = 0; i < frames; i++) if (host.has?.(`frame/${i}`) ?? true) waiting.add(i);
  const expected = waiting.size;
  const soon = [`attention/${sourcesFirst(base, store)[0]}`, 'readings']; // after the analysed frames
  const late = sourcesFirst(base, store).slice(1).map((name) => `attention/${name}`); // after all frames
  const unasked = (names) => {
    while (names.length && others.has(names[0])) names.shift();
    return names.shift() ?? null;
  };
  let shown = -1;
  const next = () => {
    const analysed = nearestOf(waiting, shown < 0 ? base.analysed[base.analysed.length >> 1] : shown, isAnalysed);
    if (analysed >= 0) return `frame/${analysed}`;
    const first = unasked(soon);
    if (first) return first;
    const frame = nearestOf(waiting, shown, () => true);
    return frame < 0 ? unasked(late) : `frame/${frame}`;
  };
  const among = new Set(base.analysed);
  const isAnalysed = (i) => among.has(i);
  const work = async () => {
    for (let name = next(); name && !closed; name = next()) {
      const index = name.startsWith('frame/') ? Number(name.slice(6)) : -1;
      if (index >= 0) waiting.delete(index);
      try {
        if (index < 0) await other(name);
        else {
          opened.keep(index, await pull(name));
          ready.add(index);
          tell(name);
        }
      } catch (error) {
        failures.set(name, error.message);
        tell(name);
      }
    }
  };
  const scene = {
    base, ready, failures, frames, expected,
    frame: (i) => opened.get(i),
    nearestReady: (i) => opened.nearest(i, ready),
    /** Say which frame is looked at: it and those after it come first. */
    look(i) { shown = i; opened.ahead(i); },
    sampleOf: (i) => nearestSample(base, i),
    frameAt: (seconds) => frameAt(base.times, seconds),
    secondsOf: (i) => base.times[Math.min(Math.max(i, 0), frames - 1)],
    attention: (source) => other(`attention/${source}`),
    readings: () => other('readings'),
    listen(run) { listeners.add(run); return () => listeners.delete(run); },
    close() { closed = true; listeners.clear(); },
  };
  for (let i = 0; i < AT_ONCE; i++) work();
  return scene;
}

/** Frames: all compressed, the latest ones opened. */
function openedFrames(base, tell) {
  const parts = new Map(); // all that have come
  const open = new Map(); // the latest used last
  const coming = new Set();
  const size = base.preview[0] * base.preview[1] * 8; // bytes of one: a bitmap and two maps
  const room = Math.max(8, Math.floor(KEPT / size));
  const start = async (i) => {
    if (!parts.has(i) || open.has(i) || coming.has(i)) return;
    coming.add(i);
    const part = await openPart(parts.get(i));
    const bitmap = await createImageBitmap(new Blob([part.jpeg], { type: 'image/jpeg' }));
    coming.delete(i);
    open.set(i, { bitmap, leaf: part.leaf, solid: part.solid });
    while (open.size > room) {
      const [oldest] = open.keys();
      open.get(oldest).bitmap.close();
      open.delete(oldest);
    }
    tell(`opened/${i}`);
  };
  return {
    keep(i, part) {
      parts.set(i, part);
      if (open.size + coming.size < room) start(i);
    },
    get(i) {
      const found = open.get(i);
      if (!found) start(i);
      else { open.delete(i); open.set(i, found); }
      return found;
    },
    nearest: (i) => nearestOf(open, i, () => true),
    ahead(i) {
      start(nearestOf(parts, i, () => true));
      for (let k = 1; k < Math.min(AHEAD, room - 1); k++) start(i + k);
    },
  };
}

/** Return the key of a Map or Set that is nearest to i, or -1. */
function nearestOf(keys, i, wanted) {
  if (keys.has(i) && wanted(i)) return i;
  let best = -1;
  const among = keys instanceof Map ? keys.keys() : keys;
  for (const key of among) {
    if (wanted(key) && (best < 0 || Math.abs(key - i) < Math.abs(best - i))) best = key;
  }
  return best;
}

/** Return the sources that have a part of their own, the one that is shown or clustered first. */
function sourcesFirst(base, store) {
  const names = base.sources.map(({ name }) => name).filter((name) => name !== 'framewise');
  const wanted = [store.state.source, base.source, 'cross-frame'].find((name) => names.includes(name));
  return [wanted, ...names.filter((name) => name !== wanted)];
}

/** Return the frame that is shown at a time: the last that has begun. */
export function frameAt(times, seconds) {
  let low = 0;
  let high = times.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (times[middle] <= seconds + 1e-6) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** Return the analysed frame (0 … T-1) nearest in time to a frame of the clip. */
export function nearestSample(base, i) {
  const { analysed, times } = base;
  let best = 0;
  for (let t = 1; t < analysed.length; t++) {
    const away = Math.abs(times[analysed[t]] - times[i]);
    if (away < Math.abs(times[analysed[best]] - times[i])) best = t;
  }
  return best;
}
