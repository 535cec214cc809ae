// Heat and colours of patches as pictures with a few pixels a patch, which a canvas then enlarges.
//
// h×w patches. heat: {values (h·w), keep (h·w) or null, colour [r, g, b] or null, scale, signed}.
import { neighbours } from './attention.js';
import { colourTable } from './colourmaps.js';

const LAYER_SIDE = 400; // pixels of the longer side, at most about: the canvas smooths the rest
const VEIL = [14, 14, 20]; // over patches that lie outside the mass
const VEIL_STRENGTH = 0.8; // of the heat's opacity

/**
 * Return heats as a canvas, which the next call may paint anew, or null for none. One heat is painted
 * in the colour map, each of several in its own colour; patches outside the mass of all of them lie
 * under a veil.
 */
export function heatLayer(heats, [h, w], { heat: opacity, colours, side = LAYER_SIDE }) {
  if (!heats.length) return null;
  const step = Math.min(Math.max(Math.round(side / Math.max(h, w)), 1), 12);
  const easel = easelOf(w * step, h * step);
  const { picture, canvas, ctx } = easel;
  const level = (i, values, scale, offset) => {
    easel.levels[i] = spread(values, [h, w], step, scale, offset, easel.levels[i]);
    return easel.levels[i];
  };
  const spreads = heats.map(({ values, scale, signed }, i) =>
    level(i, values, signed ? scale / 2 : scale, signed ? 0.5 : 0),
  );
  if (heats[0].colour) paintInColours(picture.data, spreads, heats, opacity);
  else paintInMap(picture.data, spreads[0], paintTable(colours, opacity, heats[0].signed));
  if (heats[0].keep) veil(picture.data, level(heats.length, keptByAny(heats), 1, 0), opacity);
  ctx.putImageData(picture, 0, 0);
  return canvas;
}

/** Return colours of patches (h·w·3) as a canvas of one pixel a patch. */
export function colourLayer(colours, [h, w], opacity) {
  const picture = new ImageData(w, h);
  for (let i = 0; i < h * w; i++) {
    for (let c = 0; c < 3; c++) picture.data[i * 4 + c] = colours[i * 3 + c];
    picture.data[i * 4 + 3] = 255 * opacity;
  }
  const canvas = new OffscreenCanvas(w, h);
  canvas.getContext('2d').putImageData(picture, 0, 0);
  return canvas;
}

/**
 * Return values (h·w) times scale plus offset, `step` pixels a patch, bilinear between centres.
 * out: an array of that size to fill, if there is one.
 */
export function spread(values, [h, w], step, scale, offset, out = new Float32Array(h * w * step * step)) {
  const rows = stopsOf(h, step);
  const { low, high, part } = stopsOf(w, step);
  const line = new Float32Array(w);
  let at = 0;
  for (let y = 0; y < rows.low.length; y++) {
    const [top, bottom, down] = [rows.low[y] * w, rows.high[y] * w, rows.part[y]];
    for (let x = 0; x < w; x++) {
      line[x] = (values[top + x] + down * (values[bottom + x] - values[top + x])) * scale + offset;
    }
    for (let x = 0; x < low.length; x++) {
      out[at++] = line[low[x]] + part[x] * (line[high[x]] - line[low[x]]);
    }
  }
  return out;
}

const STOPS = new Map(); // by side and step

/** Return the two patches around every pixel along a side, and the weight of the second. */
function stopsOf(side, step) {
  const key = side * 64 + step;
  if (STOPS.has(key)) return STOPS.get(key);
  const count = side * step;
  const stops = { low: new Int32Array(count), high: new Int32Array(count), part: new Float32Array(count) };
  for (let i = 0; i < count; i++) {
    [stops.low[i], stops.high[i], stops.part[i]] = neighbours((i + 0.5) / count, side);
  }
  STOPS.set(key, stops);
  return stops;
}

const EASELS = new Map(); // by size: few, since pictures and small maps take turns

/** Return what a picture of a size is painted with: {picture: ImageData, canvas, ctx, levels: []}. */
function easelOf(width, height) {
  const key = `${width} ${height}`;
  if (!EASELS.has(key)) {
    if (EASELS.size > 3) EASELS.delete(EASELS.keys().next().value);
    const canvas = new OffscreenCanvas(width, height);
    EASELS.set(key, { picture: new ImageData(width, height), canvas, ctx: canvas.getContext('2d'), levels: [] });
  }
  return EASELS.get(key);
}

/** Return colours and opacities of 256 levels; where it is cold the picture shows through. */
function paintTable(name, opacity, signed) {
  const table = colourTable(signed ? 'diverging' : name);
  return Uint8ClampedArray.from({ length: 1024 }, (_, i) => {
    const [row, channel] = [Math.floor(i / 4), i % 4];
    if (channel < 3) return table[row * 3 + channel];
    if (signed) return 255 * opacity * Math.min(1, 1.25 * Math.abs(row / 127.5 - 1));
    return 255 * opacity * (0.28 + 0.72 * Math.min(Math.max((2 * row) / 255 - 0.2, 0), 1));
  });
}

function paintInMap(data, levels, table) {
  const pixels = new Uint32Array(data.buffer);
  const colours = new Uint32Array(table.buffer);
  for (let i = 0; i < levels.length; i++) {
    const level = (levels[i] * 255) | 0;
    pixels[i] = colours[level < 0 ? 0 : level > 255 ? 255 : level];
  }
}

/** Paint every heat in its own colour; where several are hot, they share the place. */
function paintInColours(data, spreads, heats, opacity) {
  for (let i = 0; i < spreads[0].length; i++) {
    let [sum, red, green, blue] = [0, 0, 0, 0];
    for (let q = 0; q < spreads.length; q++) {
      const strength = Math.min(Math.max(spreads[q][i], 0), 1);
      const { colour } = heats[q];
      sum += strength;
      red += strength * colour[0];
      green += strength * colour[1];
      blue += strength * colour[2];
    }
    const part = 1 / Math.max(sum, 1e-6);
    data[i * 4] = red * part;
    data[i * 4 + 1] = green * part;
    data[i * 4 + 2] = blue * part;
    data[i * 4 + 3] = 255 * opacity * Math.min(1, 1.3 * sum);
  }
}

function keptByAny(heats) {
  return heats[0].keep.map((_, i) => Math.max(...heats.map(({ keep }) => keep[i])));
}

/** Darken what is not kept (0 … 1 at every pixel), with an edge half a patch wide. */
function veil(data, kept, opacity) {
  const strength = 255 * VEIL_STRENGTH * opacity;
  for (let i = 0; i < kept.length; i++) {
    const stays = Math.min(Math.max((kept[i] - 0.25) * 2, 0), 1);
    const [own, dark] = [data[i * 4 + 3] * stays, strength * (1 - stays)];
    const part = own / Math.max(own + dark, 1e-6);
    for (let c = 0; c < 3; c++) data[i * 4 + c] = part * data[i * 4 + c] + (1 - part) * VEIL[c];
    data[i * 4 + 3] = own + dark;
  }
}
