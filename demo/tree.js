// The hierarchy: a click on a branch reports its node; dragging the dashed line sets τ.
const SVG_TOP = 16; // y of the top of the tree in the SVG
const REACH = [0, -3, 3, -6, 6]; // pixels beside a thin branch that count as a hit
const LEAST_DRAG = 4; // pixels: a shorter drag counts as a click
let line = null; // the line being dragged
let grabbed = 0; // clientY at the start of the drag
let moved = false; // whether it has moved since

const heightAt = (event, svg) => {
  const box = svg.getBoundingClientRect();
  const y = ((event.clientY - box.top) * svg.viewBox.baseVal.height) / box.height;
  return Math.min(Math.max(y, SVG_TOP), Number(svg.dataset.floor) - 1);
};

const nearLine = (event, svg) => {
  const cut = svg.querySelector('line.cut');
  return cut && Math.abs(heightAt(event, svg) - Number(cut.getAttribute('y1'))) < 9 ? cut : null;
};

const nodeAt = (event) => {
  for (const x of REACH) {
    for (const y of REACH) {
      const found = document.elementFromPoint(event.clientX + x, event.clientY + y);
      const branch = found?.closest('#tree [data-node]');
      if (branch) return branch.dataset.node;
    }
  }
  return null;
};

element.addEventListener('pointerdown', (event) => {
  const svg = event.target.closest('svg');
  line = svg && nearLine(event, svg);
  if (!line) return;
  grabbed = event.clientY;
  moved = false;
  svg.setPointerCapture(event.pointerId); // it may be released anywhere
  event.preventDefault();
});

element.addEventListener('pointermove', (event) => {
  const svg = event.target.closest('svg');
  if (!svg) return;
  svg.style.cursor = line || nearLine(event, svg) ? 'ns-resize' : '';
  moved ||= Math.abs(event.clientY - grabbed) >= LEAST_DRAG;
  if (!line || !moved) return;
  line.setAttribute('y1', heightAt(event, svg));
  line.setAttribute('y2', heightAt(event, svg));
});

element.addEventListener('pointerup', (event) => {
  const svg = event.target.closest('svg');
  if (line && svg && moved) {
    const floor = Number(svg.dataset.floor);
    const root = (Number(svg.dataset.top) * (floor - heightAt(event, svg))) / (floor - SVG_TOP);
    trigger('input', { tau: root * root });
  } else if (svg && nodeAt(event) !== null) {
    trigger('select', { node: nodeAt(event) });
  }
  line = null;
});

element.addEventListener('pointercancel', () => {
  line = null;
});
