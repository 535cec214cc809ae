// A row of small maps, one a head: a click chooses the head.
import { rowOfHead } from './attention.js';
import { h, setText } from './dom.js';
import { placeInTime, shownPoints } from './heat.js';
import { heatLayer } from './heatlayer.js';
import { between, topOfScale } from './scale.js';

const WIDE = 76; // pixels of a map, at most
const REST = 70; // milliseconds without a change before the maps follow, so that they never hold up the picture

/** Create the row: {element, show(state)}. */
export function createHeads(context) {
  const { scene, store } = context;
  const [ph, pw] = scene.base.preview;
  const size = [WIDE, Math.round((WIDE * ph) / pw)];
  const maps = h('div', { class: 'head-maps', role: 'group', 'aria-label': 'Head' });
  const hint = h('p', { class: 'meaning' });
  const element = h('div', { class: 'heads' }, maps, hint);
  let buttons = [];
  let painted = ''; // what the maps show
  let timer = 0;
  const show = (state) => {
    const count = scene.base.sources.find(({ name }) => name === state.source)?.heads ?? 1;
    element.hidden = state.reading !== 'attention' || count < 2;
    if (element.hidden) return;
    if (buttons.length !== count + 1) {
      buttons = Array.from({ length: count + 1 }, (_, i) => headButton(i - 1, size, () => store.set({ head: i - 1 })));
      maps.replaceChildren(...buttons.map(({ button }) => button));
      painted = '';
    }
    buttons.forEach(({ button }, i) => button.setAttribute('aria-pressed', String(state.head === i - 1)));
    const [point] = shownPoints(context).slice(-1);
    const rows = point && context.attention.rows(state, point);
    const wait = point ? 'The attention of this source is on its way.' : 'Point at the picture to see what each head attends to.';
    setText(hint, rows || context.attention.failure(state) ? '' : wait);
    const now = rows ? `${state.source} ${state.block} ${point.sample} ${point.y} ${point.x} ${state.time} ${state.colours}` : '';
    if (!rows || now === painted) return;
    painted = now;
    clearTimeout(timer);
    timer = setTimeout(() => paintHeads(context, buttons, rows, count, size), REST);
  };
  return { element, show };
}

function headButton(head, [width, height], run) {
  const canvas = h('canvas', { width: width * 2, height: height * 2, 'aria-hidden': 'true' });
  const words = head < 0 ? 'Mean' : String(head);
  const button = h('button', { type: 'button', 'aria-label': head < 0 ? 'Mean of all heads' : `Head ${head}`, onclick: run }, canvas, h('span', {}, words));
  return { button, canvas };
}

function paintHeads({ scene, store }, buttons, rows, count, [width, height]) {
  const { state } = store;
  const { base } = scene;
  const sample = placeInTime(base, state.time);
  const picture = scene.frame(scene.nearestReady(scene.frameAt(state.time)));
  buttons.forEach(({ canvas }, i) => {
    const row = rowOfHead(rows, count, i - 1);
    const values = between(row, sample, base.analysed.length);
    const heat = { values, keep: null, colour: null, scale: 1 / topOfScale(row, state.scaleMax) };
    const ctx = canvas.getContext('2d');
    if (picture) ctx.drawImage(picture.bitmap, 0, 0, 2 * width, 2 * height);
    ctx.fillStyle = 'rgb(0 0 0 / 0.55)'; // so small, the heat must stand out
    ctx.fillRect(0, 0, 2 * width, 2 * height);
    ctx.drawImage(heatLayer([heat], base.grid, { heat: 0.9, colours: state.colours, side: 2 * width }), 0, 0, 2 * width, 2 * height);
  });
}
