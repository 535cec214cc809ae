// Heat and colours of patches as pictures with a few pixels a patch, which a canvas then enlarges.
//
// h×w patches. heat: {values (h·w), keep (h·w) or null, colour [r, g, b] or null, scale, signed}.
import { neighbours } from './attention.js';
import { colourTable } from './colourmaps.js';

const LAYER_SIDE = 400; // pixels of the longer side, at most about: the canvas smooths the rest
const VEIL = [14, 14, 20]; // over patches that lie outside the mass
const VEIL_STRENGTH = 0.8; // of the heat's opacity

/**
 * Return heats as a canvas, or null for none. One heat is painted in the colour map, each of several in
 * its own colour; patches outside the mass of all of them lie under a veil.
 */
export function heatLayer(heats, [h, w], { heat: opacity, colours, side = LAYER_SIDE }) {
  if (!heats.length) return null;
  const step = Math.min(Math.max(Math.round(side / Math.max(h, w)), 1), 12);
  const picture = new ImageData(w * step, h * step);
  const spreads = heats.map(({ values, scale, signed }) =>
    spread(values, [h, w], step, signed ? scale / 2 : scale, signed ? 0.5 : 0),
  );
  if (heats[0].colour) paintInColours(picture.data, spreads, heats, opacity);
  else paintInMap(picture.data, spreads[0], paintTable(colours, opacity, heats[0].signed));
  if (heats[0].keep) veil(picture.data, spread(keptByAny(heats), [h, w], step, 1, 0), opacity);
  return canvasOf(picture);
}

/** Return colours of patches (h·w·3) as a canvas of one pixel a patch. */
export function colourLayer(colours, [h, w], opacity) {
  const picture = new ImageData(w, h);
  for (let i = 0; i < h * w; i++) {
    for (let c = 0; c < 3; c++) picture.data[i * 4 + c] = colours[i * 3 + c];
    picture.data[i * 4 + 3] = 255 * opacity;
  }
  return canvasOf(picture);
}

function canvasOf(picture) {
  const canvas = new OffscreenCanvas(picture.width, picture.height);
  canvas.getContext('2d').putImageData(picture, 0, 0);
  return canvas;
}

/** Return values (h·w) times scale plus offset, `step` pixels a patch, bilinear between centres. */
export function spread(values, [h, w], step, scale, offset) {
  const width = w * step;
  const out = new Float32Array(h * step * width);
  const columns = stopsOf(w, step);
  const line = new Float32Array(w);
  let at = 0;
  for (const [top, bottom, down] of stopsOf(h, step)) {
    for (let x = 0; x < w; x++) {
      const value = values[top * w + x];
      line[x] = (value + down * (values[bottom * w + x] - value)) * scale + offset;
    }
    for (let x = 0; x < width; x++) {
      const [left, right, across] = columns[x];
      out[at++] = line[left] + across * (line[right] - line[left]);
    }
  }
  return out;
}

function stopsOf(side, step) {
  return Array.from({ length: side * step }, (_, i) => neighbours((i + 0.5) / (side * step), side));
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
