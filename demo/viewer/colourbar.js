// The colour bar: what the colours of the heat mean in numbers.
import { gradientOf } from './colourmaps.js';
import { h, setText } from './dom.js';
import { heatLegend } from './heat.js';

/** Create the bar: {element, show(state)}. */
export function createColourBar(context) {
  const bar = h('div', { class: 'bar' });
  const uniform = h('i', { class: 'uniform', title: 'uniform attention' });
  const [cold, middle, hot] = [h('span', {}), h('span', {}), h('span', {})];
  const element = h('div', { class: 'colour-bar', role: 'img' }, h('div', { class: 'bar-line' }, bar, uniform), h('div', { class: 'ticks' }, cold, middle, hot));
  let painted = null; // the colour map in the bar
  const show = (state) => {
    const legend = heatLegend(context);
    element.hidden = !legend;
    if (!legend) return;
    if (painted !== legend.colours) bar.style.background = gradientOf(legend.colours);
    painted = legend.colours;
    uniform.hidden = !legend.uniform;
    if (legend.signed) {
      setText(cold, '−1');
      setText(middle, 'cosine similarity');
      setText(hot, '1');
    } else if (!legend.uniform) {
      setText(cold, '0');
      setText(middle, 'of the attention of [CLS] in its frame');
      setText(hot, percent(legend.top));
    } else {
      const times = legend.top / legend.uniform;
      uniform.style.left = `${Math.min(100, 100 / times)}%`;
      setText(cold, '0');
      setText(middle, `┃ uniform: ${percent(legend.uniform)} a patch`);
      setText(hot, `${timesOf(times)} × uniform = ${percent(legend.top)}`);
    }
    element.setAttribute('aria-label', `Colours from ${cold.textContent} to ${hot.textContent}; ${state.reading}`);
  };
  return { element, show };
}

function timesOf(times) {
  return times < 10 ? times.toFixed(1) : String(Math.round(times));
}

/** Return a share in per cent with two digits that count. */
export function percent(share) {
  const value = 100 * share;
  if (!(value > 0)) return '0 %';
  return `${value >= 10 ? value.toFixed(0) : Number(value.toPrecision(2))} %`;
}
