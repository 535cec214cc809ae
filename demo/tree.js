// The hierarchy: a click on a branch tells its node; the dashed line is dragged to another τ.
const SVG_TOP = 16; // y of the highest place, as the picture is drawn
let line = null;

const heightAt = (event, svg) => {
  const box = svg.getBoundingClientRect();
  const y = ((event.clientY - box.top) * svg.viewBox.baseVal.height) / box.height;
  return Math.min(Math.max(y, SVG_TOP), Number(svg.dataset.floor) - 1);
};

const nearLine = (event, svg) => {
  const cut = svg.querySelector('line.cut');
  return cut && Math.abs(heightAt(event, svg) - Number(cut.getAttribute('y1'))) < 9 ? cut : null;
};

element.addEventListener('pointerdown', (event) => {
  const svg = event.target.closest('svg');
  line = svg && nearLine(event, svg);
  if (line) event.preventDefault();
});

element.addEventListener('pointermove', (event) => {
  const svg = event.target.closest('svg');
  if (!svg) return;
  svg.style.cursor = line || nearLine(event, svg) ? 'ns-resize' : '';
  if (!line) return;
  line.setAttribute('y1', heightAt(event, svg));
  line.setAttribute('y2', heightAt(event, svg));
});

element.addEventListener('pointerup', (event) => {
  const svg = event.target.closest('svg');
  if (line && svg) {
    const floor = Number(svg.dataset.floor);
    const root = (Number(svg.dataset.top) * (floor - heightAt(event, svg))) / (floor - SVG_TOP);
    trigger('input', { tau: root * root });
  } else if (event.target.closest('[data-node]')) {
    trigger('select', { node: event.target.closest('[data-node]').dataset.node });
  }
  line = null;
});
