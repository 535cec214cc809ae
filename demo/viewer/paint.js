// Pictures with objects over them: leaf maps through tables of colours.
//
// A code of a pixel is twice its cluster, plus 1 on a border; a table holds a colour per code.

import { clustersWithRole, currentCut, objectName } from './edits.js';
import { paintHeat, placeInTime } from './heat.js';

const GREY = [150, 150, 150]; // background, unless it is coloured
const TAG_AREA = 0.0015; // of the picture: smaller objects have no name tag
const STEP = 3; // pixels: places of name tags are found on every third

const CODES = new WeakMap(); // by frame: {cut, codes}

/** Return the code of every preview pixel of a frame in the current cut: Uint16Array. */
export function codesOf(context, frame) {
  const cut = currentCut(context);
  const known = CODES.get(frame);
  if (known?.cut === cut) return known.codes;
  const [height, width] = context.scene.base.preview;
  const codes = known?.codes ?? new Uint16Array(width * height);
  labelPixels(codes, frame, cut, context.scene.base.seams);
  markBorders(codes, width, height);
  CODES.set(frame, { cut, codes, places: null });
  return codes;
}

/** A seam gets no pixels while it is background: they go to the best of the other leaves. */
function labelPixels(codes, { leaf, solid }, cut, seams) {
  const code = Uint16Array.from(cut.leafCluster, (cluster) => 2 * cluster);
  const gone = Uint8Array.from(seams, (seam, i) => seam && cut.background[cut.leafCluster[i]]);
  for (let p = 0; p < codes.length; p++) {
    const own = leaf[p];
    codes[p] = code[gone[own] ? solid[p] : own];
  }
}

function markBorders(codes, width, height) {
  const last = (height - 1) * width;
  for (let y = 0, p = 0; y < height; y++) {
    for (let x = 0; x < width; x++, p++) {
      const own = codes[p] >> 1;
      if ((x > 0 && codes[p - 1] >> 1 !== own) || (x + 1 < width && codes[p + 1] >> 1 !== own)
        || (p >= width && codes[p - width] >> 1 !== own) || (p < last && codes[p + width] >> 1 !== own)) {
        codes[p] |= 1;
      }
    }
  }
}

/** Return the cluster at a place (0 … 1) of a frame that can be shown, or null. */
export function clusterAt(context, index, y, x) {
  const frame = context.scene.frame(index);
  if (!frame) return null;
  const [height, width] = context.scene.base.preview;
  const row = Math.min(Math.floor(y * height), height - 1);
  const column = Math.min(Math.floor(x * width), width - 1);
  return codesOf(context, frame)[row * width + column] >> 1;
}

/** Return the colour of a cluster, [red, green, blue]. */
export function colourOf({ scene: { base }, store }, cut, cluster) {
  if (cut.background[cluster] && !store.state.background) return GREY;
  const i = 3 * (cluster % 255);
  return [base.colours[i], base.colours[i + 1], base.colours[i + 2]];
}

/** Return the colour of a cluster as CSS. */
export function cssOf(context, cut, cluster) {
  return `rgb(${colourOf(context, cut, cluster).join(' ')})`;
}

function packed([red, green, blue], alpha) {
  return ((Math.round(alpha * 255) << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

/** Return the tables of a state: colours of codes, and which codes lose their saturation. */
function tablesOf(context, cut, state) {
  const colours = new Uint32Array(2 * cut.clusters);
  const pale = new Uint32Array(2 * cut.clusters);
  const selected = new Set(state.selected.filter((i) => cut.sizes[i] > 0));
  const hidden = new Set(state.hidden);
  const fills = state.style !== 'outlines' && state.view !== 'both';
  const lines = state.style !== 'fills';
  for (let cluster = 0; cluster < cut.clusters; cluster++) {
    const aside = selected.size > 0 && !selected.has(cluster);
    const chosen = selected.has(cluster) || state.hovered === cluster;
    const seen = (!cut.background[cluster] || state.background || chosen) && !hidden.has(cluster);
    const rgb = colourOf(context, cut, cluster);
    const strength = aside ? 0.35 : 1;
    const fill = fills && seen ? state.opacity * strength * (cut.background[cluster] ? 0.6 : 1) : 0;
    colours[2 * cluster] = packed(rgb, fill);
    colours[2 * cluster + 1] = seen && lines ? packed(rgb, aside ? 0.5 : 1) : colours[2 * cluster];
    if (state.hovered === cluster) colours[2 * cluster + 1] = packed([255, 255, 255], 1);
    if (aside) pale.fill(packed([40, 40, 40], 0.8), 2 * cluster, 2 * cluster + 2);
  }
  return { colours, pale: selected.size ? pale : null };
}

const LAYERS = new WeakMap(); // by scene: a canvas of preview size and its pixels

function layerOf(scene) {
  if (!LAYERS.has(scene)) {
    const canvas = document.createElement('canvas');
    [canvas.height, canvas.width] = scene.base.preview;
    const ctx = canvas.getContext('2d');
    const image = ctx.createImageData(canvas.width, canvas.height);
    LAYERS.set(scene, { canvas, ctx, image, pixels: new Uint32Array(image.data.buffer) });
  }
  return LAYERS.get(scene);
}

function drawCodes(scene, ctx, codes, table, [width, height]) {
  const { canvas, ctx: small, image, pixels } = layerOf(scene);
  for (let p = 0; p < pixels.length; p++) pixels[p] = table[codes[p]];
  small.putImageData(image, 0, 0);
  ctx.drawImage(canvas, 0, 0, width, height);
}

/**
 * Paint a frame of the clip as the state of a context shows it. Return whether the frame was there.
 * @param {CanvasRenderingContext2D} ctx
 * @param {[number, number]} size width and height to fill, from 0, 0
 */
export function paintFrame(context, ctx, size, index) {
  const { state } = context.store;
  const { base } = context.scene;
  const frame = context.scene.frame(index);
  if (!frame) return false;
  const [width, height] = size;
  ctx.imageSmoothingEnabled = true;
  ctx.imageSmoothingQuality = 'low';
  ctx.drawImage(frame.bitmap, 0, 0, width, height);
  if (state.view === 'original') return true;
  ctx.save();
  if (state.divider !== null) {
    ctx.beginPath();
    ctx.rect(state.divider * width, 0, width, height);
    ctx.clip();
  }
  if (state.view !== 'objects') paintHeat(context, ctx, placeInTime(base, base.times[index]), { width, height });
  if (state.view !== 'attention') paintObjects(context, ctx, size, frame, state);
  ctx.restore();
  return true;
}

function paintObjects(context, ctx, size, frame, state) {
  const cut = currentCut(context);
  const codes = codesOf(context, frame);
  const { colours, pale } = tablesOf(context, cut, state);
  if (pale && state.view === 'objects') {
    ctx.globalCompositeOperation = 'saturation';
    drawCodes(context.scene, ctx, codes, pale, size);
    ctx.globalCompositeOperation = 'source-over';
  }
  drawCodes(context.scene, ctx, codes, colours, size);
  paintTags(context, ctx, size, frame, cut, state);
}

// ---- name tags ---------------------------------------------------------------------------------

/** Return the top of every cluster in a frame: {y, x} in pixels, and its area in places. */
function placesOf(context, frame) {
  const codes = codesOf(context, frame);
  const known = CODES.get(frame);
  if (known.places) return known.places;
  const [height, width] = context.scene.base.preview;
  const count = currentCut(context).clusters;
  const places = { area: new Float64Array(count), x: new Float64Array(count), y: new Float64Array(count).fill(height) };
  for (let y = 1; y < height; y += STEP) {
    for (let x = 1; x < width; x += STEP) {
      const cluster = codes[y * width + x] >> 1;
      places.area[cluster]++;
      places.x[cluster] += x;
      if (y < places.y[cluster]) places.y[cluster] = y;
    }
  }
  known.places = places;
  return places;
}

function paintTags(context, ctx, [width, height], frame, cut, state) {
  const places = placesOf(context, frame);
  const [rows, columns] = context.scene.base.preview;
  const least = (TAG_AREA * rows * columns) / STEP ** 2;
  const tagged = state.tags ? clustersWithRole(cut, 'object').filter((i) => !state.hidden.includes(i)) : [];
  const scale = Math.max(1, width / (ctx.canvas.clientWidth || width)); // device pixels
  ctx.font = `500 ${Math.round(12 * scale)}px system-ui, sans-serif`;
  ctx.textBaseline = 'middle';
  const taken = [];
  const named = state.hovered === null ? tagged : [state.hovered, ...tagged.filter((i) => i !== state.hovered)];
  for (const cluster of named) {
    if (!(places.area[cluster] > (cluster === state.hovered ? 0 : least))) continue;
    const x = (places.x[cluster] / places.area[cluster] / columns) * width;
    const y = (places.y[cluster] / rows) * height;
    const aside = state.selected.length > 0 && !state.selected.includes(cluster) && cluster !== state.hovered;
    paintTag(ctx, objectName(cut, cluster), x, y, scale, { limit: [width, height], taken, aside, colour: cssOf(context, cut, cluster) });
  }
}

function paintTag(ctx, text, x, y, scale, { limit, taken, aside, colour }) {
  const high = 20 * scale;
  const wide = ctx.measureText(text).width + 22 * scale;
  const left = Math.min(Math.max(x - wide / 2, 2 * scale), limit[0] - wide - 2 * scale);
  let top = Math.min(Math.max(y - high - 4 * scale, 2 * scale), limit[1] - high - 2 * scale);
  const hits = ([l, t, w]) => left < l + w && l < left + wide && top < t + high && t < top + high;
  for (let tries = 0; tries < 4 && taken.some(hits); tries++) top += high + 2 * scale;
  taken.push([left, top, wide]);
  ctx.globalAlpha = aside ? 0.55 : 1;
  ctx.fillStyle = 'rgb(15 23 42 / 0.82)';
  ctx.beginPath();
  ctx.roundRect(left, top, wide, high, 4 * scale);
  ctx.fill();
  ctx.fillStyle = colour;
  ctx.beginPath();
  ctx.arc(left + 10 * scale, top + high / 2, 4 * scale, 0, 7);
  ctx.fill();
  ctx.fillStyle = '#fff';
  ctx.fillText(text, left + 17 * scale, top + high / 2 + 0.5 * scale);
  ctx.globalAlpha = 1;
}

/** Paint a cut-out of a cluster from a frame into a small canvas. Return whether it is in it. */
export function paintCutOut(context, canvas, frame, cluster) {
  const codes = codesOf(context, frame);
  const [rows, columns] = context.scene.base.preview;
  const box = [columns, rows, -1, -1];
  for (let y = 0; y < rows; y += 2) {
    for (let x = 0; x < columns; x += 2) {
      if (codes[y * columns + x] >> 1 !== cluster) continue;
      box[0] = Math.min(box[0], x);
      box[1] = Math.min(box[1], y);
      box[2] = Math.max(box[2], x + 2);
      box[3] = Math.max(box[3], y + 2);
    }
  }
  const ctx = canvas.getContext('2d');
  ctx.clearRect(0, 0, canvas.width, canvas.height);
  if (box[2] < 0) return false;
  const [wide, high] = [box[2] - box[0], box[3] - box[1]];
  const scale = Math.min(canvas.width / wide, canvas.height / high, 2);
  const at = [(canvas.width - wide * scale) / 2, (canvas.height - high * scale) / 2, wide * scale, high * scale];
  const table = new Uint32Array(2 * currentCut(context).clusters);
  table.fill(0xffffffff, 2 * cluster, 2 * cluster + 2);
  const { canvas: layer, ctx: small, image, pixels } = layerOf(context.scene);
  for (let p = 0; p < pixels.length; p++) pixels[p] = table[codes[p]];
  small.putImageData(image, 0, 0);
  ctx.drawImage(layer, box[0], box[1], wide, high, ...at);
  ctx.globalCompositeOperation = 'source-in';
  ctx.drawImage(frame.bitmap, box[0], box[1], wide, high, ...at);
  ctx.globalCompositeOperation = 'source-over';
  return true;
}
