// Attention and other readings as heat over a frame: rows, their scale, and the colours of every place.
//
// T analysed frames, h×w patches, N = h·w. A row has T·N numbers. The scale of a row is the same in all
// frames: its 99.9th percentile, but at least LEAST_TOP times uniform attention, so that a flat row
// stays cold. Frames between two analysed ones show the blend of both.
import { partOf, remember, rowOfHead } from './attention.js';
import { colourLayer, heatLayer } from './heatlayer.js';
import { axisOf, between, highestOf, massThreshold, quantile, sharesOf, topOfScale } from './scale.js';

const PIN_ORDER = [0, 1, 6, 2, 3, 5, 4, 7]; // of the colours of objects: the most unlike first
const CLS_PERCENTILE = 0.998; // of the clip: the attention of [CLS] with the hottest colour
const PICTURE_READINGS = ['pca', 'cls', 'kmeans'];

const memories = new WeakMap(); // by scene: what was computed for it

function memoryOf(context) {
  if (!memories.has(context.scene)) {
    memories.set(context.scene, { rows: remember(24), kept: remember(12), readings: null });
  }
  return memories.get(context.scene);
}

/** Return the colour of a pin, [r, g, b]. */
export function pinColour(base, i) {
  const at = PIN_ORDER[i % PIN_ORDER.length] * 3;
  return [...base.colours.subarray(at, at + 3)];
}

/** Return {row, top, over} of a point in the current reading, or null until its part has come. */
export function rowAt(context, point) {
  const { state } = context.store;
  const { source, head, reading, scaleMax } = state;
  const samples = context.scene.base.analysed.length;
  const cosine = reading === 'cosine';
  const rows = cosine ? context.attention.cosine(state, point) : context.attention.rows(state, point);
  if (!rows) return null;
  const part = partOf(state, context.scene.base);
  const key = `${source} ${part} ${head} ${cosine} ${scaleMax} ${point.sample} ${point.y} ${point.x}`;
  return memoryOf(context).rows(key, () => {
    if (cosine) return { key, row: rows, top: 1, over: highestOf(rows, samples) };
    const heads = context.attention.heads(state);
    const row = rowOfHead(rows, heads, head < heads ? head : -1);
    return { key, row, top: topOfScale(row, scaleMax), over: sharesOf(row, samples) };
  });
}

/** Return the place of a time among the analysed frames: 1.5 is midway between frames 1 and 2. */
export function placeInTime({ analysed, times }, seconds) {
  const last = analysed.length - 1;
  let low = 0;
  while (low < last && times[analysed[low + 1]] <= seconds + 1e-6) low++;
  if (low === last) return last;
  const [before, after] = [times[analysed[low]], times[analysed[low + 1]]];
  return low + Math.min(Math.max((seconds - before) / (after - before), 0), 1);
}

/** Return the points whose maps are shown: that under the pointer, or else the pins. */
export function shownPoints(context) {
  const { hover, pins } = context.store.state;
  const { base } = context.scene;
  if (hover) return [{ ...hover, colour: null }];
  return pins.map((pin, i) => ({ ...pin, colour: pins.length > 1 ? pinColour(base, i) : null }));
}

/**
 * Return the heat of one place in time: {heats: [{values, keep, colour, scale, signed}], waiting}.
 * sample: an analysed frame, or a place between two. values (h·w) in units of `scale`'s inverse; keep
 * (h·w): 1 for patches within the mass, or null; colour: [r, g, b], or null for the colour map.
 */
export function currentHeat(context, sample) {
  const { reading, mass } = context.store.state;
  const heats = [];
  let waiting = false;
  if (PICTURE_READINGS.includes(reading)) return { heats, waiting };
  const signed = reading === 'cosine';
  for (const point of shownPoints(context)) {
    const found = rowAt(context, point);
    waiting ||= !found;
    if (!found) continue;
    const values = between(found.row, sample, context.scene.base.analysed.length);
    const keep = mass && !signed ? keptPatches(context, found, values, mass) : null;
    heats.push({ values, keep, colour: point.colour, scale: 1 / found.top, signed });
  }
  return { heats, waiting };
}

function keptPatches(context, found, values, mass) {
  const threshold = memoryOf(context).kept(`${found.key} ${mass}`, () => massThreshold(found.row, mass));
  return values.map((value) => (value >= threshold ? 1 : 0));
}

/**
 * Return the attention over time for the timeline: {lines: [{colour, shares, pointer}], uniform, low,
 * high, name}. The axis runs from low to high and spans at least half of uniform attention, so that
 * differences show and noise does not.
 */
export function shareOverTime(context) {
  const { hover, pins, reading } = context.store.state;
  const samples = context.scene.base.analysed.length;
  const points = [...pins.map((pin, i) => [pin, pinColour(context.scene.base, i)]), ...(hover ? [[hover, null]] : [])];
  const lines = [];
  for (const [point, colour] of PICTURE_READINGS.includes(reading) ? [] : points) {
    const found = rowAt(context, point);
    if (found) lines.push({ colour, shares: found.over, pointer: !colour });
  }
  if (!lines.length) return { lines, uniform: 1 / samples, low: 0, high: 1, name: 'share of attention' };
  if (reading === 'cosine') return { lines, uniform: null, low: -0.2, high: 1, name: 'highest similarity' };
  const uniform = 1 / samples;
  const axis = axisOf(lines.map((line) => line.shares), uniform);
  const [low, high] = [axis.low, axis.high].map((share) => Number((100 * share).toPrecision(2)));
  return { lines, uniform, ...axis, name: `share ${low}–${high} %` };
}

/** Return the scale for a colour bar: {signed, colours, top, uniform} or null without a row. */
export function heatLegend(context) {
  const { reading, colours } = context.store.state;
  if (reading === 'cosine') return { signed: true, colours: 'diverging', top: 1, uniform: null };
  if (reading === 'cls') {
    const { cls, cls_most: most } = readingsOf(context);
    return cls ? { signed: false, colours, top: (most * memoryOf(context).hottest) / 255, uniform: null } : null;
  }
  if (reading !== 'attention') return null;
  const points = shownPoints(context);
  if (points.length > 1) return null; // each pin has a colour and a scale of its own
  const found = points.map((point) => rowAt(context, point)).find(Boolean);
  if (!found) return null;
  return { signed: false, colours, top: found.top, uniform: 1 / found.row.length };
}

/**
 * Paint the current reading over the picture of a canvas. sample: an analysed frame, or a place
 * between two; size: {width, height} of the picture in the coordinates of ctx.
 */
export function paintHeat(context, ctx, sample, size) {
  const state = context.store.state;
  const { grid } = context.scene.base;
  const layer = PICTURE_READINGS.includes(state.reading)
    ? readingLayer(context, sample)
    : heatLayer(currentHeat(context, sample).heats, grid, state);
  if (layer) drawLayer(ctx, layer, size, state.reading !== 'kmeans');
  if (state.patches) drawPatches(ctx, grid, size);
}

function drawLayer(ctx, layer, { width, height }, smooth) {
  ctx.save();
  ctx.imageSmoothingEnabled = smooth;
  ctx.drawImage(layer, 0, 0, width, height);
  ctx.restore();
}

function drawPatches(ctx, [h, w], { width, height }) {
  ctx.save();
  ctx.strokeStyle = 'rgb(255 255 255 / 0.35)';
  ctx.lineWidth = Math.max(1, width / 1200);
  ctx.beginPath();
  for (let i = 1; i < w; i++) {
    ctx.moveTo((i * width) / w, 0);
    ctx.lineTo((i * width) / w, height);
  }
  for (let i = 1; i < h; i++) {
    ctx.moveTo(0, (i * height) / h);
    ctx.lineTo(width, (i * height) / h);
  }
  ctx.stroke();
  ctx.restore();
}

/** Return the part with the other readings, empty until it has come; `failure` says why it does not. */
function readingsOf({ scene, store }) {
  const memory = memoryOf({ scene });
  const got = (part) => {
    memory.readings = part;
    memory.hottest = Math.max(1, quantile(part.cls ?? [255], CLS_PERCENTILE));
    store.touch();
  };
  if (!memory.readings) {
    memory.readings = { coming: true };
    scene.readings().then(got, (error) => got({ failure: error.message }));
  }
  return memory.readings;
}

/** Return why the current reading cannot be shown yet, or at all: a sentence, or an empty text. */
export function readingNote(context) {
  const { state } = context.store;
  const { reading } = state;
  if (!PICTURE_READINGS.includes(reading)) return context.attention.failure(state) ?? '';
  const found = readingsOf(context);
  if (found.coming) return 'This reading is on its way.';
  return found.failure ?? (found[reading] ? '' : 'This backbone has no [CLS] token.');
}

/** Return PCA, CLS attention or k-means of one place in time as a canvas, or null while it comes. */
function readingLayer(context, sample) {
  const memory = memoryOf(context);
  const { state } = context.store;
  const { base } = context.scene;
  const values = readingsOf(context)[state.reading];
  if (!values) return null;
  const samples = base.analysed.length;
  if (state.reading === 'pca') return colourLayer(between(values, sample, samples), base.grid, state.heat);
  if (state.reading === 'kmeans') {
    const labels = between(values, Math.round(sample), samples);
    return colourLayer(coloursOfLabels(labels, base.colours), base.grid, state.heat);
  }
  const heat = { values: between(values, sample, samples), keep: null, colour: null, scale: 1 / memory.hottest };
  return heatLayer([heat], base.grid, state);
}

function coloursOfLabels(labels, colours) {
  return Uint8Array.from({ length: labels.length * 3 }, (_, i) => colours[labels[Math.floor(i / 3)] * 3 + (i % 3)]);
}
