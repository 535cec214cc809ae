// Time: play and pause, a slider over all frames, a track per object, and attention over time.

import { clock, counted, h, iconButton, icon, setAttribute, setText, watchSize } from './dom.js';
import { clustersWithRole, currentCut, objectName } from './edits.js';
import { shareOverTime } from './heat.js';
import { cssOf } from './paint.js';
import { selectCluster } from './stage.js';
import { differs } from './state.js';

const LABELS = 116; // pixels on the left, for names
const ROW = 18; // pixels of a track
const STRIP = 36;
const AXIS = 26;
const LEAST_TICK = 56; // pixels between two times that are written

/** Fill an element with the timeline. */
export function createTimeline(context, element) {
  const { scene, store } = context;
  const play = iconButton('play', 'Play', () => togglePlay(context), { key: 'Space', filled: true });
  const now = h('span', { class: 'clock' });
  const total = h('span', { class: 'dim' });
  const arrived = h('span', { class: 'arrived dim' });
  const axis = h('canvas', { class: 'axis', height: AXIS });
  const slider = h('div', { class: 'scrub', role: 'slider', tabindex: 0, 'aria-label': 'Time' }, axis);
  const tracks = h('canvas', { class: 'rows', role: 'img' });
  const strips = h('canvas', { class: 'rows', role: 'img' });
  const scroll = h('div', { class: 'tracks', role: 'region', tabindex: 0, 'aria-label': 'Tracks of objects' }, tracks);
  const head = h('i', { class: 'playhead' });
  const lanes = h('div', { class: 'lanes' }, slider, scroll, strips, head);
  element.replaceChildren(h('div', { class: 'transport' }, play, now, total, h('span', { class: 'spacer' }), arrived), lanes);
  const parts = { play, now, total, arrived, axis, slider, tracks, strips, scroll, head, lanes, width: 0 };
  setText(total, `/ ${clock(endOf(scene.base) - scene.base.times[0])}`);
  const update = (state, previous) => {
    if (differs(state, previous, 'time')) showTime(context, parts);
    if (differs(state, previous, 'playing')) showPlaying(parts, state.playing);
    if (differs(state, previous, 'n', 'edits', 'hovered', 'selected', 'hidden', 'background')) paintTracks(context, parts);
    if (differs(state, previous, 'arrived', 'pins', 'hover', 'source', 'head', 'reading', 'scaleMax', 'view')) paintStrips(context, parts);
  };
  const everything = () => {
    paintAxis(context, parts);
    paintTracks(context, parts);
    paintStrips(context, parts);
    showTime(context, parts);
  };
  watchSize(lanes, (width) => {
    parts.width = width;
    everything();
  });
  scene.listen((name) => {
    if (name.startsWith('frame/')) paintAxis(context, parts);
  });
  store.subscribe(update);
  listenToScrub(context, parts);
  listenToTracks(context, parts);
  return playing(context);
}

function endOf({ end, times }) {
  return Math.max(end, times[times.length - 1] + 1e-3);
}

/** Return the place of a time on the axis, in pixels, and the other way round. */
function scaleOf({ base }, width) {
  const first = base.times[0];
  const room = Math.max(1, width - LABELS - 8);
  const all = endOf(base) - first;
  return {
    x: (seconds) => LABELS + ((seconds - first) / all) * room,
    seconds: (x) => first + Math.min(Math.max((x - LABELS) / room, 0), 1) * all,
  };
}

// ---- playing -----------------------------------------------------------------------------------

/** Play, from the start if the end is reached, or pause. */
export function togglePlay({ store, scene }) {
  const { playing: on, time } = store.state;
  const last = scene.base.times[scene.frames - 1];
  store.set({ playing: !on, ...(!on && time >= last - 1e-6 ? { time: scene.base.times[0] } : {}) });
}

/** Step so many frames from the one shown, and pause. */
export function stepFrames({ store, scene }, by) {
  const index = Math.min(Math.max(scene.frameAt(store.state.time) + by, 0), scene.frames - 1);
  store.set({ time: scene.secondsOf(index), playing: false });
}

/** Advance the time while the clip plays, at its own pace, over and over. */
function playing({ store, scene }) {
  let before = null;
  const first = scene.base.times[0];
  const tick = (stamp) => {
    if (!store.state.playing) { before = null; return; }
    if (before !== null) {
      const past = store.state.time + (stamp - before) / 1000;
      store.set({ time: past >= endOf(scene.base) ? first : past });
    }
    before = stamp;
    requestAnimationFrame(tick);
  };
  store.subscribe((state, previous) => {
    if (state.playing && !previous.playing) requestAnimationFrame(tick);
  });
}

function showPlaying({ play }, on) {
  play.replaceChildren(icon(on ? 'pause' : 'play', true));
  setAttribute(play, 'aria-label', on ? 'Pause' : 'Play');
  play.title = `${on ? 'Pause' : 'Play'} (Space)`;
}

function showTime({ scene, store }, { now, slider, head, width }) {
  const { time } = store.state;
  const index = scene.frameAt(time);
  setText(now, clock(scene.secondsOf(index) - scene.base.times[0]));
  head.style.transform = `translateX(${scaleOf(scene, width).x(time).toFixed(1)}px)`;
  setAttribute(slider, 'aria-valuemin', 1);
  setAttribute(slider, 'aria-valuemax', scene.frames);
  setAttribute(slider, 'aria-valuenow', index + 1);
  setAttribute(slider, 'aria-valuetext', `${clock(scene.secondsOf(index))}, frame ${index + 1} of ${scene.frames}`);
}

// ---- canvases ----------------------------------------------------------------------------------

function prepared(canvas, width, height) {
  const scale = devicePixelRatio || 1;
  const [wide, high] = [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
  if (canvas.width !== wide || canvas.height !== high) {
    canvas.width = wide;
    canvas.height = high;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const ctx = canvas.getContext('2d');
  ctx.setTransform(scale, 0, 0, scale, 0, 0);
  ctx.clearRect(0, 0, width, height);
  ctx.font = '11px system-ui, sans-serif';
  ctx.textBaseline = 'middle';
  const style = getComputedStyle(canvas);
  return { ctx, ink: (name) => style.getPropertyValue(`--${name}`).trim() || '#888' };
}

function paintAxis({ scene }, { axis, arrived, width }) {
  const { base, ready, frames } = scene;
  const { ctx, ink } = prepared(axis, width, AXIS);
  const { x } = scaleOf(scene, width);
  setText(arrived, arrivedWords(scene));
  ctx.fillStyle = ink('track');
  ctx.beginPath();
  ctx.roundRect(LABELS, 17, x(endOf(base)) - LABELS, 4, 2);
  ctx.fill();
  ctx.fillStyle = ink('arrived');
  for (const i of ready) {
    const until = i + 1 < frames ? base.times[i + 1] : endOf(base);
    ctx.fillRect(x(base.times[i]), 17, Math.max(1, x(until) - x(base.times[i]) + 0.5), 4);
  }
  ctx.fillStyle = ink('accent');
  for (const i of base.analysed) ctx.fillRect(x(base.times[i]), 15, 1.5, 8);
  paintTicks(ctx, ink, base, x, width);
}

function arrivedWords({ base, ready, frames, failures, expected }) {
  const analysed = base.analysed.length;
  if (ready.size === frames) return `${counted(frames, 'frame')}, ${analysed} analysed`;
  const failed = [...failures.keys()].filter((name) => name.startsWith('frame/')).length;
  if (ready.size === expected) return `${ready.size} of ${frames} frames, those that were analysed`;
  if (failed && ready.size + failed === frames) return `${ready.size} of ${frames} frames; the others could not be loaded`;
  return `${ready.size} of ${frames} frames loaded`;
}

function paintTicks(ctx, ink, base, x, width) {
  const first = base.times[0];
  const all = endOf(base) - first;
  const most = Math.max(1, Math.floor((width - LABELS) / LEAST_TICK));
  const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300].find((every) => all / every <= most) ?? 600;
  ctx.fillStyle = ink('dim');
  for (let i = 0; i * step <= all + 1e-6; i++) {
    const at = x(first + i * step);
    if (at > width - 22) break;
    ctx.fillText(step < 1 ? (i * step).toFixed(1) : clockShort(i * step), at, 7);
  }
  ctx.textAlign = 'right';
  ctx.fillText('seconds', LABELS - 12, 7);
  ctx.textAlign = 'left';
}

function clockShort(seconds) {
  return seconds < 60 ? String(seconds) : `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
}

/** Return the times between which each analysed frame stands for the clip: Float64Array(T + 1). */
function bordersOf(base) {
  const { analysed, times } = base;
  const borders = new Float64Array(analysed.length + 1);
  borders[0] = times[0];
  for (let t = 1; t < analysed.length; t++) borders[t] = (times[analysed[t - 1]] + times[analysed[t]]) / 2;
  borders[analysed.length] = endOf(base);
  return borders;
}

function paintTracks(context, parts) {
  const { scene, store } = context;
  const cut = currentCut(context);
  const objects = clustersWithRole(cut, 'object');
  parts.objects = objects;
  const { ctx, ink } = prepared(parts.tracks, parts.width, Math.max(1, objects.length) * ROW);
  const { x } = scaleOf(scene, parts.width);
  const edges = Array.from(bordersOf(scene.base), x);
  const { selected, hovered, hidden } = store.state;
  objects.forEach((cluster, row) => {
    const marked = cluster === hovered || selected.includes(cluster);
    if (marked) {
      ctx.fillStyle = ink('marked');
      ctx.fillRect(0, row * ROW, parts.width, ROW);
    }
    ctx.globalAlpha = hidden.includes(cluster) ? 0.35 : 1;
    paintTrack(ctx, cut, cluster, edges, row * ROW, cssOf(context, cut, cluster));
    ctx.fillStyle = ink(marked ? 'text' : 'dim');
    ctx.textAlign = 'right';
    ctx.fillText(shortened(ctx, objectName(cut, cluster), LABELS - 16), LABELS - 12, row * ROW + ROW / 2);
    ctx.globalAlpha = 1;
  });
  setAttribute(parts.tracks, 'aria-label', `Where objects are present: ${objects.map((i) => objectName(cut, i)).join(', ')}`);
}

function paintTrack(ctx, cut, cluster, edges, top, colour) {
  const samples = edges.length - 1;
  const counts = cut.counts.subarray(cluster * samples, (cluster + 1) * samples);
  const most = counts.reduce((a, b) => Math.max(a, b), 1);
  ctx.fillStyle = colour;
  counts.forEach((count, t) => {
    if (!count) return;
    const high = 3 + Math.sqrt(count / most) * (ROW - 8);
    ctx.fillRect(edges[t], top + (ROW - high) / 2, edges[t + 1] - edges[t] + 0.4, high);
  });
}

function shortened(ctx, text, room) {
  if (ctx.measureText(text).width <= room) return text;
  let kept = text.length;
  while (kept > 1 && ctx.measureText(`${text.slice(0, kept)}…`).width > room) kept--;
  return `${text.slice(0, kept)}…`;
}

function paintStrips(context, { strips, width }) {
  const { scene, store } = context;
  strips.hidden = !store.state.pins.length && !['attention', 'both'].includes(store.state.view);
  if (strips.hidden) return;
  const { lines, uniform, low, high, name } = shareOverTime(context);
  const { ctx, ink } = prepared(strips, width, STRIP);
  const { x } = scaleOf(scene, width);
  const y = (value) => 4 + (1 - (Math.min(Math.max(value, low), high) - low) / (high - low || 1)) * (STRIP - 8);
  ctx.strokeStyle = ink('line');
  if (uniform !== null) {
    ctx.setLineDash([3, 3]);
    polyline(ctx, [[LABELS, y(uniform)], [x(endOf(scene.base)), y(uniform)]]);
    ctx.setLineDash([]);
  }
  for (const { colour, shares } of lines) {
    ctx.strokeStyle = colour ? `rgb(${colour.join(' ')})` : ink('text');
    ctx.lineWidth = colour ? 1.75 : 1.25;
    polyline(ctx, Array.from(shares, (share, t) => [x(scene.base.times[scene.base.analysed[t]]), y(share)]));
  }
  ctx.fillStyle = ink('dim');
  ctx.textAlign = 'right';
  ctx.fillText(shortened(ctx, name, LABELS - 16), LABELS - 12, STRIP / 2);
  setAttribute(strips, 'aria-label', `${name} over time`);
}

function polyline(ctx, points) {
  ctx.beginPath();
  points.forEach(([x, y], i) => (i ? ctx.lineTo(x, y) : ctx.moveTo(x, y)));
  ctx.stroke();
}

// ---- pointer and keys --------------------------------------------------------------------------

function listenToScrub(context, { slider, lanes }) {
  const { store, scene } = context;
  const seek = (event) => {
    const x = event.clientX - lanes.getBoundingClientRect().left;
    store.set({ time: scene.secondsOf(scene.frameAt(scaleOf(scene, lanes.clientWidth).seconds(x))), playing: false });
  };
  slider.addEventListener('pointerdown', (event) => {
    slider.setPointerCapture(event.pointerId);
    seek(event);
  });
  slider.addEventListener('pointermove', (event) => { if (slider.hasPointerCapture(event.pointerId)) seek(event); });
  slider.addEventListener('keydown', (event) => {
    const far = scene.frames;
    const step = { ArrowUp: 1, ArrowDown: -1, PageUp: 10, PageDown: -10, Home: -far, End: far }[event.key];
    if (!step || event.shiftKey) return;
    stepFrames(context, step);
    event.preventDefault();
    event.stopPropagation();
  });
}

function listenToTracks(context, parts) {
  const at = (event) => parts.objects[Math.floor(event.offsetY / ROW)] ?? null;
  parts.tracks.addEventListener('pointermove', (event) => context.store.set({ hovered: at(event) }));
  parts.tracks.addEventListener('pointerleave', () => context.store.set({ hovered: null }));
  parts.tracks.addEventListener('click', (event) => {
    const cluster = at(event);
    if (cluster !== null) selectCluster(context, cluster, event.shiftKey);
  });
}
