// Put after the viewer's program: measures what a change of the state costs.
const repaint = (() => {
  const ROUNDS = 60;
  const SECONDS = 3;
  const held = { viewer: null };
  const mountViewer = Bavos.mount;
  Bavos.mount = (...given) => {
    held.viewer = mountViewer(...given);
    return held.viewer;
  };
  const frame = () => new Promise((go) => requestAnimationFrame(() => setTimeout(go)));
  const state = () => held.viewer.state;
  const objects = (i) => i % Math.min(state().n, 5);
  const known = {
    cut: (i) => ({ n: 2 + (i % Math.min(40, held.viewer.scene.base.most - 1)) }),
    hover: (i) => ({ hovered: objects(i) }),
    select: (i) => ({ selected: [objects(i)] }),
    hide: (i) => ({ hidden: [objects(i)] }),
    role: (i) => ({ edits: [{ action: 'role', cluster: objects(i), value: 'object', at: null }] }),
    merge: (i) => ({ edits: [{ action: 'merge', cluster: 1 + objects(i + 1), value: 0, at: null }] }),
    split: (i) => ({ edits: [{ action: 'split', cluster: objects(i), value: null, at: state().n }] }),
    opacity: (i) => ({ opacity: (i % 20) / 20 }),
    time: (i) => {
      const { times, analysed } = held.viewer.scene.base;
      return { time: times[analysed[i % analysed.length]] };
    },
  };
  return {
    changes: () => Object.keys(known),
    /** Return the milliseconds from each change until all of it is painted. */
    async times(change) {
      const before = state();
      const found = [];
      for (let i = 0; i < ROUNDS; i++) {
        await frame();
        const start = performance.now();
        held.viewer.store.set(known[change](i));
        held.viewer.store.flush();
        drawn();
        found.push(performance.now() - start);
      }
      held.viewer.store.set(before);
      await frame();
      return found;
    },
    /** Return how often a second the picture is painted when every frame brings a change. */
    async rate(change) {
      const before = state();
      const start = performance.now();
      let i = 0;
      while (performance.now() - start < 1000 * SECONDS) {
        held.viewer.store.set(known[change](i++));
        await frame();
      }
      held.viewer.store.set(before);
      await frame();
      return i / SECONDS;
    },
  };

  /** Make the browser carry out what was drawn on the canvas: it reads a pixel of the result. */
  function drawn() {
    const canvas = document.getElementById('viewer').shadowRoot.querySelector('.canvas');
    const small = new OffscreenCanvas(1, 1).getContext('2d');
    small.drawImage(canvas, 0, 0, 1, 1);
    small.getImageData(0, 0, 1, 1);
  }
})();
