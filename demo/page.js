// Arrow keys step through time wherever the focus is, except in fields that need them.
() => {
  document.addEventListener('keydown', (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const slider = document.querySelector('#position input[type=range]');
    const busy = event.target.closest?.('input, textarea, select, video, [role=tab], [role=listbox]');
    if (!step || !slider || busy || slider.offsetParent === null) return;
    slider.value = Number(slider.value) + step;
    slider.dispatchEvent(new Event('input', { bubbles: true }));
    event.preventDefault();
  });
}
