// The tree of clusters on its canvas.
import { clusterTops, cutY, layoutTree, visibleNodes, yOfHeight } from './dendrogram.js';
import { cssOf } from './paint.js';
import { childrenOf, nodeClusters, weightOf } from './tree.js';

const NARROWEST = 7; // pixels: branches of a narrower node merge into one shape
const TICKS = [0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32];
const LINE_COLOUR = '#d9480f';
const ABOVE = '#8a8f98'; // branches above the cut, in light and in dark

/**
 * Paint a view's tree {canvas, tree, layout, pointed, chosen, dragged} with the branches below the cut in
 * the colours of their clusters; make its layout for the canvas' size if it has none.
 */
export function paintTree(context, view, cut) {
  const { state } = context.store;
  const [width, height] = [view.canvas.clientWidth, view.canvas.clientHeight];
  if (!width || !height) return;
  const sharp = globalThis.devicePixelRatio || 1;
  if (!view.layout) {
    view.canvas.width = Math.round(width * sharp);
    view.canvas.height = Math.round(height * sharp);
    view.layout = layoutTree(view.tree, { left: 30, right: width - 6, top: 10, floor: height - 14 });
  }
  const ctx = view.canvas.getContext('2d');
  ctx.setTransform(sharp, 0, 0, sharp, 0, 0);
  ctx.clearRect(0, 0, width, height);
  const style = getComputedStyle(view.canvas);
  const cluster = nodeClusters(view.tree, cut.leafCluster);
  const colours = (node) => (cluster[node] < 0 ? ABOVE : cssOf(context, cut, cluster[node]));
  const line = view.dragged ?? cutY(view.tree, view.layout, state.n);
  const picture = { ctx, line, view, cluster, colours, ink: style.color, accent: LINE_COLOUR };
  paintScale(picture);
  paintBlocks(picture, state);
  paintBranches(picture, context.scene.base.instances);
  paintLeaves(picture);
  paintLine(picture);
}

function paintScale({ ctx, view: { layout }, ink }) {
  ctx.font = '11px system-ui, sans-serif';
  ctx.textAlign = 'right';
  ctx.textBaseline = 'middle';
  let last = Infinity;
  for (const tau of TICKS) {
    const y = yOfHeight(layout, tau);
    if (y < layout.box.top + 14 || last - y < 14) continue;
    last = y;
    ctx.globalAlpha = 0.85;
    ctx.fillStyle = ink;
    ctx.fillText(String(tau), layout.box.left - 6, y);
    ctx.globalAlpha = 0.12;
    ctx.fillRect(layout.box.left, Math.round(y), layout.box.right - layout.box.left, 1);
  }
  ctx.globalAlpha = 1;
  ctx.fillStyle = ink;
  ctx.fillText('τ', layout.box.left - 6, layout.box.top + 2);
}

/** Paint the ground of every cluster; selected and hovered ones stand out. */
function paintBlocks({ ctx, view, cluster, colours }, state) {
  const { tree, layout } = view;
  for (const node of clusterTops(tree, cluster)) {
    const strong = state.hovered === cluster[node] ? 0.5 : state.selected.includes(cluster[node]) ? 0.38 : 0.16;
    const top = Math.min(layout.y[node], layout.box.floor - 10) - 4;
    ctx.globalAlpha = strong;
    ctx.fillStyle = colours(node);
    ctx.beginPath();
    ctx.roundRect(layout.from[node] + 0.5, top, Math.max(layout.to[node] - layout.from[node] - 1, 0.8), layout.box.floor - top, [4, 4, 0, 0]);
    ctx.fill();
  }
  ctx.globalAlpha = 1;
}

function paintBranches({ ctx, view, cluster, colours, ink, line }, instances) {
  const { tree, layout } = view;
  const { x, y, from, to, box } = layout;
  const { lines, wedges } = visibleNodes(tree, layout, NARROWEST);
  const total = weightOf(tree, 2 * tree.leaves - 2);
  ctx.lineJoin = 'round';
  ctx.lineCap = 'round';
  for (const node of wedges) {
    ctx.fillStyle = colours(node);
    ctx.beginPath();
    ctx.moveTo(x[node], y[node]);
    ctx.lineTo(to[node] - 0.5, box.floor);
    ctx.lineTo(from[node] + 0.5, box.floor);
    ctx.fill();
  }
  for (const node of lines) {
    const above = cluster[node] < 0 ? Math.max(line, y[node]) : y[node]; // grey from here on
    ctx.setLineDash(instances[node - tree.leaves] ? [0.1, 4] : []);
    for (const child of childrenOf(tree, node)) {
      ctx.lineWidth = 1 + 2 * Math.sqrt(weightOf(tree, child) / total);
      if (cluster[node] >= 0) edge(ctx, ink, [x[child], y[child]], [x[child], y[node]], [x[node], y[node]]);
      stroke(ctx, colours(node), [x[child], Math.min(above, y[child])], [x[child], y[node]], [x[node], y[node]]);
      if (y[child] <= above) continue;
      edge(ctx, ink, [x[child], y[child]], [x[child], above]);
      stroke(ctx, colours(child), [x[child], y[child]], [x[child], above]);
    }
  }
  ctx.setLineDash([]);
  for (const node of new Set([view.pointed, view.chosen])) if (node !== null) paintKnot(ctx, layout, node, ink);
}

function stroke(ctx, colour, [startX, startY], ...places) {
  ctx.strokeStyle = colour;
  ctx.beginPath();
  ctx.moveTo(startX, startY);
  for (const [px, py] of places) ctx.lineTo(px, py);
  ctx.stroke();
}

/** Draw a faint edge below a line, since some colours are as light as the ground. */
function edge(ctx, ink, ...places) {
  ctx.globalAlpha = 0.22;
  ctx.lineWidth += 1.5;
  stroke(ctx, ink, ...places);
  ctx.lineWidth -= 1.5;
  ctx.globalAlpha = 1;
}

/** Mark a branch by a dot at its node and a line along what belongs to it. */
function paintKnot(ctx, { x, y, from, to, box }, node, ink) {
  ctx.strokeStyle = ink;
  ctx.fillStyle = ink;
  ctx.lineWidth = 2;
  ctx.beginPath();
  ctx.arc(x[node], y[node], 4, 0, 2 * Math.PI);
  ctx.fill();
  ctx.beginPath();
  ctx.moveTo(from[node] + 1, box.floor + 11);
  ctx.lineTo(to[node] - 1, box.floor + 11);
  ctx.stroke();
}

function paintLeaves({ ctx, view: { tree, layout }, colours }) {
  for (let leaf = 0; leaf < tree.leaves; leaf++) {
    const wide = layout.to[leaf] - layout.from[leaf];
    ctx.fillStyle = colours(leaf);
    ctx.fillRect(layout.from[leaf], layout.box.floor, wide > 4 ? wide - 1 : wide + 0.3, 8);
  }
}

function paintLine({ ctx, view: { layout }, accent, line: y }) {
  ctx.strokeStyle = accent;
  ctx.fillStyle = accent;
  ctx.lineWidth = 1.75;
  ctx.setLineDash([6, 4]);
  ctx.beginPath();
  ctx.moveTo(layout.box.left - 4, y);
  ctx.lineTo(layout.box.right + 6, y);
  ctx.stroke();
  ctx.setLineDash([]);
  ctx.beginPath();
  ctx.roundRect(layout.box.right - 16, y - 6, 20, 12, 6);
  ctx.fill();
  ctx.strokeStyle = '#fff';
  ctx.lineWidth = 1.25;
  ctx.beginPath();
  for (const dy of [-2, 2]) {
    ctx.moveTo(layout.box.right - 11, y + dy);
    ctx.lineTo(layout.box.right - 1, y + dy);
  }
  ctx.stroke();
}
