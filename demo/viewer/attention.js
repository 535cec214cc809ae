// Rows of attention from compact queries and keys: what the patch at a point attends to.
//
// T analysed frames, h×w patches, N = h·w, H heads of R components. A row has T·N numbers, frame
// after frame. A point is {sample, y, x}: an analysed frame and a place in it, 0 … 1.

const KEPT_ROWS = 20; // eight pins and the pointer, in two panes
// exp(-x) from a table, to 1e-7 of its value and three times as fast; 0 from x = 32 on.
const EXP_STEPS = 128;
const EXP_TABLE = Float64Array.from({ length: 32 * EXP_STEPS }, (_, i) => Math.exp(-i / EXP_STEPS));

/**
 * Open the compact queries and keys of a source: the part `attention/…` with its blobs.
 * The scales of both go into the queries, so that the keys stay the bytes that came.
 */
export function openSource(part, grid, samples) {
  const { heads, rank } = part;
  const factor = new Float32Array(heads * rank);
  for (let i = 0; i < factor.length; i++) factor[i] = part.scale_q[i] * part.scale_k[i];
  const columns = Array.from({ length: heads }, (_, head) => columnsOf(part.k, heads, rank, head));
  const temperature = part.temperature ?? null;
  return { heads, rank, grid, samples, factor, queries: part.q ?? part.k, columns, temperature };
}

/**
 * Return the keys of a head by component, without the last ones if they are 0 in all: that makes
 * products with a query several times as fast as key after key. A multiple of four components.
 */
function columnsOf(keys, heads, rank, head) {
  const count = keys.length / heads / rank;
  const first = head * count * rank;
  const columns = [];
  for (let c = 0; c < rank; c++) {
    const column = new Int8Array(count);
    for (let i = 0, at = first + c; i < count; i++, at += rank) column[i] = keys[at];
    columns.push(column);
  }
  while (columns.length && columns.at(-1).every((value) => value === 0)) columns.pop();
  while (columns.length % 4) columns.push(new Int8Array(count));
  return columns;
}

/** Return the two whole positions around one, and the weight of the second. */
export function neighbours(part, side) {
  const position = Math.min(Math.max(part * side - 0.5, 0), side - 1);
  const low = Math.floor(position);
  return [low, Math.min(low + 1, side - 1), position - low];
}

/** Return the four patches around a place and their weights, [[patch, weight], …]; none is 0. */
export function cornersOf(y, x, [h, w]) {
  const [top, bottom, down] = neighbours(y, h);
  const [left, right, across] = neighbours(x, w);
  return [
    [top * w + left, (1 - down) * (1 - across)],
    [top * w + right, (1 - down) * across],
    [bottom * w + left, down * (1 - across)],
    [bottom * w + right, down * across],
  ].filter(([, weight]) => weight > 0);
}

/** Return the query of every head at a place of one analysed frame, scaled: Float32Array(H·R). */
export function queryAt(source, sample, corners) {
  const { heads, rank, queries, factor } = source;
  const patches = source.grid[0] * source.grid[1];
  const query = new Float32Array(heads * rank);
  for (let head = 0; head < heads; head++) {
    for (const [patch, weight] of corners) {
      const from = ((head * source.samples + sample) * patches + patch) * rank;
      for (let c = 0; c < rank; c++) query[head * rank + c] += weight * queries[from + c];
    }
  }
  return query.map((value, i) => value * factor[i]);
}

/** Write the logits of one head's query against `count` keys from key `first` on; return the most. */
function logitsInto(out, at, source, head, query, first, count) {
  const columns = source.columns[head];
  const own = (c) => (c < source.rank ? query[head * source.rank + c] : 0);
  const sums = out.subarray(at, at + count).fill(0);
  for (let c = 0; c < columns.length; c += 4) {
    const keys = columns.slice(c, c + 4).map((column) => column.subarray(first, first + count));
    addProducts(sums, keys, [own(c), own(c + 1), own(c + 2), own(c + 3)]);
  }
  let most = -Infinity;
  for (let i = 0; i < count; i++) if (sums[i] > most) most = sums[i];
  return most;
}

/** Add the products of four components to the logits. */
function addProducts(sums, [k0, k1, k2, k3], [q0, q1, q2, q3]) {
  for (let i = 0; i < sums.length; i++) sums[i] += q0 * k0[i] + q1 * k1[i] + q2 * k2[i] + q3 * k3[i];
}

/** Replace logits by their softmax, which sums to `share`. */
function softmaxInPlace(out, at, count, most, share) {
  let sum = 0;
  for (let i = at; i < at + count; i++) {
    const below = (most - out[i]) * EXP_STEPS;
    const step = below | 0;
    const rest = (below - step) / EXP_STEPS;
    const value = step < EXP_TABLE.length ? EXP_TABLE[step] * (1 - rest + (rest * rest) / 2) : 0;
    out[i] = value;
    sum += value;
  }
  const scale = share / sum;
  for (let i = at; i < at + count; i++) out[i] *= scale;
}

/**
 * Return the attention of every head at a point: Float32Array(H·T·N), each head sums to 1.
 * framewise: each frame's own query against its own patches, with 1/T of the attention a frame.
 */
export function headRows(source, point, framewise) {
  const { heads, samples, grid } = source;
  const patches = grid[0] * grid[1];
  const out = new Float32Array(heads * samples * patches);
  const corners = cornersOf(point.y, point.x, grid);
  const [blocks, count] = framewise ? [samples, patches] : [1, samples * patches];
  for (let block = 0; block < blocks; block++) {
    const query = queryAt(source, framewise ? block : point.sample, corners);
    for (let head = 0; head < heads; head++) {
      const at = (head * blocks + block) * count;
      const most = logitsInto(out, at, source, head, query, block * count, count);
      softmaxInPlace(out, at, count, most, 1 / blocks);
    }
  }
  return out;
}

/** Return the row of one head, or the mean of all for head -1: Float32Array(T·N), sum 1. */
export function rowOfHead(rows, heads, head) {
  const width = rows.length / heads;
  if (head >= 0) return rows.subarray(head * width, (head + 1) * width);
  if (heads === 1) return rows;
  const mean = new Float32Array(width);
  for (let at = 0; at < rows.length; at += width) {
    for (let i = 0; i < width; i++) mean[i] += rows[at + i];
  }
  for (let i = 0; i < width; i++) mean[i] /= heads;
  return mean;
}

/**
 * Return the cosine similarity of the feature at a point to all patches: Float32Array(T·N), -1 … 1.
 * source: that of `key-similarity`, whose queries are unit vectors times the temperature.
 */
export function cosineRow(source, point) {
  const count = source.samples * source.grid[0] * source.grid[1];
  const out = new Float32Array(count);
  const query = queryAt(source, point.sample, cornersOf(point.y, point.x, source.grid));
  logitsInto(out, 0, source, 0, query, 0, count);
  source.temperature ??= longest(source);
  const scale = 1 / source.temperature;
  return out.map((value) => Math.min(Math.max(value * scale, -1), 1));
}

/** Return the largest product of a patch with itself: near the temperature, as all have length 1. */
function longest({ heads, rank, factor, queries }) {
  let most = 0;
  for (let at = 0; at < queries.length / heads; at += rank) {
    let sum = 0;
    for (let c = 0; c < rank; c++) sum += factor[c] * queries[at + c] * queries[at + c];
    most = Math.max(most, sum);
  }
  return most;
}

/** Return a memory for the latest results of a function, by a key. */
export function remember(kept = KEPT_ROWS) {
  const known = new Map();
  return (key, make) => {
    const value = known.has(key) ? known.get(key) : make();
    known.delete(key);
    known.set(key, value); // the latest last
    if (known.size > kept) known.delete(known.keys().next().value);
    return value;
  };
}

/** Return the name of the part that holds the queries and keys of what a state reads. */
export function partOf({ source, reading, block, vectors }, { block: own } = {}) {
  const other = block !== null && block !== own;
  if (reading === 'cosine') return other || vectors !== 'key' ? `block-${block ?? own}-${vectors}` : 'key-similarity';
  if (other && isOfNetwork(source)) return `block-${block}-attention`;
  return source === 'framewise' ? 'cross-frame' : source;
}

/** Tell whether a source is the network's own attention, which every block has. */
export function isOfNetwork(source) {
  return source === 'framewise' || source === 'cross-frame';
}

/**
 * Create the attention of a scene. For what a state reads, `rows(state, point)` are the heads' rows
 * and `cosine(state, point)` a row of similarities; both are null until the part has come, and
 * asking for it makes it come.
 */
export function createAttention(scene, changed = () => {}) {
  const opened = new Map(); // by part: an opened source, or null while it comes
  const failed = new Map(); // by part: why it did not come
  const recall = remember();
  const open = (name) => {
    if (opened.has(name)) return opened.get(name);
    opened.set(name, null);
    scene.attention(name).then(
      (part) => {
        opened.set(name, openSource(part, scene.base.grid, scene.base.analysed.length));
        changed();
      },
      (error) => {
        failed.set(name, error.message);
        changed();
      },
    );
    return null;
  };
  return {
    rows(state, point) {
      const name = partOf(state, scene.base);
      const found = open(name);
      const framewise = state.source === 'framewise';
      const key = `${name} ${framewise} ${point.sample} ${point.y} ${point.x}`;
      return found && recall(key, () => headRows(found, point, framewise));
    },
    cosine(state, point) {
      const name = partOf(state, scene.base);
      const found = open(name);
      const key = `cosine ${name} ${point.sample} ${point.y} ${point.x}`;
      return found && recall(key, () => cosineRow(found, point));
    },
    heads: (state) => open(partOf(state, scene.base))?.heads ?? null,
    failure: (state) => failed.get(partOf(state, scene.base)) ?? null,
  };
}
