// The current view over the clip as a file: a film, where the browser can write one, or a GIF.
import { h, setText } from './dom.js';
import { createGif } from './gif.js';
import { paintFrame } from './paint.js';

const FILM_TYPES = ['video/mp4;codecs=avc1.42E01F', 'video/mp4', 'video/webm;codecs=vp9', 'video/webm'];
const GIF_SIDE = 480; // pixels of the longer side
const GIF_RATE = 10; // frames a second, at most: a GIF of more is large
const FILM_BITS = 8e6; // a second
const PATIENCE = 15000; // milliseconds that a frame may take to come

/** Fill an element with the buttons of the recorder. */
export function createRecorder(context, element) {
  if (!element) return;
  const film = FILM_TYPES.find((type) => globalThis.MediaRecorder?.isTypeSupported(type));
  const progress = h('progress', { max: 1, value: 0, 'aria-label': 'Recording', hidden: true });
  const said = h('span', { class: 'said' });
  const job = { cancelled: false };
  const cancel = h('button', { type: 'button', class: 'small', hidden: true, onclick: () => { job.cancelled = true; } }, 'Cancel');
  const buttons = [];
  const start = (write, ending) => async () => {
    job.cancelled = false;
    for (const button of buttons) button.hidden = true;
    for (const part of [progress, cancel]) part.hidden = false;
    setText(said, '');
    context.store.set({ playing: false });
    const told = (part) => {
      progress.value = part;
      if (job.cancelled) throw new Error('');
    };
    try {
      saveFile(await write(context, told), `${nameOf(context)}.${ending}`);
      context.say?.(`The ${ending} was saved.`);
    } catch (error) {
      setText(said, error.message);
    }
    for (const button of buttons) button.hidden = false;
    for (const part of [progress, cancel]) part.hidden = true;
  };
  const button = (words, title, run) => buttons.push(h('button', { type: 'button', class: 'small', title, 'aria-label': `Record as ${words}`, onclick: run }, words));
  if (film) {
    const ending = film.startsWith('video/mp4') ? 'mp4' : 'webm';
    button(ending.toUpperCase(), 'Record this view over the whole clip, as a film', start((own, told) => recordFilm(own, told, film), ending));
  }
  button('GIF', `Record this view over the whole clip, as a GIF of at most ${GIF_SIDE} pixels`, start(recordGif, 'gif'));
  element.replaceChildren(...buttons, progress, cancel, said);
}

function nameOf({ scene, store }) {
  return `${scene.base.name.replace(/\.[^.]*$/, '')}-${store.state.view}`;
}

function saveFile(blob, name) {
  const link = h('a', { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

/** Return a canvas for the view, and the moments that are painted: {index, seconds shown}. */
export function momentsOf({ times, end }, rate) {
  const moments = [];
  for (let i = 0; i < times.length; i++) {
    const last = moments.at(-1);
    if (last && times[i] - last.from < 1 / rate - 1e-3) continue;
    if (last) last.seconds = times[i] - last.from;
    moments.push({ index: i, from: times[i], seconds: 0 });
  }
  moments.at(-1).seconds = Math.max(end - moments.at(-1).from, 1 / rate);
  return moments;
}

function canvasFor({ preview: [height, width] }, side) {
  const scale = Math.min(1, side / Math.max(height, width));
  const canvas = h('canvas', {});
  canvas.width = 2 * Math.round((width * scale) / 2);
  canvas.height = 2 * Math.round((height * scale) / 2);
  return canvas;
}

/** Paint a frame as the view shows it, or the nearest one that came; waits until it is opened. */
async function paintMoment(context, ctx, index) {
  const size = [ctx.canvas.width, ctx.canvas.height];
  const until = performance.now() + PATIENCE;
  const { ready, failures } = context.scene;
  while (!paintFrame(context, ctx, size, index)) {
    const lost = failures.has(`frame/${index}`) || (!ready.has(index) && performance.now() > until);
    if (lost) index = context.scene.nearestReady(index);
    await new Promise((go) => setTimeout(go, 15));
  }
}

/** Return the view over the clip as a GIF. */
export async function recordGif(context, told) {
  const canvas = canvasFor(context.scene.base, GIF_SIDE);
  const ctx = canvas.getContext('2d', { willReadFrequently: true });
  const gif = createGif(canvas.width, canvas.height);
  const moments = momentsOf(context.scene.base, GIF_RATE);
  for (const [i, { index, seconds }] of moments.entries()) {
    await paintMoment(context, ctx, index);
    gif.add(ctx.getImageData(0, 0, canvas.width, canvas.height), Math.max(2, Math.round(seconds * 100)));
    told((i + 1) / moments.length);
    await new Promise((go) => setTimeout(go, 0)); // the page stays alive
  }
  return new Blob([gif.finish()], { type: 'image/gif' });
}

/** Return the view over the clip as a film, recorded while it plays. */
async function recordFilm(context, told, type) {
  const canvas = canvasFor(context.scene.base, 1280);
  const ctx = canvas.getContext('2d');
  const moments = momentsOf(context.scene.base, 30);
  await paintMoment(context, ctx, moments[0].index);
  const recorder = new MediaRecorder(canvas.captureStream(30), { mimeType: type, videoBitsPerSecond: FILM_BITS });
  const pieces = [];
  recorder.ondataavailable = ({ data }) => pieces.push(data);
  const stopped = new Promise((done) => { recorder.onstop = done; });
  recorder.start();
  try {
    await playMoments(context, ctx, moments, told);
  } finally {
    recorder.stop();
    await stopped;
  }
  return new Blob(pieces, { type: type.split(';')[0] });
}

async function playMoments(context, ctx, moments, told) {
  let due = performance.now();
  for (const [i, { index, seconds }] of moments.entries()) {
    await paintMoment(context, ctx, index);
    told((i + 1) / moments.length);
    due = Math.max(due + 1000 * seconds, performance.now() - 200); // a late frame delays the rest
    await new Promise((go) => setTimeout(go, Math.max(0, due - performance.now())));
  }
}
