// A writer of animated GIFs: 255 colours of its own for every frame, by median cut, and LZW.

const MOST_COLOURS = 256;
const SLOTS = 1 << 14; // of the hash table of LZW: four times its codes

/** Open a GIF that repeats: add(picture: ImageData, centiseconds) and finish(): Uint8Array. */
export function createGif(width, height) {
  const pieces = [Uint8Array.from([
    ...asciiBytes('GIF89a'), ...shortBytes(width), ...shortBytes(height), 0x70, 0, 0,
    0x21, 0xff, 11, ...asciiBytes('NETSCAPE2.0'), 3, 1, 0, 0, 0,
  ])];
  return {
    add({ data }, centiseconds) {
      const { palette, indices } = quantised(data);
      pieces.push(
        Uint8Array.from([0x21, 0xf9, 4, 4, ...shortBytes(centiseconds), 0, 0]),
        Uint8Array.from([0x2c, 0, 0, 0, 0, ...shortBytes(width), ...shortBytes(height), 0x87, ...palette, 8]),
        blocksOf(lzw(indices)),
      );
    },
    finish() {
      const all = [...pieces, Uint8Array.of(0x3b)];
      const file = new Uint8Array(all.reduce((sum, piece) => sum + piece.length, 0));
      let at = 0;
      for (const piece of all) {
        file.set(piece, at);
        at += piece.length;
      }
      return file;
    },
  };
}

function asciiBytes(text) {
  return [...text].map((letter) => letter.charCodeAt(0));
}

function shortBytes(value) {
  return [value & 255, (value >> 8) & 255];
}

/** Return the palette (256·3) of RGBA pixels, and the colour of every pixel in it. */
export function quantised(data) {
  const count = new Uint32Array(32768); // pixels of every colour of 15 bits
  for (let i = 0; i < data.length; i += 4) count[binOf(data, i)]++;
  const used = [];
  for (let bin = 0; bin < count.length; bin++) if (count[bin]) used.push(bin);
  const palette = new Uint8Array(MOST_COLOURS * 3);
  const place = new Uint8Array(32768);
  medianCut(used, count).forEach((box, i) => {
    const [weight, ...sums] = box.reduce(([n, ...rgb], bin) => [n + count[bin], ...rgb.map((sum, c) => sum + count[bin] * levelOf(bin, c))], [0, 0, 0, 0]);
    palette.set(sums.map((sum) => Math.round((sum / weight) * (255 / 31))), i * 3);
    for (const bin of box) place[bin] = i;
  });
  const indices = new Uint8Array(data.length / 4);
  for (let i = 0; i < indices.length; i++) indices[i] = place[binOf(data, i * 4)];
  return { palette, indices };
}

function binOf(data, i) {
  return ((data[i] >> 3) << 10) | ((data[i + 1] >> 3) << 5) | (data[i + 2] >> 3);
}

function levelOf(bin, channel) {
  return (bin >> (10 - 5 * channel)) & 31;
}

/** Divide colours into at most 256 boxes: always the one with most pixels times range, at its median. */
function medianCut(used, count) {
  const boxes = [boxOf(used, count)];
  while (boxes.length < MOST_COLOURS) {
    const at = boxes.reduce((best, box, i) => (box.cost > boxes[best].cost ? i : best), 0);
    const { bins, widest, cost } = boxes[at];
    if (!cost) break;
    bins.sort((a, b) => levelOf(a, widest) - levelOf(b, widest));
    const half = bins.reduce((sum, bin) => sum + count[bin], 0) / 2;
    let [end, sum] = [0, 0];
    while (end < bins.length - 1 && sum < half) sum += count[bins[end++]];
    boxes.splice(at, 1, boxOf(bins.slice(0, end), count), boxOf(bins.slice(end), count));
  }
  return boxes.map(({ bins }) => bins);
}

function boxOf(bins, count) {
  const ranges = [0, 1, 2].map((channel) => {
    let [low, high] = [31, 0];
    for (const bin of bins) {
      low = Math.min(low, levelOf(bin, channel));
      high = Math.max(high, levelOf(bin, channel));
    }
    return high - low;
  });
  const widest = ranges.indexOf(Math.max(...ranges));
  const pixels = bins.reduce((sum, bin) => sum + count[bin], 0);
  return { bins, widest, cost: bins.length > 1 ? Math.sqrt(pixels) * Math.max(...ranges) : 0 };
}

/** Return indices of 8 bits as LZW codes: bytes. */
function lzw(indices) {
  const out = new Uint8Array(indices.length * 2 + 16);
  const [keys, codes] = [new Int32Array(SLOTS), new Uint16Array(SLOTS)];
  let [at, held, bits, size, next] = [0, 0, 0, 9, 258];
  const put = (code) => {
    held |= code << bits;
    for (bits += size; bits >= 8; bits -= 8, held >>>= 8) out[at++] = held & 255;
  };
  put(256);
  let prefix = indices[0];
  for (let i = 1; i < indices.length; i++) {
    const key = ((prefix << 8) | indices[i]) + 1; // 0: an empty slot
    let slot = Math.imul(key, 0x9e3779b1) >>> 18;
    while (keys[slot] && keys[slot] !== key) slot = (slot + 1) & (SLOTS - 1);
    if (keys[slot] === key) {
      prefix = codes[slot];
      continue;
    }
    put(prefix);
    prefix = indices[i];
    if (next < 4096) {
      keys[slot] = key;
      codes[slot] = next;
      if (next++ === 1 << size) size++;
    } else {
      put(256);
      keys.fill(0);
      [size, next] = [9, 258];
    }
  }
  put(prefix);
  put(257);
  if (bits) out[at++] = held & 255;
  return out.subarray(0, at);
}

/** Return bytes in blocks of at most 255, each after its length, and an empty block. */
function blocksOf(bytes) {
  const count = Math.ceil(bytes.length / 255);
  const out = new Uint8Array(bytes.length + count + 1);
  for (let i = 0; i < count; i++) {
    const block = bytes.subarray(i * 255, (i + 1) * 255);
    out[i * 256] = block.length;
    out.set(block, i * 256 + 1);
  }
  return out;
}
