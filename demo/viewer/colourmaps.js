// Colour maps for heat: 33 colours each, from cold to hot, and what lies between is interpolated (as
// good as the 256 rows of bavos_core/data/colour-maps to 2 of 255). Inferno, viridis and magma are by
// N. Smith, S. van der Walt and E. Firing, CC0; turbo is by A. Mikhailov, Apache 2.0.
const ANCHORS = {
  inferno:
    '0000040403120b0724150b37210c4a2e0a5a3c09654a0c6b57106d63146e70196e7d1e6d89226a962766a32b61af315c' +
    'bb3755c63e4dd14644db4f3be35932eb6528f1711ef67f14f98d0afb9c06fcab0ffbba1ff9ca32f5d949f2e865f3f586fcffa4',
  viridis:
    '440154470d6048186a482374472d7b4536814240863f49893b528b375a8d33638d2f6a8e2c728e297a8e26818e23898e' +
    '21908c1f988b1f9f8821a68528ae8031b57b3ebc744cc26c5dc9636ece5882d34c96d83fabdc32c0df24d5e21aeae51afde725',
  magma:
    '0000040303110a0822130d331d114628115a36106a430f7650127c5d177f691c817621818226818f2a819c2e7fa9327d' +
    'b63779c33b75cf4170db486ae65163ee5c5ef5695cf9785dfb8761fd9668fea571feb47bfec387fed194fde0a2fceeb0fcfdbf',
  turbo:
    '30123b392a734040a14456c7466be3467ff64293ff37a7fa29bbec1dcdd818dcc31ee8b031f2994cf97e6bfd648aff4d' +
    'a3fd3cb8f735cced34dee037edd03af8c03afdae35fe982cfb8022f56817ec520fe04009d23105c02302ac1701950d017a0403',
  gray: '000000ffffff',
  diverging: '2166ac4393c392c5def4a582d6604db2182b', // for similarities; from ColorBrewer's RdBu, Apache 2.0
};
const tables = new Map();

export const COLOUR_MAPS = ['inferno', 'viridis', 'magma', 'turbo', 'gray'];

/** Return the colours of a map from cold to hot: Uint8Array(256·3). */
export function colourTable(name) {
  if (!tables.has(name)) tables.set(name, tableOf(ANCHORS[name] ?? ANCHORS.inferno));
  return tables.get(name);
}

function tableOf(anchors) {
  const colours = anchors.match(/../g).map((hex) => parseInt(hex, 16));
  const last = colours.length / 3 - 1;
  return Uint8Array.from({ length: 768 }, (_, i) => {
    const place = (Math.floor(i / 3) / 255) * last;
    const low = Math.min(Math.floor(place), last - 1);
    const [cold, hot] = [colours[low * 3 + (i % 3)], colours[low * 3 + 3 + (i % 3)]];
    return Math.round(cold + (place - low) * (hot - cold));
  });
}

/** Return a map as a CSS gradient, for colour bars; towards: 'right' or 'top'. */
export function gradientOf(name, towards = 'right') {
  const table = colourTable(name);
  const stops = Array.from({ length: 17 }, (_, i) => {
    const at = Math.round((i / 16) * 255) * 3;
    return `rgb(${table[at]} ${table[at + 1]} ${table[at + 2]})`;
  });
  return `linear-gradient(to ${towards}, ${stops.join(', ')})`;
}
